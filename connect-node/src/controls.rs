//! The controls of the last ten minutes: what a client that was away missed of what was decided about it.
//!
//! Kept apart from messages and evicted by age, since membership has to be right even where messages are not
//! complete. Bounded in bytes besides; what has to go for that is said. Never does I/O, reads no clock.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use pushcast_proto::connectnode::v1::{Control, control};

use crate::{
    batch::{Batch, Target},
    floor::{Covered, Floor},
    key::{Key, Keys},
};

/// Longer than the life of a ticket, so that what happened since a ticket was issued is known.
pub(crate) const KEEP: u64 = 600_000_000;

/// What the controls may take: 10,000 joins a minute for ten minutes.
const MAX_BYTES: usize = 16 << 20;

/// What a control takes beside its strings, about.
const CONTROL_BYTES: usize = 200;

/// A control that arrived.
#[derive(Debug)]
pub(crate) struct Obeyed {
    pub(crate) manager: u64,
    pub(crate) seq: u64,
    pub(crate) accepted_at: u64,
    /// Arrival number; 0 if it came before anything else.
    pub(crate) arrival: u64,
    pub(crate) app: Box<[u8]>,
    pub(crate) control: Control,
}

impl Obeyed {
    /// Keys are hashes: two users may share one.
    fn is_about(&self, app: &str, user_id: &str) -> bool {
        let user = match &self.control.whose {
            Some(control::Whose::UserId(user)) => user == user_id,
            Some(control::Whose::ConnectionId(_)) | None => true,
        };
        user && *self.app == *app.as_bytes()
    }
}

/// Whom a control is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    User(Key),
    Connection(u64),
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Controls {
    keys: Keys,
    about: HashMap<Whose, VecDeque<Arc<Obeyed>>>,
    order: VecDeque<(u64, Whose, usize)>,
    bytes: usize,
}

impl Controls {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, about: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// Notes the message at `index` if it is a control that a client must hear of when it resumes. Returns until
    /// when controls are forgotten, if some had to be.
    pub(crate) fn note(&mut self, batch: &Batch, index: usize, manager: u64, arrival: u64) -> Option<u64> {
        let message = batch.message(index);
        let Target::Control(control) = message.target else { return None };
        let whose = match (&control.action, &control.whose) {
            (None | Some(control::Action::Claim(_)), _) | (_, None) => return None,
            (_, Some(control::Whose::UserId(user))) => {
                Whose::User(self.keys.user(message.app, user.as_bytes()))
            }
            (_, Some(control::Whose::ConnectionId(id))) => Whose::Connection(*id),
        };
        let obeyed = Obeyed {
            manager,
            seq: message.seq,
            accepted_at: message.accepted_at,
            arrival,
            app: message.app.into(),
            control: control.clone(),
        };
        let bytes = CONTROL_BYTES + message.app.len() + message.content.len();
        self.bytes += bytes;
        self.order.push_back((message.accepted_at, whose, bytes));
        self.about.entry(whose).or_default().push_back(Arc::new(obeyed));
        let mut forgotten = None;
        while self.bytes > MAX_BYTES {
            forgotten = forgotten.max(self.forget_oldest());
        }
        forgotten
    }

    /// Forgets what is too old. Returns until when controls are forgotten now.
    pub(crate) fn expire(&mut self, now: u64) -> u64 {
        let too_old = now.saturating_sub(KEEP);
        while self.order.front().is_some_and(|(at, ..)| *at < too_old) {
            self.forget_oldest();
        }
        too_old
    }

    fn forget_oldest(&mut self) -> Option<u64> {
        let (at, whose, bytes) = self.order.pop_front()?;
        self.bytes -= bytes;
        if let Some(kept) = self.about.get_mut(&whose) {
            kept.pop_front();
            if kept.is_empty() {
                self.about.remove(&whose);
            }
        }
        Some(at)
    }

    /// The controls about a connection of a user that `floor` does not cover, by accept time.
    pub(crate) fn since(&self, app: &str, user_id: &str, connection: u64, floor: &Floor) -> Vec<Arc<Obeyed>> {
        let user = Whose::User(self.keys.user(app.as_bytes(), user_id.as_bytes()));
        let of = |whose| self.about.get(&whose).into_iter().flatten();
        let mut found: Vec<Arc<Obeyed>> = of(user)
            .chain(of(Whose::Connection(connection)))
            .filter(|obeyed| obeyed.is_about(app, user_id))
            .filter(|obeyed| {
                let Obeyed { manager, seq, accepted_at, .. } = ***obeyed;
                !floor.covers(Covered { manager, seq, accepted_at })
            })
            .cloned()
            .collect();
        found.sort_by_key(|obeyed| (obeyed.accepted_at, obeyed.manager, obeyed.seq));
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}
