//! Everything a client may say and what it gets for it, in virtual time and without sockets.

mod peer;

use connect_node::shard::frames::Format;
use peer::{Got, HEARTBEAT, Node, OUTBOX_BYTES, masked};
use prost::Message as _;
use pushcast_proto::{
    client::v1::{ClientFrame, Connect, Join, ServerFrame, client_frame, server_frame},
    connectnode::v1::{Everyone, UserIds, message::Target},
};
use serde_json::json;

#[test]
fn what_was_pushed_before_a_join_does_not_come_and_what_follows_does() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    node.push_to_room("r2", b"before");
    node.text(key, r#"{"id":2,"join":{"rooms":["r2"]}}"#);
    node.push_to_room("r2", b"after");
    node.deliver();
    let frames = peer.frames();
    assert_eq!(frames[0], Got::Json(json!({"id": 2, "ok": {"rooms": ["r1", "r2"]}})));
    let Got::Json(push) = &frames[1] else { panic!("{frames:?}") };
    assert_eq!((&push["push"]["text"], &push["push"]["seq"]), (&json!("after"), &json!("2")));
    assert_eq!(frames.len(), 2);
    assert_eq!(node.recipients(), [0, 1]);
}

#[test]
fn a_message_queued_when_its_member_leaves_comes_before_the_answer_or_not_at_all() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    node.push_to_room("r1", b"queued");
    node.text(key, r#"{"id":2,"leave":{"rooms":["r1"]}}"#);
    node.deliver();
    let frames = peer.frames();
    assert_eq!(frames.last(), Some(&Got::Json(json!({"id": 2, "ok": {}}))));
}

#[test]
fn a_broadcast_comes_once_however_many_rooms_one_is_in() {
    let mut node = Node::new();
    let (_, both) = node.client("u1", &["r1", "r2"]);
    let (_, none) = node.client("u2", &[]);
    node.push(Target::Everyone(Everyone { all_apps: false }), b"x");
    node.deliver();
    assert_eq!((both.frames().len(), none.frames().len()), (1, 1));
    assert_eq!(node.recipients(), [2]);
}

#[test]
fn each_of_several_users_sees_only_its_own_id() {
    let mut node = Node::new();
    let (_, one) = node.client("u1", &[]);
    let (_, other) = node.client("u1", &[]);
    let (_, two) = node.client("u2", &[]);
    let ids = ["u1", "u2", "u3"].map(str::to_owned).to_vec();
    node.push(Target::UserIds(UserIds { ids }), b"x");
    node.deliver();
    for (peer, user) in [(one, "u1"), (other, "u1"), (two, "u2")] {
        let frames = peer.frames();
        assert!(
            matches!(&frames[..], [Got::Json(frame)] if frame["push"]["user_id"] == user),
            "{user}: {frames:?}"
        );
    }
    let ack = node.ingest.next_ack(node.owner).expect("owned").expect("placed");
    assert_eq!(ack.recipients, [3]);
    assert_eq!(ack.by_user[0].recipients, [2, 1, 0]);
}

#[test]
fn many_messages_to_one_client_are_one_send_in_order() {
    let mut node = Node::new();
    let (_, peer) = node.client("u1", &["r1", "r2"]);
    for n in 0..20 {
        node.push_to_room(if n % 3 == 0 { "r1" } else { "r2" }, format!("{n}").as_bytes());
        node.push_to_room("elsewhere", b"x");
    }
    // Only if all goes out in one send is all of it there.
    node.deliver();
    let texts: Vec<_> = peer
        .frames()
        .into_iter()
        .map(|frame| match frame {
            Got::Json(frame) => frame["push"]["text"].as_str().expect("a text").to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_protobuf_client_speaks_binary() {
    let mut node = Node::new();
    let (key, peer) = node.open(Format::Protobuf);
    let connect = Connect { user_id: "u1".to_owned(), rooms: vec!["r1".to_owned()], ..Connect::default() };
    let frame = ClientFrame { id: 9, frame: Some(client_frame::Frame::Connect(connect)) };
    node.shard.feed(key, &masked(0x2, &frame.encode_to_vec()), node.now());
    let join = Join { rooms: vec!["r2".to_owned()] };
    let frame = ClientFrame { id: 10, frame: Some(client_frame::Frame::Join(join)) };
    node.shard.feed(key, &masked(0x2, &frame.encode_to_vec()), node.now());
    node.push_to_room("r2", b"text all the same");
    node.deliver();
    let frames: Vec<_> = peer
        .frames()
        .into_iter()
        .map(|frame| match frame {
            Got::Binary(bytes) => ServerFrame::decode(&bytes[..]).expect("it is a ServerFrame"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        matches!(&frames[0].frame, Some(server_frame::Frame::Connected(c)) if c.recovered == Some(false))
    );
    assert!(matches!(&frames[1].frame, Some(server_frame::Frame::Ok(ok)) if ok.rooms == ["r1", "r2"]));
    assert!(
        matches!(&frames[2].frame, Some(server_frame::Frame::Push(push)) if push.content == b"text all the same" && push.text.is_empty())
    );
}

#[test]
fn frames_arrive_in_any_pieces() {
    let mut node = Node::new();
    let (key, peer) = node.open(Format::Json);
    let mut bytes = masked(0x1, br#"{"id":1,"connect":{"user_id":"u1"}}"#);
    bytes.extend(masked(0x9, b"ping"));
    bytes.extend(masked(0x1, br#"{"id":2,"join":{"rooms":["r1"]}}"#));
    for byte in bytes {
        node.shard.feed(key, &[byte], node.now());
    }
    let frames = peer.frames();
    assert!(matches!(&frames[0], Got::Json(frame) if frame["id"] == 1));
    assert_eq!(frames[1], Got::Pong(b"ping".to_vec()));
    assert!(matches!(&frames[2], Got::Json(frame) if frame["id"] == 2));
}

/// What is wrong with it, the bytes, and the close code. The text of the error frame before it, if any.
#[test]
fn what_a_client_may_not_do_closes_it_with_the_right_code() {
    let connect = masked(0x1, br#"{"id":1,"connect":{"user_id":"u1"}}"#);
    let mut twice = connect.clone();
    twice.extend_from_slice(&connect);
    let long = "x".repeat(129);
    let cases: Vec<(&str, Vec<u8>, u16, bool)> = vec![
        ("a frame before connect", masked(0x1, br#"{"id":1,"join":{"rooms":["r"]}}"#), 4504, true),
        ("a second connect", twice, 4504, true),
        ("broken JSON", masked(0x1, b"{"), 4504, true),
        ("no object", masked(0x1, b"[]"), 4504, true),
        ("a bad user id", masked(0x1, br#"{"connect":{"user_id":"a\u0001"}}"#), 4504, true),
        ("an empty room", masked(0x1, br#"{"connect":{"rooms":[""]}}"#), 4504, true),
        (
            "an overlong room",
            masked(0x1, format!(r#"{{"connect":{{"rooms":["{long}"]}}}}"#).as_bytes()),
            4504,
            true,
        ),
        ("binary on the text subprotocol", masked(0x2, b"\x08\x01"), 1003, false),
        ("text that is not UTF-8", masked(0x1, b"\xff"), 1007, false),
        ("an unmasked frame", vec![0x81, 0x02, b'{', b'}'], 1002, false),
        ("a reserved bit", vec![0xf1, 0x80, 0, 0, 0, 0], 1002, false),
        ("100 MB announced", vec![0x81, 0xff, 0, 0, 0, 0, 6, 0, 0, 0, 1, 2, 3, 4], 1009, false),
    ];
    for (what, bytes, code, with_error) in cases {
        let mut node = Node::new();
        let (key, peer) = node.open(Format::Json);
        node.shard.feed(key, &bytes, node.now());
        node.flush();
        let frames = peer.frames();
        let close = frames.last().expect("something is answered");
        assert!(matches!(close, Got::Close(got, _) if *got == code), "{what}: {frames:?}");
        assert!(code != 4504 || matches!(close, Got::Close(_, reason) if reason == "bad_request"), "{what}");
        let errors =
            frames.iter().filter(|f| matches!(f, Got::Json(frame) if frame["error"]["code"].is_string()));
        assert_eq!(errors.count(), usize::from(with_error), "{what}: {frames:?}");
        assert!(peer.0.borrow().finished, "{what}: the stream is finished behind the Close");
        node.pass(4_000);
        assert!(node.shard.is_empty(), "{what}: a peer that never answers is let go");
        assert_eq!(node.shard.tables().connections(), 0, "{what}");
    }
}

#[test]
fn a_bad_request_leaves_the_connection_and_its_rooms_as_they_were() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    for (id, frame) in [
        (2, r#"{"id":2,"join":{"rooms":["r2",""]}}"#),
        (3, r#"{"id":3,"join":{}}"#),
        (4, r#"{"id":4,"leave":{"rooms":["r1","a\nb"]}}"#),
        (5, r#"{"id":5,"dance":{}}"#),
    ] {
        node.text(key, frame);
        let frames = peer.frames();
        assert!(
            matches!(&frames[..], [Got::Json(got)] if got["id"] == id && got["error"]["message"].is_string()),
            "{frame}: {frames:?}"
        );
    }
    node.push_to_room("r1", b"still in");
    node.push_to_room("r2", b"not in");
    node.deliver();
    assert_eq!(node.recipients(), [1, 0]);
    assert_eq!(peer.frames().len(), 1);
}

#[test]
fn unknown_members_are_ignored() {
    let mut node = Node::new();
    let (key, peer) = node.open(Format::Json);
    node.text(key, r#"{"id":1,"color":"red","connect":{"user_id":"u1","shoe":{"size":[44]}}}"#);
    assert!(matches!(&peer.frames()[..], [Got::Json(frame)] if frame["connected"]["user_id"] == "u1"));
}

#[test]
fn who_does_not_connect_within_5_s_is_told_so_and_closed() {
    let mut node = Node::new();
    let (_, peer) = node.open(Format::Json);
    node.pass(4_900);
    assert!(peer.frames().is_empty());
    node.pass(200);
    let frames = peer.frames();
    assert!(
        matches!(&frames[..], [Got::Json(frame), Got::Close(4504, _)] if frame["error"]["code"] == "deadline_exceeded")
    );
}

#[test]
fn silence_for_two_heartbeats_closes_and_any_frame_counts_as_life() {
    let mut node = Node::new();
    let (_, silent) = node.client("silent", &[]);
    let (talks, lively) = node.client("lively", &[]);
    let mut heartbeats = 0;
    for _ in 0..4 {
        node.pass(HEARTBEAT / 2 + 50);
        node.shard.feed(talks, &masked(0x9, b""), node.now());
        heartbeats += lively
            .frames()
            .iter()
            .filter(|f| matches!(f, Got::Json(f) if f.get("heartbeat").is_some()))
            .count();
    }
    assert_eq!(silent.close_code(), Some(4002));
    assert_eq!(heartbeats, 2);
    assert_eq!(node.shard.tables().connections(), 1);
}

#[test]
fn a_node_that_stalled_reads_before_it_judges() {
    let mut node = Node::new();
    let (_, peer) = node.client("u1", &[]);
    // The pong waits in the socket while the node is frozen for an hour.
    peer.0.borrow_mut().to_node.extend(masked(0x1, br#"{"pong":{}}"#));
    node.millis += 3_600_000;
    node.shard.sweep(node.now());
    node.flush();
    assert!(matches!(&peer.frames()[..], [Got::Json(frame)] if frame.get("heartbeat").is_some()));
    assert_eq!(node.shard.tables().connections(), 1);
}

#[test]
fn a_node_that_stalled_lets_its_clients_answer_before_it_judges() {
    let mut node = Node::new();
    let (key, peer) = node.client("answers", &[]);
    let (_, dead) = node.client("dead", &[]);
    node.millis += 3_600_000;
    node.pass(50);
    let heartbeats = peer.frames();
    assert!(
        matches!(&heartbeats[..], [Got::Json(frame)] if frame.get("heartbeat").is_some()),
        "{heartbeats:?}"
    );
    node.text(key, r#"{"pong":{}}"#);
    node.pass(HEARTBEAT + 100);
    assert_eq!((peer.close_code(), dead.close_code()), (None, Some(4002)));
}

#[test]
fn a_connection_has_a_bound_of_rooms() {
    let mut node = Node::new();
    let rooms: Vec<String> = (0..129).map(|n| format!("r{n}")).collect();
    let join = |rooms: &[String]| json!({"id": 2, "join": {"rooms": rooms}}).to_string();
    let (key, peer) = node.client("u1", &["r0"]);
    node.text(key, &join(&rooms));
    assert!(matches!(&peer.frames()[..], [Got::Json(f)] if f["error"]["code"] == "resource_exhausted"));
    node.text(key, &join(&rooms[..128]));
    assert!(
        matches!(&peer.frames()[..], [Got::Json(f)] if f["ok"]["rooms"].as_array().map(Vec::len) == Some(128))
    );
    node.text(key, &join(&rooms[128..]));
    assert!(matches!(&peer.frames()[..], [Got::Json(f)] if f["error"]["code"] == "resource_exhausted"));

    let (key, peer) = node.open(Format::Json);
    node.text(key, &json!({"connect": {"rooms": rooms}}).to_string());
    assert_eq!(peer.close_code(), Some(4504));
}

#[test]
fn what_was_asked_before_a_close_in_one_chunk_is_answered_before_it() {
    let mut node = Node::new();
    let (key, peer) = node.open(Format::Json);
    let mut bytes = masked(0x1, br#"{"id":1,"connect":{"user_id":"u1"}}"#);
    bytes.extend(masked(0x9, b"1"));
    bytes.extend(masked(0x1, br#"{"id":2,"join":{"rooms":["r1"]}}"#));
    bytes.extend(masked(0x8, &1000_u16.to_be_bytes()));
    bytes.extend(masked(0x1, br#"{"id":3,"join":{"rooms":["r2"]}}"#));
    node.shard.feed(key, &bytes, node.now());
    node.flush();
    let frames = peer.frames();
    assert!(
        matches!(
            &frames[..],
            [Got::Json(connected), Got::Pong(_), Got::Json(ok), Got::Close(1000, _)]
                if connected["id"] == 1 && ok["id"] == 2
        ),
        "{frames:?}"
    );
}

#[test]
fn busy_clients_get_fresh_positions_with_their_deliveries() {
    let mut node = Node::new();
    let (_, peer) = node.client("u1", &["r1"]);
    let mut positions = Vec::new();
    for _ in 0..10 {
        node.pass(500);
        node.push_to_room("r1", b"x");
        node.deliver();
        let frames = peer.frames();
        assert!(matches!(&frames[0], Got::Json(frame) if frame.get("push").is_some()));
        positions.extend(frames[1..].iter().map(|frame| match frame {
            Got::Json(frame) => frame["heartbeat"]["position"][format!("{:016x}", peer::MANAGER)].clone(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(positions, [json!("4"), json!("8")]);
}

#[test]
fn a_client_that_takes_nothing_is_closed_within_its_bounds_and_cuts_no_frame() {
    let mut node = Node::new();
    let (slow_key, slow) = node.client("slow", &["r1"]);
    let (_, fine) = node.client("fine", &["r1"]);
    slow.0.borrow_mut().room = Some(1000);
    let content = vec![b'x'; 600];
    let mut pushed = 0;
    while node.shard.tables().connections() == 2 {
        node.push_to_room("r1", &content);
        node.deliver();
        pushed += 1;
    }
    let frame = 700;
    assert!((OUTBOX_BYTES / frame..OUTBOX_BYTES / 600 + 4).contains(&pushed), "{pushed}");
    assert_eq!(fine.frames().iter().filter(|f| matches!(f, Got::Json(_))).count(), pushed);
    // It takes again: the frame begun is finished, the Close follows, the rest is gone.
    slow.0.borrow_mut().room = None;
    node.shard.writable(slow_key, node.now());
    let frames = slow.frames();
    assert_eq!(slow.0.borrow().received.len(), 0, "no frame is cut");
    assert_eq!(frames.last(), Some(&Got::Close(4001, "slow_consumer".to_owned())));
    assert!(frames.len() <= 3, "{frames:?}");
}

#[test]
fn nothing_follows_the_close_of_a_slow_client_that_asks_for_something() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    peer.0.borrow_mut().room = Some(0);
    node.push_to_room("r1", &vec![b'x'; OUTBOX_BYTES - 500]);
    node.deliver();
    node.push_to_room("r1", &vec![b'x'; 1000]);
    // Placing the second one, which the join does first, is more than the outbox may hold.
    node.text(key, r#"{"id":2,"join":{"rooms":["r2"]}}"#);
    peer.0.borrow_mut().room = None;
    node.shard.writable(key, node.now());
    assert_eq!(peer.frames().last(), Some(&Got::Close(4001, "slow_consumer".to_owned())));
    node.push_to_room("r2", b"nobody is here");
    node.deliver();
    assert_eq!(node.recipients(), [1, 1, 0]);
}

#[test]
fn a_socket_that_takes_nothing_for_10_s_is_closed_though_little_waits() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    peer.0.borrow_mut().room = Some(10);
    node.push_to_room("r1", b"stuck");
    node.deliver();
    for _ in 0..9 {
        node.pass(1_000);
        node.shard.feed(key, &masked(0x9, b""), node.now());
    }
    assert_eq!(node.shard.tables().connections(), 1);
    node.pass(1_100);
    assert_eq!(node.shard.tables().connections(), 0);
    peer.0.borrow_mut().room = None;
    node.pass(3_000);
    assert!(node.shard.is_empty());
}

#[test]
fn a_client_that_closes_gets_its_close_back_and_nothing_after_it() {
    let mut node = Node::new();
    let (key, peer) = node.client("u1", &["r1"]);
    node.push_to_room("r1", b"late");
    node.shard.feed(key, &masked(0x8, &1000_u16.to_be_bytes()), node.now());
    node.deliver();
    assert_eq!(peer.frames(), [Got::Close(1000, String::new())]);
    peer.0.borrow_mut().client_gone = true;
    node.pass(2_100);
    assert!(node.shard.is_empty());
}

#[test]
fn a_drain_is_paced_delivers_until_the_last_and_ends_with_position_and_1012() {
    let mut node = Node::new();
    let peers: Vec<_> = (0..10).map(|n| node.client(&format!("u{n}"), &["r1"]).1).collect();
    let now = node.now();
    node.shard.start_drain(10_000, now);
    let mut left = Vec::new();
    for _ in 0..10 {
        node.pass(1_000);
        node.push_to_room("r1", b"x");
        node.deliver();
        left.push(node.shard.tables().connections());
    }
    assert!(left.windows(2).all(|pair| pair[1] + 1 == pair[0] || pair[1] == pair[0]), "{left:?}");
    assert_eq!(left.last(), Some(&0));
    let counts = node.recipients();
    assert_eq!(counts.iter().map(|n| *n as usize).collect::<Vec<_>>(), left);
    for peer in peers {
        let frames = peer.frames();
        let n = frames.len();
        assert!(matches!(&frames[n - 1], Got::Close(1012, _)), "{frames:?}");
        assert!(matches!(&frames[n - 2], Got::Json(frame) if frame.get("heartbeat").is_some()), "{frames:?}");
    }
}
