//! Windows too small on purpose: who cannot be made whole has to be told so.

use std::time::Duration;

use super::How;
use crate::{
    play::{Play, Size},
    report::{Report, Unrecovered},
};

/// Away for longer than the window's age and what times of other nodes are worth less.
pub(super) async fn too_young(how: How) -> Report {
    let play = Play::begin("small-window", &how.size(), &[("--window-age", "1s")]).await;
    away(play, how).await
}

/// Away while more goes by than the window's bytes.
pub(super) async fn too_small(how: How) -> Report {
    let size = Size { content: 16 << 10, per_second: how.pick(200, 400), ..how.size() };
    let play = Play::begin("small-window-bytes", &size, &[("--window-bytes", "4MiB")]).await;
    away(play, how).await
}

async fn away(play: Play, how: How) -> Report {
    for round in 0..how.pick(1, 3) {
        // Some come back in time, some do not.
        play.crowd.go_away(3, Duration::from_millis(how.pick(4_000, 8_000)));
        play.on(1_000).await;
        play.crowd.go_away(7, Duration::from_millis(500 + 500 * round));
        play.on(how.pick(5_000, 9_000)).await;
    }
    play.finish(Unrecovered::Some).await
}
