//! Where every message enters the node, once.
//!
//! "Seen before? – arrival number – insert in the window – offer to the inboxes" is one step under one lock (DESIGN
//! 6, rule 3), so that the order of arrival is the same for every shard and for every client that resumes. One link
//! owns a manager's id at a time; a new link takes over before it says where to start (`links`); `offer` is that one
//! step. Owns what was received of every manager, which managers are expected ([`crate::roster`]), the window, and what
//! is known of requests and controls ([`crate::history`] is what clients that resume ask of it); never does I/O, never
//! waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pushcast_proto::connectnode::v1::{Ack, HandUp};
use tokio::sync::Notify;

use crate::{
    completeness::Completeness,
    controls::Controls,
    hand_ups::HandUps,
    inbox::Inbox,
    key::Keys,
    manager::Manager,
    metrics::IngestMetrics,
    position::Marks,
    requests::Requests,
    window::{Window, WindowLimits},
};

mod links;
mod offer;

pub use offer::Offered;

/// Bytes a link may have unplaced before it stops reading (HTTP/2 then stops that manager's cursor alone):
/// four of a manager's largest usual batches, enough to keep every shard busy.
pub const MAX_UNPLACED_BYTES: usize = 1024 * 1024;

/// Of the window's bytes, what request_ids may take besides.
const REQUESTS_PART: usize = 4;

/// No manager has this id. While the registry has not been listed, `as_of` waits for it: there may be managers
/// that this node has not heard of.
pub(crate) const NOT_LISTED_YET: u64 = 0;

/// Proof of being the link that speaks for a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The manager.
    pub manager: u64,
    pub(crate) token: u64,
}

/// Why ingest takes nothing from a link; the link has to end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IngestError {
    /// A newer link of the same manager took over.
    #[error("a newer link of this manager took over")]
    Superseded,
    /// A seq is missing.
    #[error("seq {got} came where {expected} was due")]
    Hole {
        /// The seq that was due.
        expected: u64,
        /// The seq that came.
        got: u64,
    },
    /// Messages came before it was clear where they start.
    #[error("messages came before Fill")]
    NotStarted,
}

/// What a link needs to know when it takes over.
#[derive(Debug)]
pub struct TakenOver {
    /// To be shown with everything the link brings.
    pub owner: Owner,
    /// Last seq received of this manager; `None` if nothing ever was.
    pub received: Option<u64>,
    /// How much of the manager's log to ask for if nothing ever was.
    pub fill_bytes: u64,
    /// Notified when a batch of this manager is placed by all shards.
    pub placed: Arc<Notify>,
}

/// How an ingest is to be.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Managers are known from a registry, not only from their links.
    pub registry: bool,
    /// The lease of their records, microseconds.
    pub lease: u64,
    /// The window.
    pub window: WindowLimits,
}

impl Default for IngestSettings {
    /// The defaults of the flags, without a registry.
    fn default() -> Self {
        let window = WindowLimits { bytes: 64 << 20, age: 120_000_000 };
        Self { registry: false, lease: 10_000_000, window }
    }
}

/// The node's one entrance.
#[derive(Debug)]
pub struct Ingest {
    inner: Mutex<Inner>,
    inboxes: Vec<Arc<Inbox>>,
    wake: Vec<Arc<Notify>>,
    pub(crate) settings: IngestSettings,
    pub(crate) hand_ups: HandUps,
    metrics: IngestMetrics,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) managers: BTreeMap<u64, Manager>,
    arrivals: u64,
    tokens: u64,
    /// Since when there may be clients; microseconds.
    pub(crate) open_since: Option<u64>,
    /// The registry has said once which managers there are.
    pub(crate) listed: bool,
    pub(crate) window: Window,
    pub(crate) requests: Requests,
    pub(crate) controls: Controls,
    pub(crate) completeness: Completeness,
}

impl Ingest {
    /// An ingest that feeds `inboxes` and wakes their shards through `wake`, one each. With a registry the
    /// managers of `set_registered` are expected; without, those that linked.
    pub fn new(
        inboxes: Vec<Arc<Inbox>>,
        wake: Vec<Arc<Notify>>,
        keys: Keys,
        settings: IngestSettings,
    ) -> Self {
        debug_assert_eq!(inboxes.len(), wake.len());
        let inner = Inner {
            managers: BTreeMap::new(),
            arrivals: 0,
            tokens: 0,
            open_since: None,
            listed: !settings.registry,
            window: Window::new(settings.window),
            requests: Requests::new(settings.window.bytes / REQUESTS_PART, settings.window.age),
            controls: Controls::new(keys),
            completeness: Completeness::default(),
        };
        let ingest = Self {
            inner: Mutex::new(inner),
            inboxes,
            wake,
            hand_ups: HandUps::default(),
            metrics: IngestMetrics::default(),
            settings,
        };
        if ingest.settings.registry {
            ingest.mark_all(|marks| marks.expect(NOT_LISTED_YET, true));
        }
        ingest
    }

    /// Clients may connect from `now` on, microseconds. What was accepted before is for none of them but those that
    /// resume.
    pub fn open(&self, now: u64) {
        let mut inner = self.lock();
        inner.open_since.get_or_insert(now);
        if !inner.managers.values().any(Manager::is_filled) {
            inner.completeness.only_since(now);
        }
    }

    /// The next control for the link to hand up, if there is one.
    pub fn next_hand_up(&self, owner: Owner, now: u64) -> Option<HandUp> {
        self.hand_ups.next(owner.token, now)
    }

    /// The next acknowledgement for the link, if there is one.
    pub fn next_ack(&self, owner: Owner) -> Result<Option<Ack>, IngestError> {
        let (ack, arrived) = {
            let mut inner = self.lock();
            let acks = &mut inner.owned(owner)?.acks;
            (acks.next(), acks.take_arrived())
        };
        self.metrics.arrived(arrived);
        Ok(ack)
    }

    /// Whether the link may bring another batch now, and what was received and placed of its manager.
    pub fn progress(&self, owner: Owner) -> Result<Progress, IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        Ok(Progress {
            has_room: state.acks.unplaced_bytes() < MAX_UNPLACED_BYTES,
            received: state.received.unwrap_or(0),
            placed: state.acks.placed(),
        })
    }

    pub(crate) fn mark_all(&self, mut change: impl FnMut(&mut Marks)) {
        for inbox in &self.inboxes {
            inbox.mark(&mut change);
        }
    }

    /// Every critical section leaves the inner state whole, so a panic elsewhere does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a link's messages have come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Another batch may be read.
    pub has_room: bool,
    /// Last seq received.
    pub received: u64,
    /// Last seq placed by every shard.
    pub placed: u64,
}

impl Inner {
    pub(crate) fn owned(&mut self, owner: Owner) -> Result<&mut Manager, IngestError> {
        self.managers
            .get_mut(&owner.manager)
            .filter(|state| state.owner == Some(owner.token))
            .ok_or(IngestError::Superseded)
    }

    pub(crate) fn forget_old(&mut self, now: u64) {
        let Self { window, requests, controls, completeness, .. } = self;
        window.expire(now, |gone| requests.let_go(gone));
        requests.expire(now);
        completeness.controls_only_since(controls.expire(now));
    }
}
