//! Pushing does not need etcd; only learning of changes does.

use std::time::Duration;

use pushcast_tests::{
    etcd::Etcd,
    eventually::{check, equal, eventually},
    fleet::{Fleet, Manager, Node, Plan},
    http,
    proxy::Proxy,
};
use pushctl::push::Push;

use crate::load::{Counting, SteadyLoad, assert_consecutive};

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_away_for_thirty_seconds_and_pushes_go_on() {
    // Afterwards the dead node's record lives for one more lease: longer than another one takes to register (pauses grow to
    // 2 s), doubled, so that there are three at any time.
    let flags = [("--etcd-lease", "6s")];
    let mut fleet = Fleet::of(Plan { managers: 1, nodes: 3, node_flags: &flags, ..Plan::default() }).await;
    let client = fleet.pusher();
    let listener = Counting::start(fleet.nodes[0].listen("u1", &["load"]).await, |number| number == u64::MAX);
    let load = SteadyLoad::start(&client, "load", 100).await;

    fleet.etcd.stop();
    let outage = tokio::time::Instant::now();
    // Many leases long, yet nobody is forgotten.
    load.more(1_000).await;
    fleet.managers[0].knows(&["n1", "n2", "n3"], WITHIN).await;
    // What happens meanwhile is learned afterwards.
    fleet.nodes[2].process.kill();
    fleet.add_node("n4", &[("--link-wait", "2s")], false).await;
    tokio::time::sleep_until(outage + Duration::from_secs(30)).await;
    let sent = load.sent();
    load.more(100).await;
    fleet.etcd.restart().await;

    fleet.managers[0].knows(&["n1", "n2", "n4"], WITHIN).await;
    fleet.nodes[3].ready().await;
    let answers = load.finish().await;
    assert!(sent >= 2_500, "only {sent} pushes in 30 s");
    for answer in &answers {
        assert_eq!(answer.recipients, 1, "{answer:?}");
        assert!(answer.nodes >= 3, "{answer:?}");
    }
    client.push(Push::to_room("load", u64::MAX.to_string()), None).await.unwrap();
    let (mut numbers, _) = listener.finish(WITHIN).await;
    assert_eq!(numbers.pop(), Some(u64::MAX));
    assert_eq!(numbers.len(), answers.len());
    assert_consecutive("u1", &numbers);
    let answer = client.push(Push::to_everyone("after"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_loses_all_its_data_and_nobody_is_forgotten() {
    let mut fleet = Fleet::of(Plan { managers: 2, nodes: 2, ..Plan::default() }).await;
    let client = fleet.pusher();
    let _listener = fleet.nodes[0].listen("u1", &["load"]).await;
    let load = SteadyLoad::start(&client, "load", 100).await;
    fleet.etcd.stop();
    fleet.etcd.wipe();
    fleet.etcd.restart().await;
    for (directory, count) in [("/pushcast/nodes/", 2), ("/pushcast/managers/", 2)] {
        eventually("everybody is registered again", WITHIN, async || {
            equal(fleet.etcd.keys(directory).await.len(), count)
        })
        .await;
    }
    // The watch works on the new data, too.
    fleet.add_node("n3", &[], false).await.ready().await;
    for manager in &fleet.managers {
        manager.knows(&["n1", "n2", "n3"], WITHIN).await;
    }
    for answer in load.finish().await {
        assert_eq!(answer.recipients, 1, "{answer:?}");
        assert!(answer.nodes >= 2, "{answer:?}");
        assert_eq!(answer.pending_nodes.iter().filter(|&id| id != "n3").count(), 0, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_records_are_written_again() {
    let fleet = Fleet::of(Plan { nodes: 2, ..Plan::default() }).await;
    fleet.etcd.delete_all("/pushcast/").await;
    eventually("both nodes are registered again", WITHIN, async || {
        equal(fleet.etcd.keys("/pushcast/nodes/").await.len(), 2)
    })
    .await;
    fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    let answer = fleet.pusher().push(Push::to_everyone("still here"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_missed_a_compacted_revision_lists_again() {
    let mut fleet = Fleet::of(Plan { managers: 0, nodes: 2, ..Plan::default() }).await;
    let proxy = Proxy::to(&fleet.etcd.endpoint());
    let endpoint = proxy.addr();
    let manager = Manager::start("m1", &Fleet::registry_flags(&endpoint)).await;
    manager.ready().await;
    manager.knows(&["n1", "n2"], WITHIN).await;

    proxy.drop_all();
    fleet.add_node("n3", &[("--link-wait", "1s")], false).await.ready().await;
    fleet.nodes[1].process.kill();
    eventually("the dead node's record is gone", WITHIN, async || {
        let keys = fleet.etcd.keys("/pushcast/nodes/").await;
        check(keys == ["/pushcast/nodes/n1", "/pushcast/nodes/n3"], || format!("{keys:?}"))
    })
    .await;
    fleet.etcd.compact().await;
    proxy.heal();

    manager.knows(&["n1", "n3"], WITHIN).await;
    let answer = manager.client().push(Push::to_everyone("after"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_starts_while_etcd_is_down_works_from_its_list() {
    let mut fleet = Fleet::of(Plan { managers: 0, nodes: 2, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r1"]).await;
    fleet.etcd.stop();
    let list = format!("{},{}", fleet.nodes[0].addr.grpc, fleet.nodes[1].addr.grpc);
    let manager = fleet.add_manager("m1", &[("--nodes", &list)]).await;
    let client = manager.client();
    eventually("pushes are delivered", WITHIN, async || {
        let answer =
            client.push(Push::to_room("r1", "hello"), None).await.map_err(|status| status.to_string())?;
        check(answer.nodes == 2 && answer.acked == 2 && answer.recipients == 1, || format!("{answer:?}"))
    })
    .await;
    assert_eq!(listener.next_text().await, "hello");

    fleet.etcd.restart().await;
    let manager = &fleet.managers[0];
    manager.ready().await;
    manager.knows(&["n1", "n2"], WITHIN).await;
    let answer = client.push(Push::to_everyone("after"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (2, 2), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_etcd_a_process_keeps_trying_says_so_and_is_not_ready() {
    let mut etcd = Etcd::stopped();
    let endpoint = etcd.endpoint();
    let flags = Fleet::registry_flags(&endpoint);
    let manager = Manager::start("m1", &flags).await;
    let node = Node::start("n1", &flags).await;
    for (name, http_addr, process) in
        [("m1", &manager.addr.http, &manager.process), ("n1", &node.addr.http, &node.process)]
    {
        let ready = http::get(http_addr, "/readyz").await.unwrap();
        assert_eq!(ready.status, 503, "{name}: {}", ready.text());
        assert_eq!(ready.json()["ready"], false, "{name}");
        let alive = http::get(http_addr, "/healthz").await.unwrap();
        assert_eq!(alive.status, 200, "{name} is alive all the same");
        eventually("the log names etcd", WITHIN, async || {
            check(process.log().to_lowercase().contains("etcd"), || process.log())
        })
        .await;
    }
    etcd.restart().await;
    manager.ready().await;
    node.ready().await;
    manager.knows(&["n1"], WITHIN).await;
}
