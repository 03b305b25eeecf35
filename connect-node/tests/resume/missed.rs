//! What a client that comes back gets of what it missed, and nothing of it twice.

use bytes::Bytes;
use connect_node::{ingest::IngestSettings, shard::frames::Format, window::WindowLimits};
use pushcast_proto::connectnode::v1::{Message, message::Target};
use serde_json::json;

use crate::{
    peer::{self, MANAGER},
    returning::{Kept, Pair, come_back, connect, gone},
};

#[test]
fn a_client_gets_exactly_what_it_missed_on_a_node_it_never_met() {
    let mut pair = Pair::new();
    pair.push_to_room("r", "before");
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    pair.push_to_room("elsewhere", "no");
    pair.push(&Target::UserId("u".to_owned()), "2");
    pair.push(&Target::UserId("v".to_owned()), "no");
    pair.second();
    pair.push_to_room("r", "3");
    let (_, peer) = come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
    assert_eq!(kept.rooms, ["r"]);
    assert_eq!(kept.take_contents(), ["1", "2", "3"]);
    pair.push_to_room("r", "live");
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["live"]);
    assert_eq!(kept.position[&format!("{MANAGER:016x}")], "7");
}

#[test]
fn resuming_again_repeats_nothing() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    for _ in 0..3 {
        let (key, _) = come_back(&mut pair, &mut kept);
        assert_eq!(kept.recovered, Some(true));
        let now = pair.nodes[1].now();
        pair.nodes[1].shard.feed(key, &peer::masked(0x8, &1000_u16.to_be_bytes()), now);
    }
    assert_eq!(kept.take_contents(), ["1"]);
}

#[test]
fn sent_is_not_received_so_the_clients_own_position_counts() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    pair.push_to_room("r", "1");
    kept.read(&peer);
    let read = kept.clone();
    pair.push_to_room("r", "2");
    // A join makes a ticket that says where the node was; what the client got counts where it is further, and not
    // the other way round: only what is in both was received.
    drop(peer);
    kept = read;
    kept.contents.clear();
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.take_contents(), ["2"]);
}

#[test]
fn a_position_ahead_of_the_node_is_a_floor() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    // The second node lags.
    for content in ["1", "2", "3"] {
        pair.nodes[0].push_to_room("r", content.as_bytes());
        pair.nodes[0].deliver();
    }
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1", "2", "3"]);
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
    let (_, peer) = {
        let resume = kept.resume(0);
        connect(&mut pair.nodes[1], &[], &mut kept, Some(resume))
    };
    for content in ["1", "2", "3", "4"] {
        pair.nodes[1].push_to_room("r", content.as_bytes());
        pair.nodes[1].deliver();
    }
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["4"]);
}

#[test]
fn a_window_too_small_is_told_and_a_quiet_room_is_not_concerned() {
    let window = WindowLimits { bytes: 1_300_000, age: 120_000_000 };
    let mut pair = Pair::with(&IngestSettings { window, ..IngestSettings::default() });
    let mut busy = gone(&mut pair, &["busy"]);
    let mut quiet = gone(&mut pair, &["quiet"]);
    pair.push_to_room("quiet", "q");
    for _ in 0..10 {
        pair.second();
    }
    busy.as_of = quiet.as_of.clone();
    for _ in 0..600 {
        pair.push_to_room("busy", &"x".repeat(1000));
    }
    come_back(&mut pair, &mut busy);
    assert_eq!(busy.recovered, Some(false));
    assert!(busy.rooms.is_empty(), "only rooms asked for anew");
    // Its message went as well, and it is later than what it knows of.
    come_back(&mut pair, &mut quiet);
    assert_eq!(quiet.recovered, Some(false));
}

#[test]
fn a_slow_client_is_brought_back_as_its_socket_drains() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    let contents: Vec<String> = (0..3_000).map(|n| format!("{n:0100}")).collect();
    for content in &contents {
        pair.push_to_room("r", content);
    }
    let node = &mut pair.nodes[1];
    let (key, peer) = node.open(Format::Json);
    peer.0.borrow_mut().room = Some(1000);
    let connect = json!({"id": 1, "connect": {"resume": kept.resume(0)}});
    node.text(key, &connect.to_string());
    node.deliver();
    // Live messages come while it is behind.
    node.push_to_room("r", b"live");
    node.deliver();
    for _ in 0..2_000 {
        peer.0.borrow_mut().room = Some(1000);
        node.shard.feed(key, &[], node.now());
        node.deliver();
        kept.read(&peer);
    }
    let got = kept.take_contents();
    assert_eq!(got.len(), contents.len() + 1);
    assert_eq!(got[..contents.len()], contents);
    assert_eq!(got[contents.len()], "live");
    assert_eq!(kept.closed, None);
}

#[test]
fn a_retry_is_delivered_once_and_answered_with_the_counts_of_the_first() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let push = |content: &'static [u8], hash: u8| Message {
        target: Some(Target::RoomId("r".to_owned())),
        content: Bytes::from_static(content),
        request_id: "id".to_owned(),
        request_hash: Bytes::copy_from_slice(&[hash; 16]),
        request_key: Bytes::from_static(&[9; 16]),
        ..Message::default()
    };
    pair.push_message(&push(b"1", 1));
    pair.push_message(&push(b"1", 1));
    pair.push_message(&push(b"other", 2));
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1"]);
    let node = &mut pair.nodes[0];
    let ack = node.ingest.next_ack(node.owner).unwrap().unwrap();
    assert_eq!((ack.recipients, ack.conflicts), (vec![1, 1, 0], vec![3]));
    // Whoever has it under one of its numbers has it.
    let mut away = kept.clone();
    away.position.insert(format!("{MANAGER:016x}"), json!("1"));
    come_back(&mut pair, &mut away);
    assert_eq!((away.recovered, away.take_contents().len()), (Some(true), 0));
}
