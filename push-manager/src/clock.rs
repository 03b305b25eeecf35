//! The two clocks a manager needs, and one value that carries both.

use std::time::{Duration, Instant};

use pushcast_common::clock::now_micros;

/// Microseconds in one second.
pub const SECOND: u64 = 1_000_000;

/// One moment, by both clocks, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since 1970; may step back or jump. Only for times that others read.
    pub wall: u64,
    /// Since some start; never goes back. For everything that waits or ages.
    pub mono: u64,
}

/// Reads the machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: now_micros(), mono: self.mono() }
    }

    pub(crate) fn mono(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// The instant that `mono` stands for, for timers; `None` if it is never.
    pub(crate) fn instant(&self, mono: u64) -> Option<tokio::time::Instant> {
        if mono == u64::MAX {
            return None;
        }
        self.start.checked_add(Duration::from_micros(mono)).map(tokio::time::Instant::from_std)
    }
}

/// A duration in microseconds; what does not fit is the largest.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
