//! Clients that say what they may not: told so, closed by the right code, and nobody else notices.

use pushcast_proto::client::v1::{ServerFrame, server_frame};
use pushcast_tests::{fleet::Node, raw::Raw};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::scene::{Scene, assert_refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_connect_within_five_seconds_is_closed() {
    let scene = Scene::new(&[]).await;
    let mut raw = scene.json().await;
    let start = Instant::now();
    let end = raw.end().await;
    assert_eq!(end.code, Some(4504), "{end:?}");
    assert!(end.error.is_some(), "{end:?}");
    assert!((4..10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_frame_is_connect_and_only_the_first() {
    let scene = Scene::new(&[]).await;
    for first in [r#"{"id":7,"join":{"rooms":["r"]}}"#, r#"{"pong":{}}"#, r#"{"id":1}"#, "{}"] {
        let mut raw = scene.json().await;
        raw.text(first).await;
        assert_refused(&raw.end().await, "failed_precondition", first);
    }
    let mut raw = scene.json().await;
    raw.text(r#"{"id":7,"join":{"rooms":["r"]}}"#).await;
    assert_eq!(raw.error().await.0, 7, "the error carries the request's id");

    let mut twice = scene.json().await;
    twice.text(r#"{"id":1,"connect":{"rooms":["r"]}}"#).await;
    twice.connected().await;
    twice.text(r#"{"id":2,"connect":{}}"#).await;
    assert_refused(&twice.end().await, "failed_precondition", "twice");
    let mut after_url = scene.connected().await;
    after_url.text(r#"{"id":2,"connect":{}}"#).await;
    assert_refused(&after_url.end().await, "failed_precondition", "after_url");
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_ids_in_connect_are_refused_in_frame_and_url() {
    let scene = Scene::new(&[]).await;
    let long = "x".repeat(129);
    for connect in [
        format!(r#"{{"user_id":"{long}"}}"#),
        format!(r#"{{"app":"{long}"}}"#),
        format!(r#"{{"rooms":["ok","{long}"]}}"#),
        r#"{"user_id":"a\nb"}"#.to_owned(),
        r#"{"app":"a\u0000b"}"#.to_owned(),
        r#"{"rooms":[""]}"#.to_owned(),
        r#"{"rooms":["a\u007fb"]}"#.to_owned(),
        r#"{"rooms":["a\u0085b"]}"#.to_owned(),
    ] {
        let mut raw = scene.json().await;
        raw.text(&format!(r#"{{"id":1,"connect":{connect}}}"#)).await;
        assert_refused(&raw.end().await, "invalid_argument", &connect);
    }
    for query in [
        format!("user_id={long}"),
        format!("rooms=a,{long}"),
        format!("app={long}"),
        "user_id=a%0Ab".to_owned(),
        "rooms=a,%ff".to_owned(),
        "app=%00".to_owned(),
    ] {
        let mut raw = Raw::json(scene.ws(), &format!("/ws?{query}")).await;
        assert_refused(&raw.end().await, "invalid_argument", &query);
    }
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_frames_are_refused_in_both_formats() {
    let scene = Scene::new(&[]).await;
    let broken_json = [
        "",
        "{",
        "null",
        "[]",
        "\"connect\"",
        r#"{"id":-1,"connect":{}}"#,
        r#"{"connect":[]}"#,
        r#"{"connect":{"rooms":"r"}}"#,
        r#"{"connect":{},"connect":{}}"#,
        r#"{"connect":{},"join":{"rooms":["r"]}}"#,
    ];
    for broken in broken_json {
        for mut raw in [scene.json().await, scene.connected().await] {
            raw.text(broken).await;
            assert_refused(&raw.end().await, "invalid_argument", &format!("{broken:?}"));
        }
    }
    // However deep: what is unknown is ignored, and overflows nothing.
    let deep = format!(r#"{{"connect":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let mut raw = scene.json().await;
    raw.text(&deep).await;
    raw.connected().await;
    drop(raw);
    for broken in [&[0xff_u8; 8][..], &[0x12, 0x7f, 1], &[0x12, 2, 0x12, 9], &[0x08]] {
        let mut raw = Raw::protobuf(scene.ws(), "/ws").await;
        raw.binary(broken).await;
        assert_refused(&raw.end().await, "invalid_argument", &format!("{broken:?}"));
    }
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_on_the_binary_subprotocol_and_the_reverse_are_refused() {
    let scene = Scene::new(&[]).await;
    let mut raw = Raw::protobuf(scene.ws(), "/ws").await;
    raw.text(r#"{"id":1,"connect":{}}"#).await;
    let end = raw.end().await;
    assert_eq!(end.code, Some(1003), "{end:?}");
    assert!(!end.reason.is_empty());
    let mut raw = scene.json().await;
    raw.binary(br#"{"id":1,"connect":{}}"#).await;
    let end = raw.end().await;
    assert_eq!(end.code, Some(1003), "{end:?}");
    assert!(!end.reason.is_empty());
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_members_tokens_and_useless_resumes_are_no_mistake() {
    let scene = Scene::new(&[]).await;
    let mut raw = scene.json().await;
    raw.text(
        r#"{"id":1,"new":{"x":[1]},"connect":{"colour":"red","token":"whatever","user_id":"u1","rooms":["r"],
           "resume":{"ticket":"bm90IG91cnM=","position":{"00000000000000ff":"17"},"as_of":"1","attempt":2}}}"#,
    )
    .await;
    let connected = raw.connected().await;
    assert_eq!((connected.user_id.as_str(), connected.recovered), ("u1", Some(false)));
    assert_eq!(connected.rooms, ["r"]);
    // What this version does not know is refused by name, and the connection stays.
    raw.text(r#"{"id":9,"dance":{}}"#).await;
    let (id, error) = raw.error().await;
    assert_eq!((id, error.code.as_str()), (9, "unimplemented"));
    raw.text(r#"{"id":2,"leave":{"rooms":["r"]}}"#).await;
    let answer = raw.next().await.unwrap();
    assert!(matches!(answer.frame, Some(server_frame::Frame::Ok(_))), "{answer:?}");
    drop(raw);

    let mut anonymous = Raw::json(scene.ws(), "/ws?token=ignored").await;
    let connected = anonymous.connected().await;
    assert_eq!(connected.user_id, format!("anon-{}", connected.connection_id));
    drop(anonymous);
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_join_changes_nothing_and_keeps_the_connection() {
    let scene = Scene::new(&[]).await;
    let mut raw = scene.connected().await;
    let long = "x".repeat(129);
    for (id, request) in [
        (2, r#""join":{"rooms":["new",""]}"#.to_owned()),
        (3, format!(r#""join":{{"rooms":["new","{long}"]}}"#)),
        (4, r#""leave":{"rooms":["r","a\nb"]}"#.to_owned()),
        (5, r#""join":{}"#.to_owned()),
        (6, r#""leave":{"rooms":[]}"#.to_owned()),
    ] {
        raw.text(&format!(r#"{{"id":{id},{request}}}"#)).await;
        let (answered, error) = raw.error().await;
        assert_eq!((answered, error.code.as_str()), (id, "invalid_argument"), "{request}");
        assert!(!error.message.is_empty());
    }
    raw.text(r#"{"id":7,"join":{"rooms":["s"]}}"#).await;
    match raw.next().await.unwrap() {
        ServerFrame { id: 7, frame: Some(server_frame::Frame::Ok(ok)) } => assert_eq!(ok.rooms, ["r", "s"]),
        other => panic!("{other:?}"),
    }
    drop(raw);
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_over_the_limit_are_refused_without_being_read() {
    let scene = Scene::new(&[]).await;
    // 128 KiB is allowed, and then judged by its content.
    let mut largest = scene.connected().await;
    largest.text(&" ".repeat(128 << 10)).await;
    assert_eq!(largest.end().await.code, Some(4504));
    let mut over = scene.connected().await;
    over.text(&" ".repeat((128 << 10) + 1)).await;
    assert_eq!(over.end().await.code, Some(1009));
    // In pieces it is no smaller: three fragments of 50 KiB, masked with zeros.
    let mut pieces = scene.connected().await;
    let piece = |head: u8| {
        [&[head, 0x80 | 127][..], &(50_u64 << 10).to_be_bytes(), &[0; 4], &[b' '; 50 << 10]].concat()
    };
    for head in [0x01, 0x00, 0x80] {
        pieces.bytes(&piece(head)).await;
    }
    assert_eq!(pieces.end().await.code, Some(1009));
    // A hundred megabytes are announced, and nothing of them ever comes.
    let before = scene.node.process.resident_bytes();
    let mut announced = Vec::new();
    for _ in 0..20 {
        let mut raw = scene.connected().await;
        raw.bytes(&[&[0x82, 0x80 | 127][..], &100_000_000_u64.to_be_bytes(), &[0; 4]].concat()).await;
        announced.push(raw);
    }
    for raw in &mut announced {
        assert_eq!(raw.end().await.code, Some(1009));
    }
    let grown = scene.node.process.resident_bytes().saturating_sub(before);
    assert!(grown < 50 << 20, "the node set {grown} bytes aside for announcements");
    drop((largest, over, pieces, announced));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_websocket_frames_end_with_the_protocols_own_codes() {
    let scene = Scene::new(&[]).await;
    for (name, bytes, code) in [
        ("unmasked", &b"\x81\x02{}"[..], 1002),
        ("reserved bit", b"\xc1\x82\0\0\0\0{}", 1002),
        ("unknown opcode", b"\x83\x82\0\0\0\0{}", 1002),
        ("continuation of nothing", b"\x80\x82\0\0\0\0{}", 1002),
        ("ping in pieces", b"\x09\x80\0\0\0\0", 1002),
        ("not UTF-8", b"\x81\x82\0\0\0\0\xff\xfe", 1007),
    ] {
        let mut raw = scene.connected().await;
        raw.bytes(bytes).await;
        assert_eq!(raw.end().await.code, Some(code), "{name}");
    }
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_for_two_heartbeats_is_closed_and_any_frame_is_life() {
    // The one that joins does so again as soon as it is answered.
    let fast = [("--frames-per-second", "none"), ("--bytes-per-second", "none")];
    // Those that live have as long to answer one: a busy machine may let them wait for a second.
    let scene = Node::alone("n1", &[&fast[..], &[("--heartbeat", "2s")]].concat()).await;
    let url = "/ws?rooms=r";
    let silent = async {
        let mut raw = Raw::json(&scene.addr.ws, url).await;
        raw.connected().await;
        let start = Instant::now();
        let end = raw.end().await;
        assert_eq!((end.code, end.reason.as_str()), (Some(4002), "heartbeat_timeout"));
        // Two heartbeats of 2 s, and for a node that stood still one more; doubled, and a little.
        assert!((3..14).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    };
    let alive = async |message: Message| {
        let mut raw = Raw::json(&scene.addr.ws, url).await;
        raw.connected().await;
        let mut heartbeats = 0;
        while heartbeats < 6 {
            raw.message(message.clone()).await;
            let frame = raw.next().await.unwrap_or_else(|end| panic!("{message:?} is no life: {end:?}"));
            heartbeats += u32::from(matches!(frame.frame, Some(server_frame::Frame::Heartbeat(_))));
        }
    };
    tokio::join!(
        silent,
        alive(Message::text(r#"{"pong":{}}"#)),
        alive(Message::Ping("x".into())),
        alive(Message::Pong("x".into())),
        alive(Message::text(r#"{"id":1,"join":{"rooms":["s"]}}"#)),
    );
    assert_eq!(scene.metrics().await.sum("connect_node_closed_total", &[("code", "4002")]), 1.0);
}
