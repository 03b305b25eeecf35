//! The wall clock in the unit every link and log uses.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch; 0 if the machine's clock is set before it.
///
/// This is the wall clock: it may step back. Who needs strictly increasing times (the log's accept
/// times) takes the larger of this and the last one plus 1.
pub fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_after_2020_and_in_microseconds() {
        let now = now_micros();
        assert!(now > 1_577_836_800_000_000, "{now}");
        assert!(now < 10_000_000_000_000_000, "{now}");
    }
}
