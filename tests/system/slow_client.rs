//! A client that does not read costs itself its connection, and nobody else anything.

use std::time::Duration;

use pushcast_tests::{
    eventually::{check, equal, eventually},
    fleet::{Fleet, Node, Plan},
    raw::Raw,
};
use pushctl::push::Push;

use crate::load::turn;

const WITHIN: Duration = Duration::from_secs(30);
const SLOW: &str = "/ws?rooms=r";

async fn slow_closes(node: &Node) -> f64 {
    node.metrics().await.sum("connect_node_closed_total", &[("code", "4001")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_closed_and_its_room_notices_nothing() {
    const SLOW_CLIENTS: usize = 30;
    let _turn = turn().await;
    let fleet = Fleet::of(Plan { nodes: 2, ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let client = fleet.pusher();
    let mut mate = node.listen("mate", &["r"]).await;
    let before = node.process.resident_bytes();
    let mut slow = Vec::new();
    for _ in 0..SLOW_CLIENTS {
        let mut client = Raw::json_with_small_buffer(&node.addr.ws, SLOW).await;
        client.connected().await;
        slow.push(client);
    }
    // 16 KiB at a time, one after the other: everybody who reads keeps up with that.
    let mut highest = before;
    let mut pushes = 0_u64;
    while slow_closes(node).await < SLOW_CLIENTS as f64 {
        let answer = client.push(Push::to_room("r", format!("{pushes:016384}")), None).await.unwrap();
        assert_eq!(answer.acked, 2, "the manager notices nothing: {answer:?}");
        assert!(answer.recipients >= 1, "{answer:?}");
        assert_eq!(mate.next_text().await, format!("{pushes:016384}"));
        pushes += 1;
        highest = highest.max(node.process.resident_bytes());
        // The outbox takes 1 MiB; what the kernel takes beside it is bounded, too.
        assert!(pushes < 64 * 6, "not closed after {} MiB", pushes / 64);
    }
    assert!(pushes >= 64, "closed after {pushes} pushes of 16 KiB, within what the outbox takes");
    assert!(highest - before > 10 << 20, "no memory was used, so none can come back");

    // The close frame comes behind whole frames only, for whoever reads again within the linger time.
    let mut told = 0;
    for mut client in slow {
        let end = client.end().await;
        told += usize::from(end.code == Some(4001));
        assert!(matches!(end.code, Some(4001) | None), "{end:?}");
    }
    assert!(told > 0, "nobody was told");
    eventually("the memory is given back", WITHIN, async || {
        let metrics = node.metrics().await;
        equal(metrics.sum("connect_node_outbox_bytes", &[]), 0.0)?;
        equal(metrics.sum("connect_node_connections", &[]), 1.0)
    })
    .await;
    // 30 more clients need no more memory than the first 30 did: it came back to where it is used again.
    eventually("the kernel has it as well", WITHIN, async || {
        let rest = node.process.resident_bytes();
        let is_less = rest < before + (highest - before) * 3 / 4;
        check(is_less, || format!("{before} grew to {highest} and fell to {rest} only"))
    })
    .await;
    assert_eq!(client.push(Push::to_room("r", "after"), None).await.unwrap().recipients, 1);
    assert_eq!(mate.next_text().await, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_for_ten_seconds_is_closed_with_less_than_a_full_outbox() {
    let node = Node::alone("n1", &[]).await;
    let mut mate = node.listen("mate", &["r"]).await;
    let mut slow = Raw::json_with_small_buffer(&node.addr.ws, SLOW).await;
    slow.connected().await;
    let content = "x".repeat(16 << 10);
    // Enough that some of it waits in the outbox, too little to fill it.
    let mut sent = 0;
    while node.metrics().await.sum("connect_node_outbox_bytes", &[]) < 100_000.0 {
        assert_eq!(node.push_here("r", &content).await, 2);
        assert_eq!(mate.next_text().await, content);
        sent += 1;
        assert!(sent < 300, "the kernel swallows everything");
    }
    let start = std::time::Instant::now();
    eventually("it is closed for not reading", Duration::from_secs(20), async || {
        equal(slow_closes(&node).await, 1.0)
    })
    .await;
    assert!(start.elapsed() > Duration::from_secs(7), "closed after {:?} already", start.elapsed());
    eventually("its outbox is gone", WITHIN, async || {
        let metrics = node.metrics().await;
        check(metrics.sum("connect_node_outbox_bytes", &[]) == 0.0, || metrics.text)
    })
    .await;
    assert_eq!(node.push_here("r", "after").await, 1);
    assert_eq!(mate.next_text().await, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_but_steadily_keeps_its_connection() {
    let node = Node::alone("n1", &[]).await;
    let mut steady = Raw::json_with_small_buffer(&node.addr.ws, SLOW).await;
    steady.connected().await;
    let content = "x".repeat(16 << 10);
    // Ahead by less than the outbox's megabyte, for as long as 8 MiB take.
    for number in 0..512 {
        assert_eq!(node.push_here("r", &content).await, 1);
        if number >= 40 {
            steady.next().await.unwrap();
        }
    }
    for _ in 0..40 {
        steady.next().await.unwrap();
    }
    assert_eq!(slow_closes(&node).await, 0.0);
}
