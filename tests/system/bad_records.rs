//! What is in etcd and not ours, or broken, is ignored, counted and logged once.

use std::time::Duration;

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Plan},
};
use pushctl::push::Push;

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_foreign_records_harm_nobody() {
    let mut fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let broken: [(&str, &[u8]); 8] = [
        ("empty", b""),
        ("text", b"hello"),
        ("binary", &[0xff, 0, 1, 2]),
        ("number", b"17"),
        ("nothing", b"{}"),
        ("other-id", br#"{"id":"n9","instance":"i","grpc_addr":"127.0.0.1:1","state":"ready"}"#),
        ("no-address", br#"{"id":"no-address","instance":"i","grpc_addr":"","state":"ready"}"#),
        ("deep/er", br#"{"id":"er","instance":"i","grpc_addr":"127.0.0.1:1","state":"ready"}"#),
    ];
    for directory in ["/pushcast/nodes/", "/pushcast/managers/"] {
        for (key, value) in broken {
            fleet.etcd.put(&format!("{directory}{key}"), value).await;
        }
    }
    // A foreign key beside them is nobody's business.
    fleet.etcd.put("/pushcast/other/thing", "x").await;
    fleet.etcd.put("/pushcast", "x").await;

    let bad = async |addr: &str, prefix: &str| {
        let metrics = pushcast_tests::metrics::scrape(addr).await;
        metrics.sum(&format!("{prefix}_registry_bad_records_total"), &[])
    };
    let manager_http = fleet.managers[0].addr.http.clone();
    let node_http = fleet.nodes[0].addr.http.clone();
    for (addr, prefix) in [(&manager_http, "push_manager"), (&node_http, "connect_node")] {
        eventually("they are counted", WITHIN, async || {
            let counted = bad(addr, prefix).await;
            check(counted >= broken.len() as f64, || format!("{prefix}: {counted}"))
        })
        .await;
    }
    let logged_once =
        |log: &str| log.lines().filter(|line| line.contains("/pushcast/nodes/no-address")).count();
    // What a process says reaches us a moment after it was counted.
    eventually("it is logged", WITHIN, async || {
        let log = fleet.managers[0].process.log();
        check(logged_once(&log) >= 1, || log)
    })
    .await;
    assert_eq!(logged_once(&fleet.managers[0].process.log()), 1, "{}", fleet.managers[0].process.log());
    // Listed again, it is no news.
    fleet.etcd.stop();
    fleet.etcd.restart().await;

    fleet.managers[0].knows(&["n1"], WITHIN).await;
    let answer = fleet.pusher().push(Push::to_room("r", "still"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (1, 1, 1), "{answer:?}");
    assert_eq!(listener.next_text().await, "still");
    // Those who start later list them instead of watching them come.
    fleet.add_node("n2", &[], false).await.ready().await;
    fleet.add_manager("m2", &[]).await.ready().await;
    fleet.managers[1].knows(&["n1", "n2"], WITHIN).await;
    assert_eq!(logged_once(&fleet.managers[0].process.log()), 1, "{}", fleet.managers[0].process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leads_nowhere_is_pending_and_delays_nobody() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let address = format!("127.0.0.1:{}", pushcast_tests::ports::free_port());
    for (id, address) in [("ghost", address.as_str()), ("nonsense", "no address at all")] {
        let record = format!(r#"{{"id":"{id}","instance":"i","grpc_addr":"{address}","state":"ready"}}"#);
        fleet.etcd.put(&format!("/pushcast/nodes/{id}"), record).await;
    }
    let client = fleet.pusher();
    eventually("the ghost is known", WITHIN, async || {
        let nodes = client.nodes().await.map_err(|status| status.to_string())?.nodes;
        check(nodes.iter().any(|node| node.node_id == "ghost"), || format!("{nodes:?}"))
    })
    .await;
    let start = std::time::Instant::now();
    for number in 0..20 {
        let answer = client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
        assert_eq!((answer.acked, answer.recipients), (1, 1), "{answer:?}");
        assert!(answer.pending_nodes.contains(&"ghost".to_owned()), "{answer:?}");
        assert_eq!(listener.next_text().await, number.to_string());
    }
    // A wait for it would be a second each time.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    fleet.etcd.delete("/pushcast/nodes/ghost").await;
    fleet.etcd.delete("/pushcast/nodes/nonsense").await;
    fleet.managers[0].knows(&["n1"], WITHIN).await;
}
