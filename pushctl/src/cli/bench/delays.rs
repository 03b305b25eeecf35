//! Delays of one kind, and what is said about them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Nanoseconds; nothing is waited for longer than an hour.
const SHORTEST: u64 = 1;
const LONGEST: u64 = 3_600_000_000_000;
/// A value is off by a thousandth at most.
const DIGITS: u8 = 3;

/// Delays, each kept to a thousandth of its size. It is as large with one as with a billion.
#[derive(Debug, Clone)]
pub(super) struct Delays {
    nanos: Histogram<u64>,
}

impl Default for Delays {
    fn default() -> Self {
        let nanos = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS);
        Self { nanos: nanos.expect("the bounds are apart and the digits are few") }
    }
}

/// What is said about delays; seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    /// How many there were.
    pub(super) count: u64,
    /// The mean.
    pub(super) mean: f64,
    /// The median.
    pub(super) p50: f64,
    /// Nine of ten were shorter.
    pub(super) p90: f64,
    /// 99 of 100 were shorter.
    pub(super) p99: f64,
    /// 999 of 1000 were shorter.
    pub(super) p99_9: f64,
    /// The longest.
    pub(super) max: f64,
}

/// Delays of similar length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Bucket {
    /// They are longer than this, seconds.
    pub(super) above: f64,
    /// And not longer than this, seconds.
    pub(super) up_to: f64,
    /// How many.
    pub(super) count: u64,
}

/// Bounds of the buckets in each power of ten.
const STEPS: [u64; 3] = [1, 2, 5];

impl Delays {
    pub(super) fn record(&mut self, delay: Duration) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(LONGEST);
        self.nanos.saturating_record(nanos.clamp(SHORTEST, LONGEST));
    }

    /// None without any.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let quantile = |q| seconds(self.nanos.value_at_quantile(q).min(self.nanos.max()));
        (!self.nanos.is_empty()).then(|| Quantiles {
            count: self.nanos.len(),
            mean: self.nanos.mean() / 1e9,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: seconds(self.nanos.max()),
        })
    }

    /// All of them in buckets that grow by 1, 2, 5, 10 …, from the first that holds any to the last.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        let bounds = (0..).flat_map(|power| STEPS.map(|step| step * 10_u64.pow(power)));
        let bounds: Vec<u64> = bounds.take_while(|&bound| bound < LONGEST).collect();
        let mut buckets = Vec::new();
        let mut below = 0;
        for bound in bounds.into_iter().chain([LONGEST]) {
            let count = self.nanos.iter_recorded().filter(|value| {
                let nanos = self.nanos.lowest_equivalent(value.value_iterated_to());
                nanos > below && nanos <= bound
            });
            let count = count.map(|value| value.count_since_last_iteration()).sum();
            buckets.push(Bucket { above: below as f64 / 1e9, up_to: bound as f64 / 1e9, count });
            below = bound;
        }
        let first = buckets.iter().position(|bucket| bucket.count > 0).unwrap_or(buckets.len());
        let last = buckets.iter().rposition(|bucket| bucket.count > 0).map_or(first, |last| last + 1);
        buckets[first..last].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Delays {
        let mut delays = Delays::default();
        micros.into_iter().for_each(|micros| delays.record(Duration::from_micros(micros)));
        delays
    }

    #[test]
    fn quantiles_are_right_to_a_thousandth() {
        let quantiles = of((1..=1000).map(|n| n * 100)).quantiles().unwrap();
        assert_eq!(quantiles.count, 1000);
        let expected = [0.05, 0.09, 0.099, 0.0999, 0.1, 0.05005];
        let Quantiles { p50, p90, p99, p99_9, max, mean, .. } = quantiles;
        for (value, expected) in [p50, p90, p99, p99_9, max, mean].into_iter().zip(expected) {
            assert!((value - expected).abs() < 0.0015 * expected, "{value} for {expected}");
        }
        assert_eq!(of([]).quantiles(), None);
    }

    #[test]
    fn what_is_beyond_the_bounds_counts_all_the_same() {
        let mut delays = of([]);
        delays.record(Duration::ZERO);
        delays.record(Duration::from_secs(100_000));
        let quantiles = delays.quantiles().unwrap();
        assert_eq!(quantiles.count, 2);
        assert!((quantiles.max - 3600.0).abs() < 4.0, "{quantiles:?}");
        assert_eq!(delays.buckets().iter().map(|bucket| bucket.count).sum::<u64>(), 2);
    }

    #[test]
    fn buckets_go_from_the_first_that_holds_any_to_the_last() {
        let counts: Vec<(f64, u64)> =
            of([150, 160, 900, 4_000]).buckets().iter().map(|b| (b.up_to, b.count)).collect();
        assert_eq!(counts, [(0.0002, 2), (0.0005, 0), (0.001, 1), (0.002, 0), (0.005, 1)]);
        assert_eq!(of([]).buckets(), []);
    }
}
