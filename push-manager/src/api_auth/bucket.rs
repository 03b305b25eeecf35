//! A token bucket: so much a second, with one second's worth saved up at most. No clock of its own.

use std::time::Duration;

use crate::clock::SECOND;

/// Tokens are counted in millionths, so that every microsecond adds a whole number of them.
const ONE: i64 = SECOND as i64;

/// The highest rate: its bucket still fits the count.
pub(super) const MAX_RATE: u64 = 1 << 40;

/// What one key has left of one rate.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: i64,
    /// Below zero while something bigger than the bucket is paid off.
    level: i64,
    /// When the level was right, microseconds.
    at: u64,
}

impl Bucket {
    /// A full one. `rate` is a second's worth, 1 to [`MAX_RATE`].
    pub(super) fn new(rate: u64) -> Self {
        let rate = rate.clamp(1, MAX_RATE) as i64;
        Self { rate, level: rate * ONE, at: 0 }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.unsigned_abs()
    }

    /// How long it takes until this many can be had; zero if they can be had now. What is bigger than the bucket can be
    /// had when that is full: it must not be impossible for ever.
    pub(super) fn wait_for(&mut self, tokens: u64, now: u64) -> Duration {
        self.fill(now);
        let lacking = price(tokens).min(self.rate * ONE) - self.level;
        // Rounded up, or it would be tried a moment too early.
        Duration::from_micros(lacking.max(0).unsigned_abs().div_ceil(self.rate.unsigned_abs()))
    }

    /// Takes them out; those that are not there yet are owed, so that the rate holds in the long run.
    pub(super) fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(price(tokens));
    }

    fn fill(&mut self, now: u64) {
        let passed = i64::try_from(now.saturating_sub(self.at)).unwrap_or(i64::MAX);
        let more = passed.saturating_mul(self.rate);
        self.level = self.level.saturating_add(more).min(self.rate * ONE);
        self.at = self.at.max(now);
    }
}

fn price(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(ONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(bucket: &mut Bucket, tokens: u64, now: u64) -> Result<(), Duration> {
        match bucket.wait_for(tokens, now) {
            Duration::ZERO => {
                bucket.take(tokens);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    #[test]
    fn a_second_is_saved_up_and_then_it_is_the_rate() {
        let mut bucket = Bucket::new(10);
        let start = 5 * SECOND;
        assert_eq!((0..20).filter(|_| take(&mut bucket, 1, start).is_ok()).count(), 10);
        assert_eq!(take(&mut bucket, 1, start), Err(Duration::from_millis(100)));
        assert_eq!(take(&mut bucket, 1, start + SECOND / 20), Err(Duration::from_millis(50)));
        assert_eq!(take(&mut bucket, 1, start + SECOND / 10), Ok(()));
        assert!(take(&mut bucket, 1, start + SECOND / 10).is_err());
        // However long nothing is asked for, no more than a second's worth waits.
        assert_eq!((0..20).filter(|_| take(&mut bucket, 1, 100 * SECOND).is_ok()).count(), 10);
    }

    #[test]
    fn what_is_bigger_than_the_bucket_waits_until_it_is_full_and_is_paid_off() {
        let mut bucket = Bucket::new(100);
        assert_eq!(take(&mut bucket, 1, SECOND), Ok(()));
        assert_eq!(take(&mut bucket, 300, SECOND), Err(Duration::from_millis(10)));
        assert_eq!(take(&mut bucket, 300, SECOND + SECOND / 100), Ok(()));
        // 200 are owed.
        let now = SECOND + SECOND / 100;
        assert_eq!(take(&mut bucket, 1, now), Err(Duration::from_millis(2010)));
        assert_eq!(take(&mut bucket, 1, now + 2 * SECOND + SECOND / 100), Ok(()));
    }

    #[test]
    fn a_clock_that_stands_still_or_the_largest_figures_upset_nothing() {
        let mut bucket = Bucket::new(u64::MAX);
        assert_eq!(take(&mut bucket, u64::MAX, u64::MAX), Ok(()));
        assert!(take(&mut bucket, u64::MAX, 0).is_err());
        let mut slow = Bucket::new(0);
        assert_eq!((slow.rate(), take(&mut slow, u64::MAX, 1)), (1, Ok(())));
        assert!(take(&mut slow, 1, SECOND).is_err());
    }

    proptest! {
        #[test]
        fn in_the_long_run_it_is_never_more_than_the_rate(
            rate in 1_u64..1000,
            asks in proptest::collection::vec((0_u64..200_000, 1_u64..50), 1..200),
        ) {
            let mut bucket = Bucket::new(rate);
            let (mut now, mut taken, mut last) = (0, 0, 0);
            for (pause, tokens) in asks {
                now += pause;
                match take(&mut bucket, tokens, now) {
                    Ok(()) => { taken += tokens; last = tokens; }
                    Err(wait) => {
                        // Asked again when it says, it is given.
                        now += wait.as_micros() as u64;
                        prop_assert_eq!(take(&mut bucket, tokens, now), Ok(()));
                        taken += tokens;
                        last = tokens;
                    }
                }
            }
            // What was saved up, what came in, and the last one, which may be owed in part.
            let most = rate + last + (now * rate).div_ceil(SECOND);
            prop_assert!(taken <= most, "{} of {}", taken, most);
        }
    }
}
