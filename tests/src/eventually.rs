//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `probe` until it says `Ok`, and hands that out.
///
/// # Panics
/// With `what` and the last `Err`, when it does not within the time.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        let reason = match probe().await {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(
            start.elapsed() < within,
            "after {:?} still not: {what}; last seen: {reason}",
            start.elapsed()
        );
        tokio::time::sleep(INTERVAL).await;
    }
}

/// For probes: `Ok` if the condition holds, else what is there instead.
pub fn check(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// For probes: `Ok` if both are equal.
#[allow(clippy::needless_pass_by_value, reason = "callers compare what they have just made")]
pub fn equal<T: PartialEq + std::fmt::Debug>(actual: T, expected: T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{actual:?} instead of {expected:?}")) }
}
