//! Says again and again that a door stands open, so that nobody finds out by accident.

use std::time::Duration;

use tokio::time;
use tracing::warn;

/// A warning at the start alone is gone from every log that is looked at later.
const EVERY: Duration = Duration::from_secs(600);

/// Warns now and every 10 minutes, for ever, of the `flags` that let everybody in; returns at once if there are none.
pub async fn keep_warning(flags: Vec<&'static str>) {
    if flags.is_empty() {
        return;
    }
    let flags = flags.join(", ");
    let mut every = time::interval(EVERY);
    loop {
        every.tick().await;
        warn!(%flags, "Everybody is let in here: these flags are \"none\".");
    }
}
