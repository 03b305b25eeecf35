//! Sockets that have begun to speak HTTP: a bounded number, of which the oldest makes room for a new one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use tokio::sync::oneshot;

/// Handshakes under way on one shard. One takes 17 KiB, so this is 70 MB at most; and at 5,000 new ones per second it
/// leaves each 0.8 s to bring the rest of its request, which is in one packet nearly always.
const MOST: usize = 4096;

/// Handshakes that go on between two turns of a shard: 0.3 ms of them, where a turn's sends take 1 to 2 ms. A crowd whose
/// requests arrive together would keep the shard for a third of a second otherwise (measured with 10,000).
const PER_TURN: usize = 8;

/// The handshakes of one shard.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    under_way: RefCell<UnderWay>,
    /// Those that wait for their turn, the first one first.
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// By number, so the oldest is the first; dropping the sender ends it.
    all: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One handshake, under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    of: &'a Handshakes,
    number: u64,
    end: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Waits for a turn of the shard that has room for a handshake; the shard has to be woken for it.
    pub(crate) fn turn(&self) -> oneshot::Receiver<()> {
        let (go_on, turn) = oneshot::channel();
        self.waiting.borrow_mut().push_back(go_on);
        turn
    }

    /// Lets the next ones go on. False if none waited.
    pub(crate) fn go_on(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let turns = PER_TURN.min(waiting.len());
        for go_on in waiting.drain(..turns) {
            // Whoever has given up meanwhile needs no turn.
            let _ = go_on.send(());
        }
        turns > 0
    }

    /// Another one begins. Whoever sends half a request and waits holds no place that somebody else needs: what is
    /// whole is answered at once, so the oldest one is one that has been waited for the longest.
    pub(crate) fn begin(&self) -> Handshake<'_> {
        self.begin_within(MOST)
    }

    fn begin_within(&self, most: usize) -> Handshake<'_> {
        let mut under_way = self.under_way.borrow_mut();
        while under_way.all.len() >= most {
            under_way.all.pop_first();
        }
        let (hold, end) = oneshot::channel();
        let number = under_way.next;
        under_way.next += 1;
        under_way.all.insert(number, hold);
        Handshake { of: self, number, end }
    }
}

impl Handshake<'_> {
    /// Resolves when this one has to make room. Cancel safe.
    pub(crate) async fn crowded_out(&mut self) {
        let _nobody_sends = (&mut self.end).await;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.of.under_way.borrow_mut().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_many_go_on_in_a_turn_the_first_ones_first() {
        let handshakes = Handshakes::default();
        assert!(!handshakes.go_on());
        let mut waiting: Vec<_> = (0..=PER_TURN).map(|_| handshakes.turn()).collect();
        let go_on = |waiting: &mut Vec<oneshot::Receiver<()>>| {
            waiting.iter_mut().map(|turn| turn.try_recv().is_ok()).collect::<Vec<_>>()
        };
        assert!(handshakes.go_on());
        let mut expected = vec![true; PER_TURN];
        expected.push(false);
        assert_eq!(go_on(&mut waiting), expected);
        assert!(handshakes.go_on());
        assert_eq!(go_on(&mut waiting).last(), Some(&true));
        assert!(!handshakes.go_on());
    }

    #[test]
    fn the_oldest_makes_room_and_who_is_done_needs_none() {
        let handshakes = Handshakes::default();
        let mut oldest = handshakes.begin_within(3);
        let done = handshakes.begin_within(3);
        let mut third = handshakes.begin_within(3);
        drop(done);
        let mut fourth = handshakes.begin_within(3);
        assert_eq!(oldest.crowded_out().now_or_never(), None, "there is room");
        let _fifth = handshakes.begin_within(3);
        assert_eq!(oldest.crowded_out().now_or_never(), Some(()));
        assert_eq!(third.crowded_out().now_or_never(), None);
        assert_eq!(fourth.crowded_out().now_or_never(), None);
        drop(oldest);
        let _sixth = handshakes.begin_within(3);
        assert_eq!(third.crowded_out().now_or_never(), Some(()), "there were three beside the sixth");
        assert_eq!(handshakes.under_way.borrow().all.len(), 3);
    }
}
