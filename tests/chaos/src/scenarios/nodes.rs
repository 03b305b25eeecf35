//! Nodes that die or stand still.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
};

/// SIGKILL of one node after the other; its clients go on elsewhere.
pub(super) async fn killed(how: How) -> Report {
    let play = Play::begin("kill-node", &how.size(), &[]).await;
    let mut random = StdRng::seed_from_u64(how.seed);
    for _ in 0..how.pick(2, 10) {
        let node = &play.stage.nodes[random.random_range(0..play.stage.nodes.len())];
        node.kill().await;
        play.on(how.pick(500, 1_000)).await;
        node.start().await;
        node.ready().await;
        play.on(random.random_range(500..2_000)).await;
    }
    play.finish(Unrecovered::None).await
}

/// SIGSTOP, for less and for more than the lease.
pub(super) async fn frozen(how: How) -> Report {
    let play = Play::begin("freeze-node", &how.size(), &[]).await;
    for (node, millis) in [2_000, how.pick(4_500, 5_000), how.pick(0, 9_000)].into_iter().enumerate() {
        if millis > 0 {
            play.stage.nodes[node].freeze(Duration::from_millis(millis)).await;
            play.on(how.pick(500, 3_000)).await;
        }
    }
    play.finish(Unrecovered::None).await
}
