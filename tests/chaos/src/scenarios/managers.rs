//! Managers that die.

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
};

/// SIGKILL in mid-stream; callers go to the other one, with what was not answered and what was pending.
pub(super) async fn killed(how: How) -> Report {
    let play = Play::begin("kill-manager", &how.size(), &[]).await;
    for round in 0..how.pick(2, 6) {
        let manager = &play.stage.managers[round % 2];
        manager.kill().await;
        play.on(how.pick(1_000, 3_000)).await;
        manager.start().await;
        manager.ready().await;
        play.on(how.pick(500, 3_000)).await;
    }
    play.finish(Unrecovered::None).await
}
