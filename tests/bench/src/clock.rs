//! One clock for everything that is timed.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of the monotonic clock, the one that timers run by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(pub(crate) u64);

impl Nanos {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        // Both count up from the machine's start.
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    pub(crate) fn plus(self, later: Duration) -> Self {
        Self(self.0 + later.as_nanos() as u64)
    }

    pub(crate) fn since(self, before: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(before.0))
    }

    pub(crate) fn timespec(self) -> Timespec {
        timespec(Duration::from_nanos(self.0))
    }
}

/// A span as the kernel takes it.
pub(crate) fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() }
}
