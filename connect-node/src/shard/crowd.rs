//! Connections that have something to say all at once: so many of them as take [`TIME`] are read between two turns of the
//! event loop, the first ones first.
//!
//! Owns the list of those that wait. The runtime polls whatever is ready in one queue, and a crowd that is read or closed
//! together is thousands of tasks in front of the loop, and of the links that bring messages: those who stayed waited for
//! 0.3 s when 10,000 went at once. A task that has to wait says so in no time, so the queue is short for all others. What a
//! connection has to be sent never waits here.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::Duration,
};

use super::slab::SlabKey;

/// What connections may take of the time between two turns: a turn's sends take 1 to 2 ms.
const TIME: Duration = Duration::from_micros(400);

/// Called at once: as many pongs as fit into the time, at 3 µs each. Closing a socket is 25 µs; whoever was called and finds no
/// time left is called again, first.
const AT_ONCE: usize = 128;

/// Whether a connection waits for its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Waits {
    #[default]
    No,
    Yes,
    /// No more: its task was woken.
    Called,
}

/// Who is read, and who waits.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// What connections took since the last turn.
    spent: Cell<Duration>,
    /// The first one first. Each connection is once in one of these two, so they are bounded by the number of connections.
    waiting: RefCell<VecDeque<SlabKey>>,
    /// Those who were called and found no time.
    late: RefCell<Vec<SlabKey>>,
}

impl Crowd {
    /// Whether a connection may be read. If not, it is called when it may, for which the event loop has to take a turn.
    pub(super) fn may_go_on(&self, key: SlabKey, waits: &mut Waits) -> bool {
        let has_time = self.spent.get() < TIME;
        let mut waiting = self.waiting.borrow_mut();
        let goes_on = match *waits {
            Waits::Yes => false,
            Waits::Called => has_time,
            Waits::No => has_time && waiting.is_empty(),
        };
        match *waits {
            Waits::Called if !goes_on => self.late.borrow_mut().push(key),
            Waits::No if !goes_on => waiting.push_back(key),
            Waits::No | Waits::Yes | Waits::Called => {}
        }
        *waits = if goes_on { Waits::No } else { Waits::Yes };
        goes_on
    }

    /// Something was done with a connection, and took so long.
    pub(super) fn spend(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }

    /// The event loop had its turn: calls the next ones, with `call`, which is false for those that are gone. True if the
    /// loop has to have another turn soon.
    pub(super) fn go_on(&self, mut call: impl FnMut(SlabKey) -> bool) -> bool {
        self.spent.set(Duration::ZERO);
        let late = self.late.take();
        let mut waiting = self.waiting.borrow_mut();
        let more = AT_ONCE.saturating_sub(late.len()).min(waiting.len());
        let mut called = 0;
        for key in late.into_iter().chain(waiting.drain(..more)) {
            called += usize::from(call(key));
        }
        if waiting.is_empty() {
            waiting.shrink_to_fit();
        }
        called > 0 || !waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::slab::Slab, *};

    /// Connections of a crowd, by number.
    struct Connections {
        crowd: Crowd,
        keys: Vec<SlabKey>,
        waits: Vec<Waits>,
    }

    impl Connections {
        fn new(so_many: usize) -> Self {
            let mut slab = Slab::default();
            let keys = (0..so_many).map(|_| slab.insert(())).collect();
            Self { crowd: Crowd::default(), keys, waits: vec![Waits::No; so_many] }
        }

        /// Which of these may go on now, if each takes so long.
        fn read(&mut self, those: impl IntoIterator<Item = usize>, each: Duration) -> Vec<usize> {
            let mut read = Vec::new();
            for n in those {
                if self.crowd.may_go_on(self.keys[n], &mut self.waits[n]) {
                    self.crowd.spend(each);
                    read.push(n);
                }
            }
            read
        }

        /// A turn; who was called in it, and whether there is to be another one.
        fn turn(&mut self) -> (Vec<usize>, bool) {
            let mut called = Vec::new();
            let again = self.crowd.go_on(|key| {
                let n = self.keys.iter().position(|other| *other == key).expect("it is one of these");
                let is_there = n < self.waits.len();
                if is_there {
                    self.waits[n] = Waits::Called;
                    called.push(n);
                }
                is_there
            });
            (called, again)
        }
    }

    fn numbers(from: usize, to: usize) -> Vec<usize> {
        (from..to).collect()
    }

    #[test]
    fn a_crowd_is_read_in_parts_the_first_ones_first() {
        let mut all = Connections::new(1000);
        let quarter = TIME / 4;
        assert_eq!(all.read(0..1000, quarter), numbers(0, 4));
        assert_eq!(all.read(4..1000, quarter), [] as [usize; 0], "nobody is in it twice");
        let mut read = 4;
        while read < 1000 {
            let (called, again) = all.turn();
            // Those who found no time are the first ones of the next turn.
            assert_eq!(called, numbers(read, 1000.min(read + AT_ONCE)));
            assert!(again);
            assert_eq!(all.read(called, quarter), numbers(read, read + 4));
            read += 4;
        }
        assert_eq!(all.turn(), (vec![], false));
        assert_eq!(all.crowd.waiting.borrow().capacity(), 0, "its room is given back");
    }

    #[test]
    fn nobody_goes_past_those_who_wait() {
        let mut all = Connections::new(AT_ONCE + 3);
        all.crowd.spend(TIME);
        assert_eq!(all.read(0..AT_ONCE + 2, TIME), [] as [usize; 0]);
        let (called, _) = all.turn();
        assert_eq!(
            all.read([AT_ONCE + 2], Duration::ZERO),
            [] as [usize; 0],
            "there is time, but not for them"
        );
        assert_eq!(all.read(called, Duration::ZERO), numbers(0, AT_ONCE));
        let (called, _) = all.turn();
        assert_eq!(called, [AT_ONCE, AT_ONCE + 1, AT_ONCE + 2]);
    }

    #[test]
    fn in_peace_nobody_waits_whether_or_not_there_are_turns() {
        let mut all = Connections::new(1);
        for turn in 0..200 {
            assert_eq!(all.read([0], TIME / 200), [0], "after {turn} others");
        }
        assert_eq!(all.read([0], TIME), [] as [usize; 0], "there was something to do without a turn");
        assert_eq!(all.turn(), (vec![0], true));
        assert_eq!(all.read([0], TIME), [0]);
    }

    #[test]
    fn who_is_gone_is_not_called_and_does_not_hold_up_the_others() {
        let mut all = Connections::new(3 * AT_ONCE);
        all.crowd.spend(TIME);
        all.read(0..3 * AT_ONCE, TIME);
        all.waits.truncate(1);
        assert_eq!(all.turn(), (vec![0], true));
        assert_eq!(all.turn(), (vec![], true));
        assert_eq!(all.turn(), (vec![], false));
    }
}
