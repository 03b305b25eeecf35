//! Medians, spreads and percentiles.

/// One figure, taken in several rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(Vec<(usize, f64)>);

impl Series {
    /// Adds the value of a round.
    pub(crate) fn push(&mut self, round: usize, value: f64) {
        self.0.push((round, value));
    }

    /// The middle value, or the mean of the two in the middle; none of nothing.
    pub(crate) fn median(&self) -> Option<f64> {
        let values = self.sorted();
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            n if n % 2 == 1 => Some(values[middle]),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }

    /// Smallest and largest value.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let values = self.sorted();
        Some((*values.first()?, *values.last()?))
    }

    /// Round by round, this over that. Rounds that either lacks are left out: a ratio carries over to other machines
    /// only because both sides saw the same noise.
    pub(crate) fn over(&self, base: &Self) -> Self {
        let ratio = |&(round, value): &(usize, f64)| {
            let (_, base) = base.0.iter().find(|(other, base)| *other == round && *base > 0.0)?;
            Some((round, value / base))
        };
        Self(self.0.iter().filter_map(ratio).collect())
    }

    /// Every value so many times.
    pub(crate) fn times(&self, factor: f64) -> Self {
        self.0.iter().map(|&(round, value)| (round, value * factor)).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.0.iter().map(|(_, value)| *value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }
}

impl FromIterator<(usize, f64)> for Series {
    fn from_iter<T: IntoIterator<Item = (usize, f64)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The smallest value that at least `share` (0 to 1) of all values do not exceed; none of nothing. Exact, from all
/// values: there are never more than some thousands here.
pub(crate) fn percentile(values: &[u64], share: f64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        values.iter().copied().enumerate().collect()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(series(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(series(&[]).median(), None);
        assert_eq!(series(&[3.0, 1.0, 2.0]).spread(), Some((1.0, 3.0)));
        assert_eq!(series(&[]).spread(), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let base: Series = [(0, 2.0), (2, 4.0), (3, 0.0)].into_iter().collect();
        let ratios = series(&[1.0, 7.0, 6.0, 5.0]).over(&base);
        assert_eq!(ratios, [(0, 0.5), (2, 1.5)].into_iter().collect());
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(percentile(&values, 0.5), Some(100));
        assert_eq!(percentile(&values, 0.99), Some(198));
        assert_eq!(percentile(&values, 1.0), Some(200));
        assert_eq!(percentile(&values, 0.0), Some(1));
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile(&[], 0.99), None);
    }
}
