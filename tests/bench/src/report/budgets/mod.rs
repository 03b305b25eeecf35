//! What was to be reached, and whether it is.

mod figures;

use super::{
    Findings,
    numbers::{digits, marked, spread},
    table::Table,
};
use crate::statistics::Series;

/// A figure and its bound.
struct Budget {
    figure: &'static str,
    /// By round.
    value: Series,
    bound: Bound,
    unit: &'static str,
    /// How busy the load's core was, where that may have been the limit.
    load: Series,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    fn new(figure: &'static str, value: Series, bound: Bound, unit: &'static str) -> Self {
        Self { figure, value, bound, unit, load: Series::default() }
    }

    /// How busy the load's core was.
    fn limited_by(self, load: Series) -> Self {
        Self { load, ..self }
    }

    /// By the median.
    fn is_met(&self) -> bool {
        self.value.median().is_some_and(|value| match self.bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        })
    }
}

pub(super) fn section(findings: &Findings) -> Option<String> {
    let budgets = figures::all(findings);
    let mut table = Table::new(&["figure", "measured", "budget", "met"]);
    for budget in &budgets {
        let (sign, bound) = match budget.bound {
            Bound::AtMost(bound) => ("≤", bound),
            Bound::AtLeast(bound) => ("≥", bound),
        };
        table.row(&[
            budget.figure.to_owned(),
            marked(with_unit(spread(&budget.value), budget.unit), &budget.load),
            with_unit(format!("{sign} {}", digits(bound)), budget.unit),
            if budget.is_met() { "yes" } else { "**no**" }.to_owned(),
        ]);
    }
    (!table.is_empty()).then(|| format!("## Budgets\n\n{}", table.render()))
}

fn with_unit(number: String, unit: &str) -> String {
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_when_it_is_just_reached() {
        let budget = |value, bound| Budget::new("x", figures::once(Some(value)), bound, "");
        assert!(budget(1.07, Bound::AtMost(1.07)).is_met());
        assert!(!budget(1.08, Bound::AtMost(1.07)).is_met());
        assert!(budget(2.0, Bound::AtLeast(2.0)).is_met());
        assert!(!budget(1.9, Bound::AtLeast(2.0)).is_met());
        let unknown = Budget { value: Series::default(), ..budget(0.0, Bound::AtMost(1.0)) };
        assert!(!unknown.is_met(), "nothing measured is nothing reached");
    }
}
