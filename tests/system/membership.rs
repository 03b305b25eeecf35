//! Nodes come and go while pushes go on.

use std::time::Duration;

use pushcast_tests::{
    fleet::{Fleet, Plan},
    listener::Listener,
};

use crate::load::{Counting, SteadyLoad, assert_consecutive, turn};

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_another_leaves_under_load_and_nobody_loses_anything() {
    let _turn = turn().await;
    let mut fleet = Fleet::of(Plan { nodes: 3, ..Plan::default() }).await;
    let client = fleet.pusher();
    let until_end = |listener: Listener| Counting::start(listener, |number| number == u64::MAX);
    let mut staying = Vec::new();
    for node in &fleet.nodes[..2] {
        staying.push(until_end(node.listen("staying", &["load"]).await));
    }
    let leaving = until_end(fleet.nodes[2].listen("leaving", &["load"]).await);

    let load = SteadyLoad::start(&client, "load", 1_000).await;
    load.more(500).await;
    let node = fleet.add_node("n4", &[], false).await;
    node.ready().await;
    let joined = node.listen("joined", &["load"]).await;
    // Everything sent from now on must reach it.
    let joined_at = load.sent();
    let joined = until_end(joined);
    load.more(1_000).await;

    fleet.nodes[2].process.terminate();
    let status = fleet.nodes[2].process.exit(WITHIN).await;
    assert!(status.success(), "{status}");
    load.more(1_000).await;
    fleet.managers[0].knows(&["n1", "n2", "n4"], WITHIN).await;

    let answers = load.finish().await;
    let total = answers.len() as u64;
    let last = answers.last().unwrap();
    assert_eq!((last.nodes, last.acked, last.recipients), (3, 3, 3), "{last:?}");
    client.push(pushctl::push::Push::to_room("load", u64::MAX.to_string()), None).await.unwrap();

    for (name, counting) in ["on n1", "on n2"].into_iter().zip(staying) {
        let (mut numbers, code) = counting.finish(WITHIN).await;
        assert_eq!((numbers.pop(), code), (Some(u64::MAX), None), "{name}");
        assert_consecutive(name, &numbers);
        assert_eq!((numbers.first(), numbers.len() as u64), (Some(&0), total), "{name}");
    }
    let (mut numbers, code) = joined.finish(WITHIN).await;
    assert_eq!((numbers.pop(), code), (Some(u64::MAX), None));
    assert_consecutive("on n4", &numbers);
    assert!(numbers[0] <= joined_at, "n4 starts at {} instead of at most {joined_at}", numbers[0]);
    assert_eq!(numbers.last(), Some(&(total - 1)));
    let (numbers, code) = leaving.finish(WITHIN).await;
    assert_eq!(code, Some(1012));
    assert_consecutive("on n3", &numbers);
    assert_eq!(numbers.first(), Some(&0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_joins_a_running_fleet() {
    let mut fleet = Fleet::of(Plan { nodes: 2, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r1"]).await;
    let manager = fleet.add_manager("m2", &[]).await;
    manager.ready().await;
    manager.knows(&["n1", "n2"], WITHIN).await;
    let answer =
        manager.client().push(pushctl::push::Push::to_room("r1", "from the new one"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (2, 2, 1));
    assert_eq!(listener.next_text().await, "from the new one");
}
