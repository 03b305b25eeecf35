//! Waking up at a time, to some ten microseconds: the runtime's own timers are good to a millisecond, which is more
//! than what a push takes to its receivers.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::descriptors;

/// A timer of the kernel.
#[derive(Debug)]
pub(super) struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    /// Needs a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd: descriptors::readable(fd)? })
    }

    /// Waits until then; not at all if it is past. One waits at a time.
    pub(super) async fn until(&self, at: Instant) -> io::Result<()> {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0; 8];
        self.fd
            .async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut expirations)?))
            .await
            .map(|_read| ())
    }
}

fn timespec(span: Duration) -> Timespec {
    // Nobody waits for more than the longest run.
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_is_woken_too_early() {
        let timer = Timer::new().unwrap();
        for micros in [0, 1, 300, 20_000] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.until(at).await.unwrap();
            assert!(Instant::now() >= at, "{micros}");
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_is_not_felt_by_the_next() {
        let timer = Timer::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(1);
        let _given_up = timer.until(soon).now_or_never();
        std::thread::sleep(Duration::from_millis(5));
        let later = Instant::now() + Duration::from_millis(30);
        timer.until(later).await.unwrap();
        assert!(Instant::now() >= later);
        let in_an_hour = Instant::now() + Duration::from_secs(3600);
        assert!(timer.until(in_an_hour).now_or_never().is_none());
        timer.until(Instant::now() + Duration::from_millis(1)).await.unwrap();
    }
}
