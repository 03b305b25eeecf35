//! Since when this node has everything (DESIGN 6, rule 10).
//!
//! Owns two times: everything accepted later has arrived here, messages in one, controls in the other. They only
//! rise. Never does I/O, reads no clock. Times are microseconds.

use crate::clocks::Clocks;

/// How far clocks of managers and nodes may be apart before it is known how far they are.
const ALLOWANCE: u64 = 5_000_000;

/// How long after something happens in the registry a watcher may hear of it.
const NEWS: u64 = 3_000_000;

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct Completeness {
    messages: u64,
    controls: u64,
    /// Since when this node sees for itself which managers there are.
    watching: u64,
    clocks: Clocks,
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

    /// Since when it does.
    pub(crate) fn watching(&self) -> u64 {
        self.watching
    }

    /// A manager, whose clock was heard just now, says that it saw another one go at `gone_at` by that clock.
    pub(crate) fn manager_gone(&mut self, manager: u64, gone_at: u64, sent_at: u64) {
        if sent_at == 0 {
            return;
        }
        let gone_at = self.clocks.here(manager, gone_at);
        // Of a later one this node knows by itself whether it was linked to it.
        if gone_at <= self.watching.saturating_add(NEWS) {
            self.only_since(gone_at);
        }
    }

    /// A manager's clock showed `sent_at` when it sent what came at `now`. True if that is worth a warning.
    pub(crate) fn heard_clock(&mut self, manager: u64, sent_at: u64, now: u64) -> bool {
        self.clocks.heard(manager, sent_at, now)
    }

    /// What a time quoted by another node is worth less here.
    pub(crate) fn allowance(&self) -> u64 {
        ALLOWANCE.max(2 * self.clocks.largest())
    }

    pub(crate) fn largest_offset(&self) -> u64 {
        self.clocks.largest()
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
        since.heard_clock(1, 101_000_000, 100_000_000);
        since.manager_gone(1, 91_000_000, 101_000_000);
        assert_eq!(since.messages_since(), 90_000_000);
        since.heard_clock(2, 200_000_000, 200_000_000);
        since.manager_gone(2, 200_000_000, 200_000_000);
        assert_eq!(since.messages_since(), 90_000_000);
    }

    #[test]
    fn the_allowance_grows_with_the_clocks_offsets() {
        let mut since = Completeness::default();
        assert_eq!(since.allowance(), 5_000_000);
        since.heard_clock(1, 1_000_000, 2_000_000);
        assert_eq!(since.allowance(), 5_000_000);
        since.heard_clock(2, 5_000_000, 1_000_000);
        assert_eq!(since.allowance(), 8_000_000);
    }
}
