//! What one client may take, in virtual time: frames, bytes, rooms, connections of a user.

mod peer;

use connect_node::{limits::Limits, tickets::TicketKeys};
use peer::{Got, Node, Peer, masked};
use serde_json::{Value, json};

const PONG: &str = r#"{"pong":{}}"#;

fn limits() -> Limits {
    Limits {
        connections_per_user: Some(2),
        frames_per_second: Some(10),
        bytes_per_second: Some(4 << 10),
        max_frame: 8 << 10,
        max_rooms: 3,
        ..Limits::default()
    }
}

fn node(limits: &Limits) -> Node {
    Node::with_limits(limits, TicketKeys::default())
}

/// The code of the error frame and the close code that ended a connection.
fn end(peer: &Peer) -> (Value, Option<u16>) {
    let mut error = Value::Null;
    for frame in peer.frames() {
        match frame {
            Got::Json(frame) if frame["error"].is_object() => error = frame["error"]["code"].clone(),
            Got::Close(code, reason) => {
                assert!(!reason.is_empty());
                return (error, Some(code));
            }
            _ => {}
        }
    }
    (error, None)
}

#[test]
fn who_sends_frames_too_fast_is_closed_and_who_keeps_to_the_rate_is_not() {
    let mut node = node(&limits());
    let (fast, fast_peer) = node.client("u1", &["r"]);
    let (steady, steady_peer) = node.client("u2", &["r"]);
    // Five seconds' worth at once; connect was the first of it.
    for _ in 0..49 {
        node.text(fast, PONG);
    }
    assert_eq!(end(&fast_peer), (Value::Null, None));
    node.text(fast, PONG);
    assert_eq!(end(&fast_peer), (json!("resource_exhausted"), Some(1008)));
    for _ in 0..600 {
        node.pass(100);
        node.text(steady, PONG);
    }
    assert_eq!(end(&steady_peer), (Value::Null, None));
    node.push_to_room("r", b"x");
    node.deliver();
    assert_eq!(node.recipients(), [1], "the one is gone and the other one is there");
}

#[test]
fn pings_are_frames_too() {
    let mut node = node(&limits());
    let (key, peer) = node.client("u1", &[]);
    let many: Vec<u8> = (0..60).flat_map(|_| masked(0x9, b"")).collect();
    node.shard.feed(key, &many, node.now());
    node.flush();
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(1008)));
}

#[test]
fn who_sends_bytes_too_fast_is_closed_also_within_one_frame_that_never_ends() {
    let mut node = node(&limits());
    let (key, peer) = node.client("u1", &[]);
    // An empty piece of a message is 6 bytes, and no frame that anybody is told of.
    let piece = |head: u8| [head, 0x80, 1, 2, 3, 4];
    node.shard.feed(key, &piece(0x01), node.now());
    let pieces: Vec<u8> = (0..1000).flat_map(|_| piece(0x00)).collect();
    for _ in 0..3 {
        node.shard.feed(key, &pieces, node.now());
    }
    node.flush();
    assert_eq!(end(&peer), (Value::Null, None));
    node.shard.feed(key, &pieces, node.now());
    node.flush();
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(1008)));
}

#[test]
fn a_frame_over_the_limit_is_refused_and_one_of_that_size_is_read() {
    let mut node = node(&limits());
    let padded = |size: usize| format!("{PONG}{}", " ".repeat(size - PONG.len()));
    let (key, peer) = node.client("u1", &[]);
    node.text(key, &padded(8 << 10));
    assert_eq!(end(&peer), (Value::Null, None));
    node.text(key, &padded((8 << 10) + 1));
    assert_eq!(end(&peer).1, Some(1009));
}

#[test]
fn rooms_beyond_the_limit_are_refused_together_with_those_asked_with_them() {
    let mut node = node(&limits());
    let (key, peer) = node.client("u1", &["a", "b"]);
    node.text(key, r#"{"id":2,"join":{"rooms":["c","d"]}}"#);
    assert!(
        matches!(&peer.frames()[..], [Got::Json(frame)] if frame["error"]["code"] == "resource_exhausted"),
        "neither"
    );
    node.text(key, r#"{"id":3,"join":{"rooms":["a","c"]}}"#);
    assert!(peer.frames().contains(&Got::Json(json!({"id": 3, "ok": {"rooms": ["a", "b", "c"]}}))));
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, r#"{"id":1,"connect":{"rooms":["a","b","c","d"]}}"#);
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(4504)));
}

#[test]
fn the_next_connection_of_a_user_is_refused_until_one_is_closed() {
    let mut node = node(&limits());
    let connect = r#"{"id":1,"connect":{"user_id":"u1"}}"#;
    let (first, _first_peer) = node.client("u1", &[]);
    let (_second, _second_peer) = node.client("u1", &[]);
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, connect);
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(1013)));
    let (_other, _other_peer) = node.client("u2", &[]);
    // Its place is free as soon as it begins to close, not when its socket is gone.
    node.shard.feed(first, &masked(0x8, &1000_u16.to_be_bytes()), node.now());
    let (_third, _third_peer) = node.client("u1", &[]);
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, connect);
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(1013)));
}

#[test]
fn users_of_different_tenants_are_different_users() {
    let mut node = node(&Limits { connections_per_user: Some(1), ..limits() });
    let (_here, _here_peer) = node.client("u1", &[]);
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, r#"{"id":1,"connect":{"user_id":"u1","app":"other"}}"#);
    assert_eq!(end(&peer), (Value::Null, None));
}

#[test]
fn who_resumes_is_let_in_although_what_it_continues_is_not_gone_yet() {
    let mut node =
        Node::with_limits(&Limits { connections_per_user: Some(1), ..limits() }, TicketKeys::random());
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, r#"{"id":1,"connect":{"user_id":"u1","rooms":["r"]}}"#);
    let ticket = peer.frames().into_iter().find_map(|frame| match frame {
        Got::Json(frame) => frame["ticket"]["ticket"].as_str().map(str::to_owned),
        _ => None,
    });
    let resume =
        json!({"id": 1, "connect": {"resume": {"ticket": ticket.expect("there is a key")}}}).to_string();
    let (again, again_peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(again, &resume);
    assert!(
        matches!(&again_peer.frames()[..], [Got::Json(frame), ..] if frame["connected"]["user_id"] == "u1")
    );
    assert!(matches!(end(&peer).1, Some(4503 | 4003)), "the one before made room");
    // And it holds a place like any other.
    let (key, peer) = node.open(connect_node::shard::frames::Format::Json);
    node.text(key, r#"{"id":1,"connect":{"user_id":"u1"}}"#);
    assert_eq!(end(&peer), (json!("resource_exhausted"), Some(1013)));
}
