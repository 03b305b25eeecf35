//! Sockets that still speak HTTP: a bounded number, of which the oldest makes room for a new one.

use std::{cell::RefCell, collections::BTreeMap};

use tokio::sync::oneshot;

/// Handshakes under way on one shard. One takes 17 KiB, so this is 70 MB at most; and at 5,000 new ones per second it
/// leaves each 0.8 s, several times what a mobile network takes to bring a request.
const MOST: usize = 4096;

/// The handshakes of one shard.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    under_way: RefCell<UnderWay>,
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
