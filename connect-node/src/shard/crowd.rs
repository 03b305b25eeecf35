//! Connections that have something to do all at once: so many of them as take [`TIME`] go on between two turns of the event
//! loop, the first ones first.
//!
//! Owns the wakers of those that wait. The runtime polls whatever is ready in one queue, and a crowd that is read or closed
//! together is thousands of tasks in front of the loop, and of the links that bring messages: those who stayed waited for
//! 0.3 s when 10,000 went at once. A task that has to wait says so in no time, so the queue is short for all others.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    num::NonZeroU64,
    task::Waker,
    time::{Duration, Instant},
};

/// What connections may take of the time between two turns: a turn's sends take 1 to 2 ms.
const TIME: Duration = Duration::from_micros(400);

/// Of those that wait so many are called at once, by what the last ones took: reading a pong is 3 µs, closing a socket 25.
/// When pongs are followed by closings, the most take 3 ms, once.
const LEAST: usize = 8;
const MOST: usize = 128;

/// A connection's place among those that wait; none if it does not.
#[derive(Debug, Default)]
pub(super) struct Place(Option<NonZeroU64>);

/// Who goes on, and who waits.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// When the first one went on after the last turn.
    since: Cell<Option<Instant>>,
    /// Called in the last turn, and how many are in the next one.
    last: Cell<usize>,
    next: Cell<usize>,
    /// The first one first; bounded by the number of connections, each of which is in it once.
    waiting: RefCell<VecDeque<Waker>>,
    /// Places given so far, and those of them that were called.
    given: Cell<u64>,
    called: Cell<u64>,
    is_over: Cell<bool>,
}

impl Crowd {
    /// Whether a connection may go on. If not, it is woken when it may, for which the event loop has to take a turn.
    pub(super) fn may_go_on(&self, place: &mut Place, waker: &Waker) -> bool {
        if let Some(number) = place.0 {
            let is_called = number.get() <= self.called.get();
            if is_called {
                place.0 = None;
            }
            return is_called;
        }
        let nobody_waits = self.given.get() == self.called.get();
        if self.is_over.get() || nobody_waits && self.has_time() {
            return true;
        }
        let number = NonZeroU64::MIN.saturating_add(self.given.get());
        self.given.set(number.get());
        place.0 = Some(number);
        self.waiting.borrow_mut().push_back(waker.clone());
        false
    }

    fn has_time(&self) -> bool {
        let Some(since) = self.since.get() else {
            self.since.set(Some(Instant::now()));
            return true;
        };
        since.elapsed() < TIME
    }

    /// The event loop begins a turn: looks what those that it called have taken.
    pub(super) fn stop(&self) {
        if let Some(since) = self.since.get()
            && self.last.get() > 0
        {
            self.next.set(next(self.last.get(), since.elapsed()));
        }
    }

    /// The event loop had its turn: calls the next ones. False if nobody waited.
    pub(super) fn go_on(&self) -> bool {
        let called = self.call(self.next.get().max(LEAST));
        self.last.set(called);
        self.since.set((called > 0).then(Instant::now));
        called > 0
    }

    /// Nobody waits from now on: the event loop is over.
    pub(super) fn end(&self) {
        self.call(usize::MAX);
        self.is_over.set(true);
    }

    fn call(&self, most: usize) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let most = most.min(waiting.len());
        self.called.set(self.called.get() + most as u64);
        waiting.drain(..most).for_each(Waker::wake);
        most
    }
}

/// How many are called, if the last ones took this long; not many more at once, since what is next may take longer.
fn next(last: usize, took: Duration) -> usize {
    let fitting = last as u128 * TIME.as_nanos() / took.as_nanos().max(1);
    usize::try_from(fitting).unwrap_or(MOST).clamp(LEAST, MOST.min(2 * last.max(LEAST)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which of these may go on now.
    fn may_go_on(crowd: &Crowd, places: &mut [Place], waker: &Waker) -> Vec<usize> {
        let may = |place: &mut Place| crowd.may_go_on(place, waker);
        places.iter_mut().enumerate().filter_map(|(n, place)| may(place).then_some(n)).collect()
    }

    fn places(so_many: usize) -> Vec<Place> {
        (0..so_many).map(|_| Place::default()).collect()
    }

    /// A crowd whose time for this turn is over.
    fn busy() -> Crowd {
        let crowd = Crowd::default();
        crowd.since.set(Instant::now().checked_sub(TIME));
        crowd
    }

    #[test]
    fn those_that_wait_go_on_one_after_the_other() {
        let (crowd, woken) = (busy(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut crowded = places(LEAST + 3);
        assert_eq!(may_go_on(&crowd, &mut crowded, &waker), [] as [usize; 0]);
        assert_eq!(may_go_on(&crowd, &mut crowded, &waker), [] as [usize; 0], "each waits once");
        crowd.stop();
        assert!(crowd.go_on());
        assert_eq!(woken.0.load(Ordering::Relaxed), LEAST);
        // There is time again, but not for those that come later.
        let mut late = Place::default();
        assert!(!crowd.may_go_on(&mut late, &waker));
        assert_eq!(may_go_on(&crowd, &mut crowded, &waker), (0..LEAST).collect::<Vec<_>>());
        crowd.stop();
        assert!(crowd.go_on());
        assert_eq!(woken.0.load(Ordering::Relaxed), LEAST + 4);
        assert_eq!(may_go_on(&crowd, &mut crowded[LEAST..], &waker), [0, 1, 2]);
        assert!(crowd.may_go_on(&mut late, &waker));
        assert!(!crowd.go_on(), "nobody waits");
    }

    #[test]
    fn in_peace_nobody_waits() {
        let crowd = Crowd::default();
        for _ in 0..3 {
            assert!(crowd.may_go_on(&mut Place::default(), Waker::noop()));
            crowd.stop();
            assert!(!crowd.go_on());
        }
    }

    #[test]
    fn what_takes_longer_is_less_at_once() {
        assert_eq!(next(64, TIME * 2), 32);
        assert_eq!(next(64, TIME), 64);
        assert_eq!(next(32, Duration::ZERO), 64);
        assert_eq!(next(1, Duration::ZERO), 2 * LEAST);
        assert_eq!((next(MOST, TIME * 99), next(MOST, Duration::ZERO)), (LEAST, MOST));
    }

    #[test]
    fn at_the_end_nobody_waits() {
        let crowd = busy();
        let mut crowded = places(4 * MOST);
        assert_eq!(may_go_on(&crowd, &mut crowded, Waker::noop()).len(), 0);
        crowd.end();
        crowded.extend(places(MOST));
        assert_eq!(may_go_on(&crowd, &mut crowded, Waker::noop()).len(), 5 * MOST);
    }
}
