//! All of it at once, by chance.

use std::time::Duration;

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
    schedule::{play, schedule},
};

/// Faults of every kind, several at a time. The seed repeats the schedule.
#[allow(clippy::print_stdout, reason = "whoever looks for a cause needs the schedule")]
pub(super) async fn all_at_once(how: How) -> Report {
    let size = how.size();
    let length = Duration::from_secs(how.pick(25, 300));
    let steps = schedule(how.seed, length, size.nodes, size.managers);
    println!("mix with seed {}:", how.seed);
    for step in &steps {
        println!("  {step}");
    }
    let on = Play::begin(&format!("mix (seed {})", how.seed), &size, &[]).await;
    play(&steps, &on.stage).await;
    on.stage.settled().await;
    on.finish(Unrecovered::Named).await
}
