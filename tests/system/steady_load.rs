//! A room that never rests does not keep anybody else waiting.

use std::time::Duration;

use pushcast_proto::connectnode::v1::QueryRequest;
use pushcast_tests::{
    eventually::{equal, eventually},
    fleet::{Fleet, Plan},
};
use pushctl::{client::Event, push::Push};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::load::turn;

/// Enough that sending to all of them takes longer than the next push needs to arrive.
const SOCKETS: usize = 2000;

const ONE_SHARD: [(&str, &str); 2] = [("--shards", "1"), ("--heartbeat", "2s")];

/// Two heartbeats, doubled.
const WITHIN: Duration = Duration::from_secs(8);

/// A masked ping without content.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

/// A client that reads and throws away, and shows that it lives.
async fn sink(ws: String, number: usize) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(&ws).await?;
    let request = format!(
        "GET /ws?user_id=sink-{number}&rooms=busy HTTP/1.1\r\nHost: {ws}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 16 * 1024];
    let mut life = interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            read = socket.read(&mut buffer) => if read? == 0 {
                return Ok(());
            },
            _ = life.tick() => socket.write_all(&PING).await?,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_load_delays_no_heartbeat_no_new_client_and_no_query() {
    let _turn = turn().await;
    let fleet = Fleet::of(Plan { nodes: 1, node_flags: &ONE_SHARD, ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let mut idle = node.listen("idle", &[]).await;
    let mut sinks = JoinSet::new();
    for number in 0..SOCKETS {
        sinks.spawn(sink(node.addr.ws.clone(), number));
    }
    let mut service = node.service().await;
    eventually("all sinks are connected", Duration::from_secs(60), async || {
        let held = service.query(QueryRequest::default()).await.unwrap().into_inner().connections;
        equal(held, SOCKETS as u64 + 1)
    })
    .await;
    let client = fleet.pusher();
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let client = client.clone();
        // Each pushes again as soon as its push is placed: there is always one more.
        callers.spawn(async move {
            loop {
                client.push(Push::to_room("busy", "x".repeat(128)), None).await.unwrap();
            }
        });
    }
    let heartbeats = async {
        let mut heartbeats = 0;
        while heartbeats < 2 {
            match idle.client.next().await {
                Event::Heartbeat(_) => heartbeats += 1,
                Event::Ticket(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(WITHIN, heartbeats).await.expect("an idle client gets its heartbeats");
    let mut late = timeout(WITHIN, node.listen("late", &["quiet"])).await.expect("a new client gets in");
    let answer = timeout(WITHIN, service.query(QueryRequest::default())).await.expect("a query is answered");
    assert_eq!(answer.unwrap().into_inner().connections, SOCKETS as u64 + 2);
    client.push(Push::to_room("quiet", "hello"), None).await.unwrap();
    assert_eq!(late.next_text().await, "hello");
    assert!(callers.try_join_next().is_none(), "no caller gave up");
    callers.shutdown().await;
    sinks.shutdown().await;
}
