//! Links that break, lag, and lie.

use std::{sync::Arc, time::Duration};

use push_manager::Config;
use pushcast_common::registry::{Kind, Record, Registry};
use pushcast_proto::connectnode::v1::{
    Ack, HandUp, NodeHeartbeat, Start, link_request, link_response, start,
};

use crate::{
    harness::{Manager, record, until},
    sink::{Mood, Options, Script, Sink},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_breaks_goes_on_without_a_hole() {
    let (mut a, b) = (Sink::start("a"), Sink::start("b"));
    let manager = Manager::of(&[&a, &b]).await;
    for round in 0..3 {
        manager.push("r").await.unwrap();
        a.mood(Mood::Holds);
        manager.push("r").await.unwrap();
        a.cut();
        manager.linked(1).await;
        let missed = manager.push("r").await.unwrap();
        assert_eq!((missed.acked, missed.pending_nodes), (1, vec!["a".to_owned()]));
        a.mood(Mood::Acks);
        a.back().await;
        manager.linked(2).await;
        until("it has what it missed", async || a.seqs().len() == 3 * (round + 1)).await;
    }
    let expected: Vec<u64> = (1..=9).collect();
    assert_eq!((a.seqs(), b.seqs()), (expected.clone(), expected));
    assert_eq!(a.see(|seen| seen.gaps.clone()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_lost_is_said_as_a_gap() {
    let (mut a, b) = (Sink::start("a"), Sink::start("b"));
    let config = Config { log_bytes: 8 << 10, ..Config::default() };
    let manager = Manager::with(&[&a, &b], config).await;
    manager.push("r").await.unwrap();
    a.cut();
    manager.linked(1).await;
    for _ in 0..300 {
        manager.push("r").await.unwrap();
    }
    a.back().await;
    until("it has the newest", async || a.seqs().last() == Some(&301)).await;
    let gap = a.see(|seen| seen.gaps[0]);
    assert_eq!(gap.0, 2);
    let expected: Vec<u64> = (1..=1).chain(gap.1 + 1..=301).collect();
    assert_eq!(a.seqs(), expected);
    until("nothing is pending", async || manager.push("r").await.unwrap().pending_nodes.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_is_filled_with_what_there_is() {
    let (a, mut late) = (Sink::start("a"), Sink::start("late"));
    late.cut();
    let manager = Manager::with(&[&a, &late], Config::default()).await;
    for _ in 0..5 {
        manager.push("r").await.unwrap();
    }
    late.back().await;
    until("it is filled", async || late.seqs() == [1, 2, 3, 4, 5]).await;
    let frames = late.see(|seen| seen.frames.clone());
    assert_eq!(frames[..4], ["hello", "fill", "heartbeat", "batch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_while_nothing_happens() {
    let a = Sink::start("a");
    let _manager = Manager::of(&[&a]).await;
    until("three heartbeats", async || {
        a.see(|seen| seen.frames.iter().filter(|frame| **frame == "heartbeat").count() >= 3)
    })
    .await;
    assert_eq!(a.see(|seen| seen.hellos), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_falls_silent_is_noticed_and_comes_back() {
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    let manager = Manager::of(&[&a, &b]).await;
    a.mood(Mood::Silent);
    let begun = std::time::Instant::now();
    manager.linked(1).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    manager.push("r").await.unwrap();
    a.mood(Mood::Acks);
    until("it has what it missed", async || a.seqs() == [1]).await;
}

fn start_as(node_id: &str, from: start::From) -> link_response::Frame {
    let start = Start { node_id: node_id.into(), instance: "i".into(), from: Some(from), sent_at: 0 };
    link_response::Frame::Start(start)
}

fn ack(first_seq: u64, n: usize) -> link_response::Frame {
    link_response::Frame::Ack(Ack { first_seq, recipients: vec![1; n], ..Ack::default() })
}

/// Answers Hello with these frames, and the first batch with those.
fn script(to_hello: Vec<link_response::Frame>, to_batch: Vec<link_response::Frame>) -> Script {
    Arc::new(move |frame| match frame {
        link_request::Frame::Hello(_) => to_hello.clone(),
        link_request::Frame::Batch(_) => to_batch.clone(),
        _ => Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_speak_badly_harm_nobody() {
    let fill = || start_as("x", start::From::FillBytes(0));
    let beat = NodeHeartbeat { received_seq: 99, placed_seq: 99, sent_at: 0 };
    let conflict = Ack { first_seq: 1, recipients: vec![0], conflicts: vec![2], ..Ack::default() };
    let strangers = [
        script(vec![fill()], vec![link_response::Frame::Ack(conflict)]),
        script(vec![fill()], vec![link_response::Frame::HandUp(HandUp::default())]),
        script(vec![ack(1, 1)], vec![]),
        script(vec![fill(), fill()], vec![]),
        script(vec![start_as("x", start::From::AfterSeq(1 << 40))], vec![]),
        script(vec![start_as("", start::From::FillBytes(0))], vec![]),
        script(vec![start_as(&"x".repeat(129), start::From::FillBytes(0))], vec![]),
        script(vec![fill()], vec![ack(2, 1)]),
        script(vec![fill()], vec![ack(1, 1000)]),
        script(vec![fill()], vec![ack(u64::MAX, 3)]),
        script(vec![fill()], vec![link_response::Frame::Heartbeat(beat)]),
    ];
    let good = Sink::start("good");
    let sinks: Vec<Sink> = strangers
        .into_iter()
        .map(|script| Sink::with("x", Options { script: Some(script), ..Options::default() }))
        .collect();
    let nodes: Vec<&Sink> = sinks.iter().chain([&good]).collect();
    let manager = Manager::with(&nodes, Config::default()).await;
    for _ in 0..5 {
        let answer = manager.push("r").await.unwrap();
        assert_eq!((answer.acked, answer.recipients), (1, 1));
        assert!(!answer.pending_nodes.contains(&"good".to_owned()));
    }
    assert_eq!(good.seqs(), [1, 2, 3, 4, 5]);
    assert_eq!(good.see(|seen| seen.hellos), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_two_addresses_is_linked_once() {
    let (a, twin, b) = (Sink::start("a"), Sink::start("a"), Sink::start("b"));
    let manager = Manager::with(&[&a, &twin, &b], Config::default()).await;
    manager.linked(2).await;
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.acked, answer.pending_nodes.len()), (2, 1));
    assert_eq!(a.seqs().len() + twin.seqs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_with_the_registry() {
    let registry = Registry::memory();
    let (a, mut b) = (Sink::start("a"), Sink::start("b"));
    let in_registry = registry.register(Kind::Node, record("a", &a)).await.unwrap();
    let manager = Manager::start(Config::default(), registry.clone());
    manager.ready().await;
    assert_eq!(manager.links().await, Some(1));
    let also = registry.register(Kind::Node, record("b", &b)).await.unwrap();
    manager.linked(2).await;
    // A record that goes removes nobody whose link is up.
    in_registry.revoke().await;
    also.revoke().await;
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (2, 2));
    b.cut();
    until("it is gone", async || manager.push("r").await.unwrap().nodes == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moves_is_linked_at_its_new_address() {
    let registry = Registry::memory();
    let (before, after) = (Sink::start("a"), Sink::start("a"));
    let first = registry.register(Kind::Node, record("a", &before)).await.unwrap();
    let manager = Manager::start(Config::default(), registry.clone());
    manager.ready().await;
    manager.push("r").await.unwrap();
    first.revoke().await;
    let moved = Record { instance: "another".into(), ..record("a", &after) };
    let _second = registry.register(Kind::Node, moved).await.unwrap();
    until("the new process is filled", async || after.seqs() == [1]).await;
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (1, 1));
    assert_eq!((before.seqs(), after.seqs()), (vec![1], vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_the_listed_one_is_refused() {
    let registry = Registry::memory();
    let (a, other) = (Sink::start("a"), Sink::start("other"));
    let _a = registry.register(Kind::Node, record("a", &a)).await.unwrap();
    let _b = registry.register(Kind::Node, record("b", &other)).await.unwrap();
    let manager = Manager::start(Config::default(), registry.clone());
    manager.ready().await;
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.acked, answer.pending_nodes), (1, vec!["b".to_owned()]));
    assert_eq!(other.seqs(), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_tell_of_each_other() {
    let registry = Registry::memory();
    let a = Sink::start("a");
    let _a = registry.register(Kind::Node, record("a", &a)).await.unwrap();
    let one = Manager::start(Config::default(), registry.clone());
    one.ready().await;
    let two = Manager::start(Config::default(), registry.clone());
    two.ready().await;
    until("both are named", async || a.see(|seen| seen.managers.len() == 1 && seen.hellos == 2)).await;
    two.stop().await.unwrap();
    until("one is left", async || a.see(|seen| seen.managers.is_empty())).await;
}
