//! Tickets: what they vouch for, when they come, and what is no ticket.

use connect_node::{limits::Limits, shard::frames::Format};
use serde_json::json;

use crate::{
    peer::{Got, MANAGER},
    returning::{Kept, Pair, come_back, connect, gone},
};

#[test]
fn what_a_ticket_does_not_vouch_for_is_not_believed() {
    let mut pair = Pair::new();
    let kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    let mut cut = kept.clone();
    cut.ticket.truncate(cut.ticket.len() / 2);
    let mut changed = kept.clone();
    changed.ticket.replace_range(60..61, if kept.ticket.as_bytes()[60] == b'A' { "B" } else { "A" });
    let mut empty = kept.clone();
    empty.ticket.clear();
    let mut absurd = kept.clone();
    absurd.position.insert(format!("{MANAGER:016x}"), json!(u64::MAX.to_string()));
    let mut many = kept.clone();
    many.position.extend((1..300_u64).map(|n| (format!("{n:016x}"), json!("1"))));
    let mut of_the_future = kept.clone();
    of_the_future.as_of = Some("9007199254740991".to_owned());
    let mut misnamed = kept.clone();
    misnamed.position.insert("not a manager".to_owned(), json!("1"));
    let bad = [
        ("cut", cut),
        ("changed", changed),
        ("empty", empty),
        ("absurd", absurd),
        ("many", many),
        ("of the future", of_the_future),
        ("misnamed", misnamed),
    ];
    for (what, mut bad) in bad {
        come_back(&mut pair, &mut bad);
        assert_eq!((bad.recovered, bad.closed.clone()), (Some(false), None), "{what}");
        assert!(bad.take_contents().is_empty() && bad.rooms.is_empty(), "{what}");
    }
    // Another user, another tenant.
    for connect in [json!({"user_id": "v"}), json!({"user_id": "u", "app": "b"})] {
        let (key, peer) = pair.nodes[1].open(Format::Json);
        let mut connect = connect;
        connect["resume"] = kept.resume(0);
        pair.nodes[1].text(key, &json!({"id": 1, "connect": connect}).to_string());
        let mut stranger = Kept::default();
        stranger.read(&peer);
        assert_eq!(stranger.recovered, Some(false), "{connect}");
        assert_ne!(stranger.id, kept.id);
    }
    // Unknown managers are a floor; the client is taken back.
    let mut unknown = kept;
    unknown.position.insert("00000000000000ab".to_owned(), json!("900"));
    come_back(&mut pair, &mut unknown);
    assert_eq!((unknown.recovered, unknown.take_contents()), (Some(true), vec!["1".to_owned()]));
}

#[test]
fn numbers_that_are_none_end_the_connection_with_a_clear_error() {
    let mut pair = Pair::new();
    for position in [json!({"00000000000000ab": "-1"}), json!({"00000000000000ab": "x"}), json!("all")] {
        let (key, peer) = pair.nodes[1].open(Format::Json);
        let connect = json!({"id": 1, "connect": {"resume": {"ticket": "t", "position": position}}});
        pair.nodes[1].text(key, &connect.to_string());
        let frames = peer.frames();
        assert!(
            matches!(&frames[0], Got::Json(frame) if frame["error"]["code"] == "invalid_argument"),
            "{frames:?}"
        );
        assert!(matches!(&frames[1], Got::Close(4504, _)), "{frames:?}");
    }
}

#[test]
fn whoever_is_in_more_rooms_than_a_ticket_holds_has_none() {
    let mut pair = Pair::with_limits(&Limits { max_rooms: 1000, ..Limits::default() });
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    assert!(!kept.ticket.is_empty());
    let rooms = |half| -> Vec<String> { (0..450).map(|n| format!("{half}-{n:0>120}")).collect() };
    for half in 0..2 {
        let join = json!({"id": 2, "join": {"rooms": rooms(half)}});
        pair.nodes[0].text(key, &join.to_string());
    }
    kept.read(&peer);
    assert!(kept.ticket.is_empty());
    let leave = json!({"id": 3, "leave": {"rooms": rooms(0)}});
    pair.nodes[0].text(key, &leave.to_string());
    kept.read(&peer);
    assert!(!kept.ticket.is_empty());
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
}

#[test]
fn a_drained_client_has_a_ticket_and_its_position_before_the_close() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let before = kept.ticket.clone();
    pair.push_to_room("r", "1");
    let now = pair.nodes[0].now();
    pair.nodes[0].shard.start_drain(100, now);
    pair.nodes[0].pass(200);
    kept.read(&peer);
    assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(1012));
    assert_ne!(kept.ticket, before);
    assert_eq!(kept.take_contents(), ["1"]);
    pair.push_to_room("r", "2");
    come_back(&mut pair, &mut kept);
    assert_eq!((kept.recovered, kept.take_contents()), (Some(true), vec!["2".to_owned()]));
}

#[test]
fn a_ticket_is_renewed_at_half_of_its_life() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let first = kept.ticket.clone();
    let node = &mut pair.nodes[0];
    for _ in 0..14 {
        node.pass(20_000);
        node.text(key, r#"{"pong":{}}"#);
    }
    kept.read(&peer);
    assert_eq!(kept.ticket, first);
    for _ in 0..2 {
        node.pass(20_000);
        node.text(key, r#"{"pong":{}}"#);
    }
    kept.read(&peer);
    assert_ne!(kept.ticket, first);
}
