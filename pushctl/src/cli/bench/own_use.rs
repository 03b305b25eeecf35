//! What the bench itself uses: a load that has no processor left measures itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Busier than this, a thread would have done more had it been given more time.
const BOUND: f64 = 0.9;
/// A thread that waits for a core as often as this reads late, and delays are longer than they were.
const WAITS: f64 = 0.25;

/// A moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    at: Instant,
    cpu: Duration,
    waited: Option<Duration>,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct OwnUse {
    /// Processor time of this process, seconds.
    pub(super) cpu_seconds: f64,
    /// Of the time it could have had on its one thread, the part it used.
    pub(super) busy: f64,
    /// The part it wanted and did not get, because others had the cores; none if the kernel does not say.
    pub(super) waited_for_a_core: Option<f64>,
    /// Whether the figures say as much of the bench, or of its machine, as of the fleet.
    pub(super) is_the_bound: bool,
}

impl Moment {
    /// Call it on the thread that does the work.
    pub(super) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // Neither is ever negative.
        let cpu = Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or(0));
        Self { at: Instant::now(), cpu, waited: waited() }
    }

    /// What was used from an earlier moment to this one.
    pub(super) fn since(&self, earlier: &Self) -> OwnUse {
        let seconds = (self.at - earlier.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let cpu_seconds = self.cpu.saturating_sub(earlier.cpu).as_secs_f64();
        let waited =
            self.waited.zip(earlier.waited).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        OwnUse::of(seconds, cpu_seconds, waited)
    }
}

impl OwnUse {
    fn of(seconds: f64, cpu_seconds: f64, waited: Option<f64>) -> Self {
        let busy = cpu_seconds / seconds;
        let waited_for_a_core = waited.map(|waited| waited / seconds);
        let waits = waited_for_a_core.unwrap_or(0.0);
        let is_the_bound = busy + waits > BOUND || waits > WAITS;
        Self { cpu_seconds, busy, waited_for_a_core, is_the_bound }
    }

    /// What to say about it, if it has to be said.
    pub(super) fn warning(&self) -> Option<String> {
        if !self.is_the_bound {
            return None;
        }
        let busy = 100.0 * self.busy;
        Some(match self.waited_for_a_core {
            Some(waited) if waited > WAITS => format!(
                "the figures are bounded by this machine's cores: the bench was busy {busy:.0} % of the time and waited \
                 for a core another {:.0} %; run it on another machine, or with fewer servers beside it",
                100.0 * waited
            ),
            _ => format!(
                "the figures are bounded by the bench itself: its one thread was busy {busy:.0} % of the time; \
                 start several pushctl at once, each with a part of the sockets"
            ),
        })
    }
}

/// How long this thread was ready to run and did not.
fn waited() -> Option<Duration> {
    // Time on a core, time waiting for one (both ns), time slices.
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_bench_says_so() {
        assert_eq!(OwnUse::of(10.0, 5.0, Some(0.5)).warning(), None);
        let warning = OwnUse::of(10.0, 9.5, Some(0.1)).warning().unwrap();
        assert!(warning.contains("by the bench itself") && warning.contains("95 %"), "{warning}");
        assert!(OwnUse::of(10.0, 1.0, Some(3.0)).is_the_bound);
        let warning = OwnUse::of(10.0, 5.0, Some(4.5)).warning().unwrap();
        assert!(warning.contains("machine's cores") && warning.contains("another 45 %"), "{warning}");
        assert!(OwnUse::of(10.0, 9.5, None).warning().unwrap().contains("bench itself"));
    }

    #[test]
    fn work_is_seen() {
        let before = Moment::now();
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {}
        let used = Moment::now().since(&before);
        assert!(used.cpu_seconds > 0.0 && used.busy > 0.0, "{used:?}");
    }
}
