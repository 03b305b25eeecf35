//! Stopping: a node empties itself slowly, a manager leaves nothing unsaid.

use std::time::Duration;

use pushcast_tests::{
    eventually::{check, equal, eventually},
    fleet::{Fleet, Manager, Plan},
    http,
    raw::Raw,
    sink::{Manners, Sink},
};
use pushctl::push::Push;
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use crate::load::{SteadyLoad, assert_consecutive, turn};

const WITHIN: Duration = Duration::from_secs(30);

/// When n1's record is first seen to be gone.
async fn record_gone(mut etcd: etcd_client::Client) -> Instant {
    loop {
        if etcd.get("/pushcast/nodes/n1", None).await.unwrap().kvs().is_empty() {
            return Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_delivers_until_its_last_socket_and_leaves_the_registry_last() {
    const SOCKETS: usize = 60;
    let _turn = turn().await;
    let flags = [("--drain-spread", "8s")];
    let mut fleet = Fleet::of(Plan { nodes: 2, node_flags: &flags, ..Plan::default() }).await;
    let client = fleet.pusher();
    let mut sockets = JoinSet::new();
    for socket in 0..SOCKETS {
        let mut listener = fleet.nodes[0].listen(&format!("u{socket}"), &["load"]).await;
        sockets.spawn(async move {
            let mut numbers = Vec::new();
            loop {
                match listener.next_push_or_end().await {
                    Ok(push) => numbers.push(pushcast_tests::listener::text(&push).parse().unwrap()),
                    Err(closed) => return (closed, Instant::now(), numbers),
                }
            }
        });
    }
    let load = SteadyLoad::start(&client, "load", 200).await;
    load.more(200).await;

    let start = Instant::now();
    let sent_before = load.sent();
    fleet.nodes[0].process.terminate();
    let (ws_addr, http_addr) = (fleet.nodes[0].addr.ws.clone(), fleet.nodes[0].addr.http.clone());
    eventually("the record says draining", WITHIN, async || {
        let record = fleet.etcd.get("/pushcast/nodes/n1").await.ok_or("the record is gone")?;
        let record: Value = serde_json::from_str(&record).map_err(|error| error.to_string())?;
        equal(record["state"].as_str(), Some("draining"))
    })
    .await;
    assert_eq!(http::get(&http_addr, "/readyz").await.unwrap().status, 503);
    assert_eq!(http::get(&http_addr, "/healthz").await.unwrap().status, 200);
    let refused = Raw::open(&ws_addr, "/ws", &[]).await.unwrap_err();
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);

    let gone = tokio::spawn(record_gone(fleet.etcd.client().await));
    let mut closes = Vec::new();
    while let Some(done) = sockets.join_next().await {
        let (closed, at, numbers) = done.unwrap();
        assert_eq!(closed.code, Some(1012), "{closed}");
        assert_consecutive("a drained socket", &numbers);
        assert_eq!(numbers.first(), Some(&0));
        closes.push((at.duration_since(start), *numbers.last().unwrap()));
    }
    closes.sort();
    let (last, last_number) = *closes.last().unwrap();
    assert!(last_number > sent_before, "nothing was delivered during the drain");
    assert!(last < Duration::from_secs(16), "the last close came after {last:?}");
    // Random over 8 s: of 60, the first half is closed neither at once nor only at the end.
    let (early, half) = (closes[SOCKETS / 10].0, closes[SOCKETS / 2].0);
    assert!(half > Duration::from_secs(2) && half < Duration::from_secs(8), "half closed after {half:?}");
    assert!(early < half, "closed all at once after {half:?}");

    let status = fleet.nodes[0].process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(fleet.etcd.get("/pushcast/nodes/n1").await, None, "revoked, not left to the lease");
    // A client that is behind its load, or a busy machine, sees its close up to seconds after the node has sent it; with the
    // first closes it would be 8 s.
    let gone = gone.await.unwrap().duration_since(start) + Duration::from_secs(3);
    assert!(gone > last, "the record went after {gone:?}, before the last socket after {last:?}");
    fleet.managers[0].knows(&["n2"], WITHIN).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_drain_at_once() {
    let flags = [("--drain-spread", "60s")];
    let mut fleet = Fleet::of(Plan { nodes: 1, node_flags: &flags, ..Plan::default() }).await;
    let mut listeners = Vec::new();
    for user in ["u1", "u2", "u3", "u4"] {
        listeners.push(fleet.nodes[0].listen(user, &[]).await);
    }
    fleet.nodes[0].process.terminate();
    eventually("the drain has begun", WITHIN, async || {
        let record = fleet.etcd.get("/pushcast/nodes/n1").await.unwrap_or_default();
        check(record.contains("draining"), || record)
    })
    .await;
    fleet.nodes[0].process.terminate();
    let status = fleet.nodes[0].process.exit(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{status}");
    for listener in &mut listeners {
        // Told if there is time for it; gone in any case.
        let end = listener.end(WITHIN).await;
        assert!(matches!(end.code, Some(1012) | None), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_manager_answers_everything_and_leaves() {
    let mut fleet = Fleet::of(Plan { managers: 2, nodes: 2, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let client = fleet.pusher();
    let (sender, mut results) = client.stream(2_000).await.unwrap();
    for number in 0..1_000 {
        sender.send(number, Push::to_room("r", number.to_string())).await.unwrap();
    }
    // The first result shows that the manager is at it; the others are still to come.
    let mut answered = 0;
    let take = |result: Option<(u64, Result<_, tonic::Status>)>| match result {
        Some((_, Ok(answer))) => {
            let answer: pushcast_proto::pushmanager::v1::PushAnswer = answer;
            assert_eq!((answer.acked, answer.recipients), (2, 1), "{answer:?}");
            true
        }
        // Refused by name because it came too late: then it was not accepted, and nobody got it.
        Some((_, Err(status))) => {
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
            false
        }
        None => panic!("the stream ended early"),
    };
    answered += u64::from(take(results.next().await.unwrap()));
    fleet.managers[0].process.terminate();
    drop(sender);
    for _ in 1..1_000 {
        answered += u64::from(take(results.next().await.unwrap()));
    }
    let status = fleet.managers[0].process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0), "{status}");
    let keys = fleet.etcd.keys("/pushcast/managers/").await;
    assert_eq!(keys.len(), 1, "{keys:?}");

    fleet.managers[1].client().push(Push::to_room("r", "end"), None).await.unwrap();
    let received = listener.texts_until("end").await;
    assert_eq!(received.len() as u64, answered, "what was acknowledged was delivered, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_manager_waits_for_acknowledgements_and_says_close() {
    let sink = Sink::start("s1", 1, Manners::Good).await;
    let mut manager = Manager::start("m1", &[("--nodes", sink.addr())]).await;
    manager.knows(&["s1"], WITHIN).await;
    let client = manager.client();
    sink.lag(true);
    let push =
        Push { ack: pushcast_proto::pushmanager::v1::Ack::Accepted, ..Push::to_room("r", "unacknowledged") };
    client.push(push, None).await.unwrap();
    eventually("the message is sent", WITHIN, async || equal(sink.seen().messages, 1)).await;
    manager.process.terminate();
    eventually("the manager has noticed", WITHIN, async || {
        match http::get(&manager.addr.http, "/readyz").await {
            Ok(response) => equal(response.status, 503),
            Err(_gone) => Ok(()),
        }
    })
    .await;
    assert_eq!(sink.seen().closes, 0, "it said Close before everything was acknowledged");
    assert!(manager.process.is_running(), "it left before everything was acknowledged");
    sink.lag(false);
    let status = manager.process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(sink.seen().closes, 1);
}
