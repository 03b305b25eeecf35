//! How figures are written where room is scarce.

use std::time::Duration;

/// What is not known.
const UNKNOWN: &str = "-";

/// A rate or another small figure: a decimal where it says something.
pub(super) fn rate(value: f64) -> String {
    if value != 0.0 && value < 99.95 { format!("{value:.1}") } else { count(value) }
}

/// A whole number, its thousands apart.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole.
pub(super) fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| UNKNOWN.to_owned(), |part| format!("{:.0} %", 100.0 * part))
}

/// A latency.
pub(super) fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => UNKNOWN.to_owned(),
        Some(seconds) if seconds < 0.00995 => format!("{:.2} ms", 1e3 * seconds),
        Some(seconds) if seconds < 0.9995 => format!("{:.0} ms", 1e3 * seconds),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// An amount of memory.
pub(super) fn bytes(value: f64) -> String {
    let units = ["KiB", "MiB", "GiB"];
    if value < 1024.0 {
        return format!("{value:.0} B");
    }
    let mut scaled = value / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", units[unit])
}

/// A span of time, to the second.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.04, 12.34, 99.94, 99.96, 1234.6].map(rate),
            ["0", "0.0", "12.3", "99.9", "100", "1,235"]
        );
        assert_eq!(
            [0.0, 999.0, 1e3, 1e6, 123_456.0].map(count),
            ["0", "999", "1,000", "1,000,000", "123,456"]
        );
        assert_eq!([None, Some(0.5), Some(2.0 / 3.0)].map(percent), ["-", "50 %", "67 %"]);
        let latencies = [None, Some(0.00042), Some(0.00999), Some(0.25), Some(1.26)];
        assert_eq!(latencies.map(latency), ["-", "0.42 ms", "10 ms", "250 ms", "1.3 s"]);
        assert_eq!(
            [0.0, 1023.0, 1536.0, 134_217_728.0].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "128.0 MiB"]
        );
        assert_eq!([5, 65, 7260].map(|s| span(Duration::from_secs(s))), ["5 s", "1 min 5 s", "2 h 1 min"]);
    }
}
