//! Restarts as a deployment does them: one after the other, each in order.

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
};

async fn all_nodes(play: &Play, how: How) {
    for node in &play.stage.nodes {
        node.drain().await;
        node.start().await;
        node.ready().await;
        play.on(how.pick(200, 1_000)).await;
    }
}

async fn all_managers(play: &Play, how: How) {
    for manager in &play.stage.managers {
        manager.stop().await;
        manager.start().await;
        manager.ready().await;
        play.on(how.pick(200, 1_000)).await;
    }
}

/// All nodes.
pub(super) async fn nodes(how: How) -> Report {
    let play = Play::begin("rolling-nodes", &how.size(), &[]).await;
    all_nodes(&play, how).await;
    play.finish(Unrecovered::None).await
}

/// All managers.
pub(super) async fn managers(how: How) -> Report {
    let play = Play::begin("rolling-managers", &how.size(), &[]).await;
    for _ in 0..how.pick(1, 3) {
        all_managers(&play, how).await;
    }
    play.finish(Unrecovered::None).await
}

/// All managers, then all nodes. A node that starts now has nothing of the managers before, and takes back only clients
/// that have come further than they did; were all nodes exchanged at once, nobody could.
pub(super) async fn all(how: How) -> Report {
    let play = Play::begin("rolling-all", &how.size(), &[]).await;
    all_managers(&play, how).await;
    play.on(6_000).await;
    all_nodes(&play, how).await;
    play.finish(Unrecovered::None).await
}
