//! Since when this node has everything (DESIGN 6, rule 10).
//!
//! Owns two times: everything accepted later has arrived here, messages in one, controls in the other. They only
//! rise. Never does I/O, reads no clock. Times are microseconds.

/// How far clocks of managers and nodes may be apart before it is known how far they are.
const ALLOWANCE: u64 = 5_000_000;

/// Offsets over this are worth a warning.
pub(crate) const LARGE_OFFSET: u64 = 2_000_000;

/// How long after something happens in the registry a watcher may hear of it.
const NEWS: u64 = 3_000_000;

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct Completeness {
    messages: u64,
    controls: u64,
    /// Since when this node sees for itself which managers there are.
    watching: u64,
    largest_offset: u64,
}

impl Completeness {
    /// Everything before `at` may be missing.
    pub(crate) fn only_since(&mut self, at: u64) {
        self.messages = self.messages.max(at);
        self.controls = self.controls.max(at);
    }

    /// A fill left out messages and controls accepted up to these times.
    pub(crate) fn filled(&mut self, left_out_at: u64, controls_left_out_at: u64) {
        self.messages = self.messages.max(left_out_at);
        self.controls = self.controls.max(controls_left_out_at);
    }

    /// Controls accepted up to this time are forgotten.
    pub(crate) fn controls_only_since(&mut self, at: u64) {
        self.controls = self.controls.max(at);
    }

    /// This node sees for itself which managers there are, from `now` on.
    pub(crate) fn watches_since(&mut self, now: u64) {
        self.watching = now;
    }

    /// A manager says that it saw another one go at `gone_at` by its clock, which shows `sent_at` now.
    pub(crate) fn manager_gone(&mut self, gone_at: u64, sent_at: u64, now: u64) {
        if sent_at == 0 {
            return;
        }
        let gone_at = gone_at.saturating_add(now).saturating_sub(sent_at);
        // Of a later one this node knows by itself whether it was linked to it.
        if gone_at <= self.watching.saturating_add(NEWS) {
            self.only_since(gone_at);
        }
    }

    /// A peer's clock showed `sent_at` at `now`. True if that is the largest offset so far and worth a warning.
    pub(crate) fn heard_clock(&mut self, sent_at: u64, now: u64) -> bool {
        if sent_at == 0 {
            return false;
        }
        let offset = sent_at.abs_diff(now);
        let grows = offset > self.largest_offset;
        self.largest_offset = self.largest_offset.max(offset);
        grows && offset > LARGE_OFFSET
    }

    /// What a time quoted by another node is worth less here.
    pub(crate) fn allowance(&self) -> u64 {
        ALLOWANCE.max(2 * self.largest_offset)
    }

    pub(crate) fn largest_offset(&self) -> u64 {
        self.largest_offset
    }

    /// Every message accepted later than this has arrived.
    pub(crate) fn messages_since(&self) -> u64 {
        self.messages
    }

    /// Every control accepted later than this has arrived and is kept.
    pub(crate) fn controls_since(&self) -> u64 {
        self.controls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_only_rise() {
        let mut since = Completeness::default();
        since.filled(50, 20);
        since.only_since(30);
        assert_eq!((since.messages_since(), since.controls_since()), (50, 30));
    }

    #[test]
    fn a_manager_that_went_before_this_node_watched_counts_by_this_nodes_clock() {
        let mut since = Completeness::default();
        since.watches_since(100_000_000);
        // Its clock is a second ahead.
        since.manager_gone(91_000_000, 101_000_000, 100_000_000);
        assert_eq!(since.messages_since(), 90_000_000);
        since.manager_gone(200_000_000, 200_000_000, 200_000_000);
        assert_eq!(since.messages_since(), 90_000_000);
    }

    #[test]
    fn the_allowance_grows_with_the_clocks_offsets() {
        let mut since = Completeness::default();
        assert_eq!(since.allowance(), 5_000_000);
        assert!(!since.heard_clock(1_000_000, 2_000_000));
        assert!(since.heard_clock(1_000_000, 5_000_000));
        assert!(!since.heard_clock(4_000_000, 1_000_000));
        assert!(!since.heard_clock(0, 9_000_000), "it said nothing");
        assert_eq!(since.allowance(), 8_000_000);
    }
}
