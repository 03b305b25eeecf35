//! The registry: pushes do not need it.

use std::time::Duration;

use super::How;
use crate::{
    play::Play,
    report::{Report, Unrecovered},
};

/// Away for many leases.
pub(super) async fn down(how: How) -> Report {
    let play = Play::begin("etcd-down", &how.size(), &[]).await;
    let mut etcd = play.stage.etcd.lock().await;
    etcd.stop();
    play.on(how.pick(6_000, 60_000)).await;
    etcd.restart().await;
    drop(etcd);
    play.on(how.pick(2_000, 8_000)).await;
    play.finish(Unrecovered::None).await
}

/// Back without anything it knew.
pub(super) async fn wiped(how: How) -> Report {
    let play = Play::begin("etcd-wiped", &how.size(), &[]).await;
    for _ in 0..how.pick(1, 3) {
        let mut etcd = play.stage.etcd.lock().await;
        etcd.stop();
        etcd.wipe();
        etcd.restart().await;
        drop(etcd);
        play.on(how.pick(3_000, 8_000)).await;
    }
    play.finish(Unrecovered::None).await
}

/// Half a second for every answer, and a node goes and comes meanwhile.
pub(super) async fn slow(how: How) -> Report {
    let play = Play::begin("etcd-slow", &how.size(), &[]).await;
    play.stage.etcd_line.delay(Duration::from_millis(250));
    play.on(how.pick(1_500, 10_000)).await;
    let node = &play.stage.nodes[1];
    node.drain().await;
    node.start().await;
    node.ready().await;
    play.on(how.pick(500, 10_000)).await;
    play.stage.etcd_line.heal();
    play.on(how.pick(500, 3_000)).await;
    play.finish(Unrecovered::None).await
}
