//! What the processes count can be scraped, and means what its name says.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use pushcast_proto::pushmanager::v1::Ack;
use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Plan},
    processes::run,
};
use pushctl::push::Push;

const WITHIN: Duration = Duration::from_secs(20);

/// `promtool check metrics` on a text.
async fn promtool(text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::from(std::fs::File::open(file.path()).unwrap()));
    let finished = run(command, WITHIN).await;
    let complaints = format!("{}{}", finished.stdout, finished.stderr);
    assert!(finished.code == Some(0) && complaints.trim().is_empty(), "{complaints}\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_in_either_binarys_metrics() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    promtool(&fleet.managers[0].metrics().await.text).await;
    promtool(&fleet.nodes[0].metrics().await.text).await;
    // Again when everything has been counted that happens on a good day.
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    fleet.pusher().push(Push::to_room("r", "x"), None).await.unwrap();
    listener.next_push().await;
    listener.client.close().await;
    promtool(&fleet.managers[0].metrics().await.text).await;
    promtool(&fleet.nodes[0].metrics().await.text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_of_the_contract_is_there_from_the_start() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let manager = fleet.managers[0].metrics().await;
    for name in [
        "push_manager_broadcast_nodes_total",
        "push_manager_broadcast_delivered_total",
        "push_manager_links",
        "push_manager_log_head",
        "push_manager_known_nodes",
        "push_manager_refused_calls_total",
        "push_manager_build_info",
    ] {
        assert!(manager.has(name, &[]), "{name} is missing in\n{}", manager.text);
    }
    let node = fleet.nodes[0].metrics().await;
    for name in [
        "connect_node_push_received_total",
        "connect_node_connections",
        "connect_node_rooms",
        "connect_node_users",
        "connect_node_closed_total",
        "connect_node_links",
        "connect_node_outbox_bytes",
        "connect_node_shard_connections",
        "connect_node_tokens_refused_total",
        "connect_node_upgrades_refused_total",
        "connect_node_limited_total",
        "connect_node_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(node.has(name, &[]), "{name} is missing in\n{}", node.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_follow_what_is_there() {
    let fleet = Fleet::of(Plan { nodes: 1, node_flags: &[("--shards", "1")], ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let is = async |connections: f64, rooms: f64, users: f64| {
        eventually("the gauges are right", WITHIN, async || {
            let metrics = node.metrics().await;
            let found = ["connections", "rooms", "users"]
                .map(|name| metrics.sum(&format!("connect_node_{name}"), &[]));
            check(found == [connections, rooms, users], || format!("{found:?}"))
        })
        .await;
    };
    is(0.0, 0.0, 0.0).await;
    let a = node.listen("u1", &["r1", "r2"]).await;
    let mut b = node.listen("u1", &["r2"]).await;
    is(2.0, 2.0, 1.0).await;
    b.client.join(&["r3"]).await.unwrap();
    is(2.0, 3.0, 1.0).await;
    a.client.close().await;
    is(1.0, 2.0, 1.0).await;
    b.client.leave(&["r2", "r3"]).await.unwrap();
    is(1.0, 0.0, 1.0).await;
    drop(b);
    is(0.0, 0.0, 0.0).await;
    let metrics = node.metrics().await;
    assert_eq!(metrics.sum("connect_node_links", &[]), 1.0);
    let manager = fleet.managers[0].metrics().await;
    assert_eq!(manager.sum("push_manager_known_nodes", &[]), 1.0);
    assert_eq!(manager.sum("push_manager_links", &[("state", "linked")]), 1.0, "{}", manager.text);
    fleet.pusher().push(Push::to_room("r", "x"), None).await.unwrap();
    assert_eq!(fleet.managers[0].metrics().await.sum("push_manager_log_head", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_dealt_to_all_shards() {
    let fleet = Fleet::of(Plan { nodes: 1, node_flags: &[("--shards", "4")], ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let mut listeners = Vec::new();
    for user in 0..40 {
        listeners.push(node.listen(&format!("u{user}"), &[]).await);
    }
    eventually("every shard has about as many as the others, and all have all", WITHIN, async || {
        let metrics = node.metrics().await;
        let of = |shard| metrics.sum("connect_node_shard_connections", &[("shard", shard)]);
        let held = ["0", "1", "2", "3"].map(of);
        // Scrapes and probes of the same port take a turn as well.
        let even = held.iter().all(|held| (8.0..=12.0).contains(held));
        check(even && held.iter().sum::<f64>() == 40.0, || format!("{held:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_acknowledgements_count_when_they_arrive() {
    // However long it takes until the frozen node goes on, it must not be forgotten meanwhile.
    let flags = [("--etcd-lease", "30s")];
    let fleet = Fleet::of(Plan { nodes: 2, node_flags: &flags, ..Plan::default() }).await;
    let _listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let counted = async |nodes: f64, delivered: f64| {
        eventually("the pushes are counted", WITHIN, async || {
            let metrics = fleet.managers[0].metrics().await;
            let api = [("api", "PushToRoom")];
            let found = ["nodes", "delivered"]
                .map(|what| metrics.sum(&format!("push_manager_broadcast_{what}_total"), &api));
            check(found == [nodes, delivered], || format!("{found:?}"))
        })
        .await;
    };
    let accepted = Push { ack: Ack::Accepted, ..Push::to_room("r", "x") };
    let answer = fleet.pusher().push(accepted.clone(), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (0, 0, 0), "{answer:?}");
    counted(2.0, 1.0).await;
    fleet.nodes[0].process.freeze();
    fleet.pusher().push(accepted, None).await.unwrap();
    counted(3.0, 1.0).await;
    fleet.nodes[0].process.thaw();
    counted(4.0, 2.0).await;
}
