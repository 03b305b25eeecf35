//! When to connect again: full jitter, so that a fleet's clients never come back in step.

use std::time::Duration;

use rand::RngExt as _;

/// The first try after a failure waits up to this long; every further failure doubles it.
const FIRST: Duration = Duration::from_millis(500);
/// No try waits longer than this.
const LONGEST: Duration = Duration::from_secs(20);
/// After a close by which the node asks for it, the first try waits up to this long.
const ASKED: Duration = Duration::from_secs(1);
/// A connection that stood this long was a good one. A node that lets clients in only to throw them out again (it is
/// overloaded, or about to end) would otherwise be tried anew without any back-off.
pub(crate) const GOOD_WHILE: Duration = Duration::from_secs(10);

/// Close code of a node that restarts.
pub const SERVICE_RESTART: u16 = 1012;
/// Close code of a node that wants the client elsewhere.
pub const MOVED: u16 = 4003;

/// Whether a close code means that connecting again is of no use (4500 to 4999).
pub const fn is_final(code: u16) -> bool {
    matches!(code, 4500..=4999)
}

/// Counts failures and says how long to wait before the next try.
#[derive(Debug, Clone, Default)]
pub struct Reconnect {
    failures: u32,
}

impl Reconnect {
    /// Forgets earlier failures if the connection that ended now was a good one. Call it before
    /// [`Reconnect::after_close`].
    pub fn stood(&mut self, lasted: Duration) {
        if lasted >= GOOD_WHILE {
            self.failures = 0;
        }
    }

    /// Failures not forgotten yet.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait after a close; `None`: never connect again. A connection lost without a close frame
    /// has no code.
    pub fn after_close(&mut self, code: Option<u16>) -> Option<Duration> {
        if code.is_some_and(is_final) {
            return None;
        }
        // The node spreads these closes itself, so the first try need not.
        if self.failures == 0 && matches!(code, Some(SERVICE_RESTART | MOVED)) {
            self.failures = 1;
            return Some(random_up_to(ASKED));
        }
        Some(self.after_failure(None))
    }

    /// How long to wait after a node sent a client on that wanted to resume, for the `sent_on`th time in a row: up to
    /// 1 s, then 2 s, 4 s and so on. The next node may have what this one has not, so it is no failure, and earlier
    /// failures do not make it later; but the fleet may need a moment to be whole again.
    pub fn after_move(&self, sent_on: u32) -> Duration {
        random_up_to(ASKED.saturating_mul(1 << sent_on.saturating_sub(1).min(16)).min(LONGEST))
    }

    /// How long to wait after a try that failed, at least as long as the node asked for.
    pub fn after_failure(&mut self, retry_after: Option<Duration>) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        retry_after.unwrap_or_default().min(LONGEST) + random_up_to(ceiling)
    }
}

fn random_up_to(ceiling: Duration) -> Duration {
    ceiling.mul_f64(rand::rng().random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_grow_from_half_a_second_to_twenty() {
        let mut longest = [Duration::ZERO; 10];
        for _ in 0..2_000 {
            let mut policy = Reconnect::default();
            for wait in &mut longest {
                *wait = (*wait).max(policy.after_failure(None));
            }
        }
        for (failures, wait) in longest.iter().enumerate() {
            let ceiling = (0.5 * f64::from(1 << failures)).min(20.0);
            assert!(wait.as_secs_f64() <= ceiling, "{wait:?} after {failures} failures");
            assert!(wait.as_secs_f64() >= 0.9 * ceiling, "{wait:?} after {failures} failures");
        }
    }

    #[test]
    fn an_asked_for_move_is_tried_within_a_second_once() {
        for code in [SERVICE_RESTART, MOVED] {
            for _ in 0..500 {
                let mut policy = Reconnect::default();
                assert!(policy.after_close(Some(code)).expect("allowed") <= ASKED);
                assert_eq!(policy.failures, 1);
            }
        }
    }

    #[test]
    fn being_sent_on_waits_for_no_earlier_failure_and_is_none() {
        let mut policy = Reconnect::default();
        for _ in 0..20 {
            policy.after_failure(None);
        }
        for (sent_on, ceiling) in [(1, 1), (2, 2), (3, 4), (9, 20), (u32::MAX, 20)] {
            let longest = (0..500).map(|_| policy.after_move(sent_on)).max().expect("some");
            let ceiling = Duration::from_secs(ceiling);
            assert!(longest <= ceiling && longest >= ceiling.mul_f64(0.9), "{longest:?} of {ceiling:?}");
        }
        assert_eq!(policy.failures(), 20);
    }

    #[test]
    fn final_codes_end_it() {
        for code in [4500, 4501, 4503, 4504, 4999] {
            assert_eq!(Reconnect::default().after_close(Some(code)), None);
        }
        for code in [None, Some(1006), Some(1013), Some(4001), Some(4002), Some(4499), Some(5000)] {
            assert!(Reconnect::default().after_close(code).is_some());
        }
    }

    #[test]
    fn only_a_connection_that_lasted_starts_over() {
        let mut policy = Reconnect::default();
        for _ in 0..10 {
            policy.stood(GOOD_WHILE - Duration::from_millis(1));
            policy.after_close(None);
        }
        assert_eq!(policy.failures, 10);
        policy.stood(GOOD_WHILE);
        assert!(policy.after_close(None).expect("allowed") <= FIRST);
    }

    #[test]
    fn retry_after_is_waited_for() {
        let asked = Duration::from_secs(3);
        assert!(Reconnect::default().after_failure(Some(asked)) >= asked);
    }
}
