//! When to look at which connection again: one wheel per shard instead of a timer per connection.

use super::slab::SlabKey;

/// Coarse enough that a sweep wakes the shard 20 times a second at most; deadlines here are in seconds.
pub(super) const TICK_MILLIS: u64 = 50;

/// 25.6 s; what is due later is looked at once a turn.
const SLOTS: usize = 512;

/// Connections by the tick in which they are due. A connection may be in it more than once; the caller knows
/// which of its times counts.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<(SlabKey, u64)>>,
    /// The next tick to be swept.
    tick: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), tick: 0 }
    }
}

impl Wheel {
    /// Has `key` come up at `at`, milliseconds, or up to a tick later; at the next sweep if that is past.
    pub(super) fn schedule(&mut self, key: SlabKey, at: u64) {
        let tick = at.div_ceil(TICK_MILLIS).clamp(self.tick, self.tick + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push((key, at));
    }

    /// Moves to `now` and appends what has come due to `due`, each with the time it was scheduled for.
    pub(super) fn advance(&mut self, now: u64, due: &mut Vec<(SlabKey, u64)>) {
        let until = now / TICK_MILLIS;
        // After a stall of more than a turn every slot is due once.
        let turns = (until + 1).saturating_sub(self.tick).min(SLOTS as u64);
        for tick in self.tick..self.tick + turns {
            // With its memory: what a crowd is due for moves on by a slot or more each turn, and in time every slot would
            // keep room for all of it.
            due.append(&mut std::mem::take(&mut self.slots[tick as usize % SLOTS]));
        }
        self.tick = self.tick.max(until + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::slab::Slab, *};

    fn due_at(wheel: &mut Wheel, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.into_iter().map(|(_, at)| at).collect()
    }

    #[test]
    fn what_is_due_comes_up_once_and_not_before_its_time() {
        let mut wheel = Wheel::default();
        let key = Slab::default().insert(());
        wheel.schedule(key, 5_000);
        wheel.schedule(key, 120);
        assert!(due_at(&mut wheel, 100).is_empty());
        assert_eq!(due_at(&mut wheel, 170), [120]);
        assert!(due_at(&mut wheel, 4_999).is_empty());
        assert_eq!(due_at(&mut wheel, 60_000), [5_000]);
    }

    #[test]
    fn a_crowd_that_moves_on_leaves_no_memory_behind() {
        let mut wheel = Wheel::default();
        let key = Slab::default().insert(());
        for turn in 0..SLOTS as u64 {
            let at = (turn + 1) * (SLOTS as u64 / 2 + 1) * TICK_MILLIS;
            (0..1_000).for_each(|_| wheel.schedule(key, at));
            assert_eq!(due_at(&mut wheel, at).len(), 1_000);
        }
        assert_eq!(wheel.slots.iter().map(Vec::capacity).sum::<usize>(), 0);
    }

    #[test]
    fn what_is_past_or_far_away_comes_up_too() {
        let mut wheel = Wheel::default();
        let key = Slab::default().insert(());
        due_at(&mut wheel, 1_000);
        wheel.schedule(key, 0);
        wheel.schedule(key, 3_600_000);
        assert_eq!(due_at(&mut wheel, 1_050), [0]);
        let turn = SLOTS as u64 * TICK_MILLIS;
        assert_eq!(due_at(&mut wheel, 1_050 + turn), [3_600_000]);
    }
}
