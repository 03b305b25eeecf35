//! Controls that were decided at this node and have to be logged by a manager (DESIGN 6, rule 16).
//!
//! Each is handed up the first link that asks, and again up another one if that link breaks or nothing comes of it,
//! until it comes down as a message. Bounded: beyond it the oldest is given up and counted.

use std::{
    collections::{HashMap, VecDeque},
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
    message: Message,
    /// When it was handed up, and on which link.
    handed: Option<(u64, u64)>,
}

/// By nonce. The queues may still name what came down meanwhile, or stands in the other one.
#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<u64, Waiting>,
    /// Those that no link has, the oldest first.
    fresh: VecDeque<u64>,
    /// Those that were handed up, and when, ascending.
    handed: VecDeque<(u64, u64)>,
}

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct HandUps {
    inner: Mutex<Inner>,
    added: Notify,
}

impl HandUps {
    /// Hands up that a client has resumed a connection; the same claim once more if it was handed up before.
    pub(crate) fn claim(&self, app: &str, connection_id: u64, claim: Claim) {
        let nonce = claim.nonce;
        let control = Control {
            whose: Some(control::Whose::ConnectionId(connection_id)),
            action: Some(control::Action::Claim(claim)),
        };
        let message =
            Message { app: app.to_owned(), target: Some(Target::Control(control)), ..Message::default() };
        self.lock().add(nonce, message);
        self.added.notify_one();
    }

    /// Resolves when something waits for a link. One of those who wait is woken.
    pub(crate) fn added(&self) -> Notified<'_> {
        self.added.notified()
    }

    /// The next control for the link with this token.
    pub(crate) fn next(&self, link: u64, now: u64) -> Option<HandUp> {
        let mut inner = self.lock();
        let nonce = inner.next_due(now)?;
        inner.handed.push_back((now, nonce));
        let entry = inner.waiting.get_mut(&nonce)?;
        entry.handed = Some((now, link));
        Some(HandUp { message: Some(entry.message.clone()) })
    }

    /// A control came down, or need not be handed up any more.
    pub(crate) fn came_down(&self, nonce: u64) {
        self.lock().waiting.remove(&nonce);
    }

    /// A link broke: another one has to hand up what it did.
    pub(crate) fn link_down(&self, link: u64) {
        if self.lock().take_back(link) {
            self.added.notify_one();
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, nonce: u64, message: Message) {
        let before = self.waiting.insert(nonce, Waiting { message, handed: None });
        if before.is_none_or(|before| before.handed.is_some()) {
            self.fresh.push_back(nonce);
        }
        // Without a link nobody looks at the front.
        if self.fresh.len() > 2 * MOST {
            let waiting = &self.waiting;
            self.fresh.retain(|nonce| waiting.get(nonce).is_some_and(|entry| entry.handed.is_none()));
        }
        while self.waiting.len() > MOST {
            let oldest = self.fresh.pop_front().or_else(|| Some(self.handed.pop_front()?.1));
            let Some(oldest) = oldest else { break };
            if self.waiting.remove(&oldest).is_some() {
                counter!("connect_node_hand_ups_dropped_total").increment(1);
            }
        }
    }

    /// The oldest that nothing came of, or that no link has.
    fn next_due(&mut self, now: u64) -> Option<u64> {
        while let Some(&(at, nonce)) = self.handed.front() {
            let stands = |entry: &Waiting| entry.handed.is_some_and(|(handed_at, _)| handed_at == at);
            let stands = self.waiting.get(&nonce).is_some_and(stands);
            if stands && at.saturating_add(AGAIN_AFTER) > now {
                break;
            }
            self.handed.pop_front();
            if stands {
                return Some(nonce);
            }
        }
        let waiting = &self.waiting;
        let is_fresh = |nonce: &u64| waiting.get(nonce).is_some_and(|entry| entry.handed.is_none());
        std::iter::from_fn(|| self.fresh.pop_front()).find(is_fresh)
    }

    /// True if something has to be handed up again.
    fn take_back(&mut self, link: u64) -> bool {
        let mut again = false;
        for (_, nonce) in &self.handed {
            let Some(entry) = self.waiting.get_mut(nonce) else { continue };
            if entry.handed.is_some_and(|(_, handed)| handed == link) {
                entry.handed = None;
                self.fresh.push_back(*nonce);
                again = true;
            }
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(hand_ups: &HandUps, nonce: u64) {
        hand_ups.claim("", 7, Claim { generation: 2, nonce, resumed_at: 5 });
    }

    #[test]
    fn what_a_broken_link_took_another_one_hands_up_until_it_comes_down() {
        let hand_ups = HandUps::default();
        claim(&hand_ups, 99);
        assert!(hand_ups.next(1, 0).is_some());
        assert!(hand_ups.next(2, 0).is_none());
        hand_ups.link_down(1);
        assert!(hand_ups.next(2, 0).is_some());
        assert!(hand_ups.next(2, AGAIN_AFTER - 1).is_none());
        assert!(hand_ups.next(2, AGAIN_AFTER).is_some(), "nothing came of it");
        hand_ups.came_down(99);
        assert!(hand_ups.next(2, 10 * AGAIN_AFTER).is_none());
    }

    #[test]
    fn a_claim_that_is_made_again_is_handed_up_once_more_and_waits_once() {
        let hand_ups = HandUps::default();
        claim(&hand_ups, 99);
        claim(&hand_ups, 99);
        assert!(hand_ups.next(1, 0).is_some());
        assert!(hand_ups.next(1, 0).is_none());
        claim(&hand_ups, 99);
        assert_eq!(hand_ups.len(), 1);
        assert!(hand_ups.next(1, 1).is_some());
        assert!(hand_ups.next(1, 1).is_none());
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_and_nothing_piles_up() {
        let hand_ups = HandUps::default();
        for nonce in 0..MOST as u64 + 10 {
            claim(&hand_ups, nonce);
        }
        assert_eq!(hand_ups.len(), MOST);
        for nonce in 0..4 * MOST as u64 {
            hand_ups.came_down(nonce);
            claim(&hand_ups, nonce + MOST as u64 + 10);
        }
        assert!(hand_ups.lock().fresh.len() <= 2 * MOST);
        let mut taken = 0;
        while hand_ups.next(1, 0).is_some() {
            taken += 1;
        }
        assert_eq!(taken, hand_ups.len());
    }
}
