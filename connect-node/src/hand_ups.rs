//! Controls that were decided at this node and have to be logged by a manager (DESIGN 6, rule 16).
//!
//! Each is handed up the first link that asks, and again up another one if that link breaks or nothing comes of it,
//! until it comes down as a message. Bounded: beyond it the oldest is given up and counted.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use metrics::counter;
use pushcast_proto::connectnode::v1::{Claim, Control, HandUp, Message, control, message::Target};
use tokio::sync::{Notify, futures::Notified};

/// Controls that wait: with 10,000 clients that resume a second, those of a few seconds without any manager. Each
/// takes some 300 bytes.
const MOST: usize = 64 * 1024;

/// Microseconds after which what did not come down is handed up again: longer than a link's silence.
const AGAIN_AFTER: u64 = 4_000_000;

#[derive(Debug)]
struct Waiting {
    nonce: u64,
    message: Message,
    /// When it was handed up, and on which link.
    handed: Option<(u64, u64)>,
}

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct HandUps {
    waiting: Mutex<VecDeque<Waiting>>,
    added: Notify,
}

impl HandUps {
    /// Hands up that a client has resumed a connection.
    pub(crate) fn claim(&self, app: &str, connection_id: u64, claim: Claim) {
        let nonce = claim.nonce;
        let control = Control {
            whose: Some(control::Whose::ConnectionId(connection_id)),
            action: Some(control::Action::Claim(claim)),
        };
        let message =
            Message { app: app.to_owned(), target: Some(Target::Control(control)), ..Message::default() };
        {
            let mut waiting = self.lock();
            if waiting.len() >= MOST {
                waiting.pop_front();
                counter!("connect_node_hand_ups_dropped_total").increment(1);
            }
            waiting.push_back(Waiting { nonce, message, handed: None });
        }
        self.added.notify_one();
    }

    /// Resolves when something waits for a link. One of those who wait is woken.
    pub(crate) fn added(&self) -> Notified<'_> {
        self.added.notified()
    }

    /// The next control for the link with this token.
    pub(crate) fn next(&self, link: u64, now: u64) -> Option<HandUp> {
        let mut waiting = self.lock();
        let due =
            |entry: &&mut Waiting| entry.handed.is_none_or(|(at, _)| at.saturating_add(AGAIN_AFTER) <= now);
        let entry = waiting.iter_mut().find(due)?;
        entry.handed = Some((now, link));
        Some(HandUp { message: Some(entry.message.clone()) })
    }

    /// A control came down.
    pub(crate) fn came_down(&self, nonce: u64) {
        self.lock().retain(|entry| entry.nonce != nonce);
    }

    /// A link broke: another one has to hand up what it did.
    pub(crate) fn link_down(&self, link: u64) {
        let again = {
            let mut waiting = self.lock();
            let of_link = |entry: &&mut Waiting| entry.handed.is_some_and(|(_, handed)| handed == link);
            waiting.iter_mut().filter(of_link).map(|entry| entry.handed = None).count() > 0
        };
        if again {
            self.added.notify_one();
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_link_took_another_one_hands_up_until_it_comes_down() {
        let hand_ups = HandUps::default();
        hand_ups.claim("", 7, Claim { generation: 2, nonce: 99, resumed_at: 5 });
        assert!(hand_ups.next(1, 0).is_some());
        assert!(hand_ups.next(2, 0).is_none());
        hand_ups.link_down(1);
        assert!(hand_ups.next(2, 0).is_some());
        assert!(hand_ups.next(2, AGAIN_AFTER - 1).is_none());
        assert!(hand_ups.next(2, AGAIN_AFTER).is_some(), "nothing came of it");
        hand_ups.came_down(99);
        assert!(hand_ups.next(2, 10 * AGAIN_AFTER).is_none());
    }
}
