//! The bytes that sockets read, and which of them belong to what.

use std::cell::Cell;

/// What all sockets have read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Bytes, answers to upgrades included.
    pub(super) read: Cell<u64>,
    /// Bytes of answers to upgrades.
    pub(super) upgrades: Cell<u64>,
    /// Bytes of this run's deliveries, frame headers included.
    pub(super) pushes: Cell<u64>,
    /// Bytes of all other frames.
    pub(super) others: Cell<u64>,
    /// Heartbeats answered.
    pub(super) heartbeats: Cell<u64>,
    /// Deliveries of somebody else's pushes.
    pub(super) foreign: Cell<u64>,
}

/// Bytes that sockets read, and frames, over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) read: u64,
    pub(super) upgrades: u64,
    pub(super) pushes: u64,
    pub(super) others: u64,
    pub(super) heartbeats: u64,
    pub(super) foreign: u64,
}

impl Wire {
    /// All so far.
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            read: counts.read.get(),
            upgrades: counts.upgrades.get(),
            pushes: counts.pushes.get(),
            others: counts.others.get(),
            heartbeats: counts.heartbeats.get(),
            foreign: counts.foreign.get(),
        }
    }

    /// What came since an earlier look.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read - earlier.read,
            upgrades: self.upgrades - earlier.upgrades,
            pushes: self.pushes - earlier.pushes,
            others: self.others - earlier.others,
            heartbeats: self.heartbeats - earlier.heartbeats,
            foreign: self.foreign - earlier.foreign,
        }
    }

    /// Bytes read that belong to nothing that was whole: frames and answers cut when a socket ended.
    pub(super) const fn cut(self) -> u64 {
        self.read.saturating_sub(self.upgrades + self.pushes + self.others)
    }
}
