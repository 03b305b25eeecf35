//! Token buckets that need no timer: a bucket is the one moment at which it will be full again.

/// How fast something may go on, and how much of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    /// What may be saved up, as the nanoseconds it takes to save it.
    saved: u64,
}

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// So many per second, 1 at least; of `saved_seconds` without any, that much may come at once.
    pub fn new(per_second: u32, saved_seconds: u32) -> Self {
        Self { per_second: per_second.max(1), saved: u64::from(saved_seconds) * SECOND }
    }

    fn cost(self, number: u32) -> u64 {
        u64::from(number) * SECOND / u64::from(self.per_second)
    }
}

/// A bucket of a rate that its owner knows: 8 bytes, for each of many connections. It begins full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes `number` at `now`, nanoseconds of a clock that never goes back. False, with nothing taken, if there are
    /// not as many.
    pub fn take(&mut self, rate: Rate, number: u32, now: u64) -> bool {
        let full_at = self.full_at.max(now) + rate.cost(number);
        let enough = full_at - now <= rate.saved;
        if enough {
            self.full_at = full_at;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = SECOND / 1000;

    #[test]
    fn what_was_saved_goes_at_once_and_the_rest_at_the_rate() {
        let (rate, mut bucket) = (Rate::new(10, 2), Bucket::default());
        let taken = (0..100).filter(|_| bucket.take(rate, 1, 0)).count();
        assert_eq!(taken, 20);
        assert!(!bucket.take(rate, 1, 99 * MILLI));
        assert!(bucket.take(rate, 1, 100 * MILLI));
        assert!(!bucket.take(rate, 1, 100 * MILLI));
        // However long it waits, no more than two seconds' worth is saved.
        let taken = (0..100).filter(|_| bucket.take(rate, 1, 1000 * SECOND)).count();
        assert_eq!(taken, 20);
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let (rate, mut bucket) = (Rate::new(10, 1), Bucket::default());
        assert!(!bucket.take(rate, 11, 0));
        assert!(bucket.take(rate, 10, 0));
        assert!(!bucket.take(rate, u32::MAX, SECOND));
        assert!(bucket.take(rate, 10, SECOND));
    }

    proptest! {
        /// In no stretch of time more than its share and what was saved; and who keeps to the rate is never refused.
        #[test]
        fn no_stretch_has_more_than_its_share(
            per_second in 1_u32..100_000,
            saved in 1_u32..10,
            asked in prop::collection::vec((0_u64..SECOND, 1_u32..1000), 1..200),
        ) {
            let (rate, mut bucket) = (Rate::new(per_second, saved), Bucket::default());
            let mut now = 0;
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, number) in asked {
                now += pause;
                if bucket.take(rate, number, now) {
                    taken.push((now, number.into()));
                }
            }
            for first in 0..taken.len() {
                let mut sum = 0;
                for (at, number) in &taken[first..] {
                    sum += number;
                    let share = u128::from(at - taken[first].0) * u128::from(per_second) / u128::from(SECOND);
                    // Each cost is rounded down by less than a nanosecond.
                    let rounding = u128::from(taken.len() as u64 * u64::from(per_second) / SECOND + 1);
                    let most = share + u128::from(per_second) * u128::from(saved) + rounding;
                    prop_assert!(u128::from(sum) <= most, "{sum} of {most}");
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_second in 1_u32..100_000, steps in 1_u64..500) {
            let (rate, mut bucket) = (Rate::new(per_second, 1), Bucket::default());
            let each = SECOND.div_ceil(u64::from(per_second));
            for step in 0..steps {
                prop_assert!(bucket.take(rate, 1, step * each));
            }
        }
    }
}
