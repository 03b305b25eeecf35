//! The line between the managers and a node.

use std::time::Duration;

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
};

/// Cut, slow and half open, one after the other.
pub(super) async fn bad(how: How) -> Report {
    let play = Play::begin("link", &how.size(), &[]).await;
    let line = &play.stage.nodes[0].line;
    line.cut();
    play.on(500).await;
    line.drop_all();
    play.on(how.pick(2_000, 8_000)).await;
    line.heal();
    play.on(how.pick(500, 3_000)).await;
    line.delay(Duration::from_millis(200));
    play.on(how.pick(2_000, 10_000)).await;
    line.heal();
    play.on(how.pick(300, 3_000)).await;
    // Longer than the 3 s after which both sides take a link for dead.
    line.go_silent();
    play.on(how.pick(4_000, 8_000)).await;
    line.cut();
    line.heal();
    play.on(how.pick(500, 3_000)).await;
    play.finish(Unrecovered::None).await
}

/// Too narrow for what is pushed: the node falls behind, and catches up.
pub(super) async fn throttled(how: How) -> Report {
    let play = Play::begin("link-throttled", &how.size(), &[]).await;
    let line = &play.stage.nodes[0].line;
    // The short form pushes little: a line as narrow for it.
    line.throttle(how.pick(12 << 10, 64 << 10));
    play.on(how.pick(3_000, 10_000)).await;
    line.heal();
    play.on(how.pick(500, 3_000)).await;
    play.finish(Unrecovered::None).await
}
