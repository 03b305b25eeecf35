//! How far managers' clocks are from this node's.
//!
//! A message is late by what it took on the way, and by as long as this node or the line stood still; it is never early.
//! So of the last minute or two the one that looks least late tells how far the clock is. Microseconds.

use std::collections::BTreeMap;

/// Messages are compared over one such time and the one before.
const SPAN: u64 = 60_000_000;

/// Offsets over this are worth a warning.
const LARGE: u64 = 2_000_000;

/// Messages after which a large offset is believed: one a second, and one that stood still brings several at once.
const BELIEVED: u32 = 8;

/// One manager's clock.
#[derive(Debug)]
struct Clock {
    /// Since when `least` counts.
    since: u64,
    least: i64,
    /// The least of the span before.
    before: i64,
    heard: u32,
}

impl Clock {
    fn offset(&self) -> i64 {
        self.least.min(self.before)
    }
}

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct Clocks(BTreeMap<u64, Clock>);

impl Clocks {
    /// A manager's clock showed `sent_at` when it sent what came at `now`. True if its clock is found to be so far
    /// away that it is worth a warning, once for each manager.
    pub(crate) fn heard(&mut self, manager: u64, sent_at: u64, now: u64) -> bool {
        if sent_at == 0 {
            return false;
        }
        let late = (now as i64).saturating_sub(sent_at as i64);
        self.0.retain(|of, clock| *of == manager || now.saturating_sub(clock.since) < 3 * SPAN);
        let new = Clock { since: now, least: late, before: i64::MAX, heard: 0 };
        let clock = self.0.entry(manager).or_insert(new);
        if now.saturating_sub(clock.since) >= SPAN {
            *clock = Clock { since: now, least: late, before: clock.least, heard: clock.heard };
        }
        clock.least = clock.least.min(late);
        clock.heard = clock.heard.saturating_add(1);
        clock.heard == BELIEVED && clock.offset().unsigned_abs() > LARGE
    }

    /// What a time of a manager's clock is by this node's.
    pub(crate) fn here(&self, manager: u64, at: u64) -> u64 {
        at.saturating_add_signed(self.0.get(&manager).map_or(0, Clock::offset))
    }

    /// The largest offset of all.
    pub(crate) fn largest(&self) -> u64 {
        self.0.values().map(|clock| clock.offset().unsigned_abs()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn what_was_late_on_the_way_is_no_offset() {
        let mut clocks = Clocks::default();
        for second in 100..110 {
            clocks.heard(1, second * SECOND, second * SECOND + 500);
        }
        // This node, or the line, stood still for 20 s.
        for second in 110..130 {
            assert!(!clocks.heard(1, second * SECOND, 130 * SECOND));
        }
        assert_eq!(clocks.largest(), 500);
        assert_eq!(clocks.here(1, 7), 507);
    }

    #[test]
    fn a_first_message_that_was_late_is_forgotten_at_the_next() {
        let mut clocks = Clocks::default();
        clocks.heard(1, 100 * SECOND, 109 * SECOND);
        assert_eq!(clocks.largest(), 9 * SECOND);
        clocks.heard(1, 110 * SECOND, 110 * SECOND);
        assert_eq!(clocks.largest(), 0);
    }

    #[test]
    fn a_clock_that_is_off_is_found_either_way_and_warned_of_once() {
        for (ahead, behind) in [(0, 3 * SECOND), (3 * SECOND, 0)] {
            let mut clocks = Clocks::default();
            let warned: u32 = (100..400)
                .map(|second| u32::from(clocks.heard(1, second * SECOND + ahead, second * SECOND + behind)))
                .sum();
            assert_eq!((clocks.largest(), warned), (3 * SECOND, 1));
        }
    }

    #[test]
    fn a_clock_that_was_set_right_or_is_gone_counts_no_more_after_a_while() {
        let mut clocks = Clocks::default();
        for second in 100..400 {
            clocks.heard(1, second * SECOND, second * SECOND);
        }
        for second in 400..600 {
            clocks.heard(1, second * SECOND, (second + 5) * SECOND);
        }
        assert_eq!(clocks.largest(), 5 * SECOND);
        clocks.heard(2, 900 * SECOND, 900 * SECOND);
        assert_eq!(clocks.largest(), 0);
        assert!(!clocks.heard(3, 0, 900 * SECOND), "it said nothing");
    }
}
