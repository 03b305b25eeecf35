//! Windows too small on purpose: who cannot be made whole has to be told so.

use std::time::Duration;

use super::How;
use crate::{
    play::{Play, Size},
    report::{Report, Unrecovered},
};

/// Away for longer than the window's age and what it takes a node to look at it.
pub(super) async fn too_young(how: How) -> Report {
    let play = Play::begin("small-window", &how.size(), &[("--window-age", "6s")]).await;
    away(play, how, how.pick(9_000, 15_000)).await
}

/// Away while more goes by than the window's bytes.
pub(super) async fn too_small(how: How) -> Report {
    let size = Size { content: 16 << 10, per_second: how.pick(200, 400), ..how.size() };
    let play = Play::begin("small-window-bytes", &size, &[("--window-bytes", "4MiB")]).await;
    away(play, how, how.pick(3_000, 8_000)).await
}

/// A third stays away for long, others only for a moment.
async fn away(play: Play, how: How, millis: u64) -> Report {
    for _ in 0..how.pick(1, 3) {
        play.crowd.go_away(3, Duration::from_millis(millis));
        play.on(1_000).await;
        play.crowd.go_away(7, Duration::from_millis(500));
        play.on(millis).await;
    }
    play.finish(Unrecovered::Some).await
}
