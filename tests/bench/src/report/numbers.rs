//! Numbers for people.

use crate::statistics::Series;

/// Above this the load's core cannot do much more, and a server might.
pub(super) const LOAD_IS_THE_LIMIT: f64 = 0.95;

/// Stands behind figures for which the load was the limit.
pub(super) const MARK: &str = " †";

/// Three significant digits, no exponent.
pub(super) fn digits(value: f64) -> String {
    let size = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = usize::try_from(2 - size).unwrap_or(0).min(4);
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-').unwrap_or(&text).split('.').next() {
        Some(whole) if whole.len() > 3 => grouped(value),
        _ => text,
    }
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let text = format!("{value:.0}");
    let (sign, number) = text.strip_prefix('-').map_or(("", text.as_str()), |number| ("-", number));
    let mut grouped = String::new();
    for (n, digit) in number.chars().enumerate() {
        if n > 0 && (number.len() - n) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

/// `4.17 (4.02–4.31)`: the median and the spread of the rounds; a dash where there is none.
pub(super) fn spread(series: &Series) -> String {
    match (series.median(), series.spread()) {
        (Some(median), Some((least, most))) if least < most => {
            format!("{} ({}–{})", digits(median), digits(least), digits(most))
        }
        (Some(median), _) => digits(median),
        (None, _) => "–".to_owned(),
    }
}

/// `1.07 ×`, of the medians of the rounds' own ratios.
pub(super) fn ratio(series: &Series, base: &Series) -> String {
    series.over(base).median().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×"))
}

/// The text, marked if the load was the limit.
pub(super) fn marked(text: String, load: &Series) -> String {
    if load.median().is_some_and(|load| load > LOAD_IS_THE_LIMIT) { text + MARK } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        for (value, text) in [
            (4.1678, "4.17"),
            (0.041_678, "0.0417"),
            (41.678, "41.7"),
            (416.78, "417"),
            (41_678.0, "41,678"),
            (1_234_567.0, "1,234,567"),
            (0.0, "0.00"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(digits(value), text);
        }
    }

    #[test]
    fn a_single_round_has_no_spread() {
        let series: Series = [(0, 1.0)].into_iter().collect();
        assert_eq!(spread(&series), "1.00");
        let series: Series = [(0, 1.0), (1, 3.0)].into_iter().collect();
        assert_eq!(spread(&series), "2.00 (1.00–3.00)");
        assert_eq!(spread(&Series::default()), "–");
    }
}
