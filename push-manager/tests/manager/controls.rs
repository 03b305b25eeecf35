//! Joins, leaves and kicks: accepted, fanned out and answered like pushes.

use push_manager::Config;
use pushcast_proto::{
    connectnode::v1::{
        self as node, Control, Message,
        control::{Action, Whose},
        message::Target,
    },
    pushmanager::v1::{
        Ack, JoinRoomRequest, KickRequest, LeaveRoomRequest, join_room_request, kick_request,
        leave_room_request,
    },
};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    harness::{Manager, until},
    http::{get, post},
    sink::{Mood, Options, Sink},
};

fn with_users(id: &str, users: &[(&'static str, u32)]) -> Sink {
    Sink::with(id, Options { rooms: users.to_vec(), ..Options::default() })
}

fn join(user: &str, room: &str) -> JoinRoomRequest {
    let whose = Some(join_room_request::Whose::UserId(user.into()));
    JoinRoomRequest { whose, room_id: room.into(), ..JoinRoomRequest::default() }
}

fn kick(user: &str) -> KickRequest {
    KickRequest { whose: Some(kick_request::Whose::UserId(user.into())), ..KickRequest::default() }
}

fn control(message: &Message) -> Control {
    match &message.target {
        Some(Target::Control(control)) => control.clone(),
        other => panic!("{other:?}"),
    }
}

fn seen(sink: &Sink) -> Vec<Message> {
    sink.see(|seen| seen.messages.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_go_to_every_node_in_order_with_the_pushes() {
    let (a, b) = (with_users("a", &[("u", 2)]), with_users("b", &[]));
    let manager = Manager::of(&[&a, &b]).await;
    let mut client = manager.client().await;

    let joined = client.join_room(join("u", "r")).await.unwrap().into_inner();
    assert_eq!((joined.nodes, joined.acked, joined.delivered_nodes, joined.recipients), (2, 2, 1, 2));
    assert!(joined.pending_nodes.is_empty() && joined.message_id.ends_with("-1"), "{joined:?}");
    manager.push("r").await.unwrap();
    let whose = Some(leave_room_request::Whose::ConnectionId("00000000000000ff".into()));
    let leave =
        LeaveRoomRequest { app: "t".into(), whose, room_id: "r".into(), ..LeaveRoomRequest::default() };
    let left = client.leave_room(leave).await.unwrap().into_inner();
    assert_eq!((left.acked, left.recipients), (2, 0));
    let kicked = client.kick(KickRequest { reconnect: true, ..kick("u") }).await.unwrap().into_inner();
    assert_eq!((kicked.acked, kicked.recipients), (2, 2));

    for sink in [&a, &b] {
        assert_eq!(sink.seqs(), [1, 2, 3, 4]);
        let messages = seen(sink);
        let user = || Some(Whose::UserId("u".into()));
        let expected = Control { whose: user(), action: Some(Action::Join("r".into())) };
        assert_eq!(control(&messages[0]), expected);
        let whose = Some(Whose::ConnectionId(255));
        let expected = Control { whose, action: Some(Action::Leave("r".into())) };
        assert_eq!((control(&messages[2]), messages[2].app.as_str()), (expected, "t"));
        let kick = node::Kick { reason: "kicked".into(), reconnect: true };
        assert_eq!(control(&messages[3]), Control { whose: user(), action: Some(Action::Kick(kick)) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_are_answered_as_pushes_are() {
    let (a, slow) = (with_users("a", &[("u", 1)]), Sink::start("slow"));
    let (one, two) = (Manager::of(&[&a, &slow]).await, Manager::of(&[&a]).await);
    let mut client = one.client().await;
    slow.mood(Mood::Holds);
    let request = JoinRoomRequest { request_id: "j-1".into(), ..join("u", "r") };
    let first = client.join_room(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.nodes, first.acked, first.pending_nodes), (2, 1, vec!["slow".to_owned()]));
    let retry = two.client().await.join_room(request).await.unwrap().into_inner();
    assert_eq!((first.message_id.len(), &retry.message_id), (32, &first.message_id));
    let now = KickRequest { ack: Ack::Accepted as i32, ..kick("u") };
    let accepted = client.kick(now).await.unwrap().into_inner();
    assert_eq!((accepted.nodes, accepted.acked, accepted.pending_nodes.len()), (0, 0, 0));

    let wrong = JoinRoomRequest { room_id: "\n".into(), ack: 7, ..JoinRoomRequest::default() };
    let status = client.join_room(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let bad = status.get_details_bad_request().unwrap();
    let fields: Vec<&str> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["user_id", "room_id", "ack"]);

    let nobody = Manager::start(Config::default(), pushcast_common::registry::Registry::memory());
    nobody.ready().await;
    let status = nobody.client().await.kick(kick("u")).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "NO_CONNECT_NODES");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_has_a_path() {
    let a = with_users("a", &[("u 1", 2)]);
    let manager = Manager::of(&[&a]).await;
    let http = manager.http_addr;
    let answer = post(http, "/v1/rooms/r%2F1/join?user_id=u%201&app=t&request_id=7", b"not looked at").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut body = answer.json();
    assert_eq!(body["message_id"].take().as_str().unwrap().len(), 32);
    let expected = json!({
        "message_id": null, "nodes": 1, "acked": 1, "delivered_nodes": 1, "recipients": 2, "pending_nodes": [],
    });
    assert_eq!(body, expected);
    let left = post(http, "/v1/rooms/r/leave?connection_id=0123456789abcdef&timeout=2s", b"").await.json();
    assert_eq!((&left["acked"], &left["recipients"]), (&1.into(), &0.into()));
    let kicked = post(http, "/v1/users/u%201/kick?reason=too%20loud&reconnect=true&ack=accepted", b"").await;
    assert_eq!(kicked.json()["nodes"], 0);
    until("the kick arrives", async || a.seqs().len() == 3).await;

    let messages = seen(&a);
    let whose = Some(Whose::UserId("u 1".into()));
    let expected = Control { whose: whose.clone(), action: Some(Action::Join("r/1".into())) };
    assert_eq!((control(&messages[0]), messages[0].app.as_str()), (expected, "t"));
    let expected = Control {
        whose: Some(Whose::ConnectionId(0x0123_4567_89ab_cdef)),
        action: Some(Action::Leave("r".into())),
    };
    assert_eq!(control(&messages[1]), expected);
    let kick = node::Kick { reason: "too loud".into(), reconnect: true };
    assert_eq!(control(&messages[2]), Control { whose, action: Some(Action::Kick(kick)) });

    let cases: [(&str, &[&str]); 6] = [
        ("/v1/rooms/r/join", &["user_id"]),
        ("/v1/rooms/r/join?user_id=u&connection_id=0123456789abcdef", &["connection_id"]),
        ("/v1/rooms/r/leave?connection_id=1&request_id=%07", &["connection_id", "request_id"]),
        ("/v1/rooms/r/join?user_id=u&uri=a/B", &["uri"]),
        ("/v1/users/u/kick?reconnect=1&user_id=v", &["reconnect", "user_id"]),
        ("/v1/users/u/kick?reason=%0a", &["reason"]),
    ];
    for (path, expected) in cases {
        let answer = post(http, path, b"").await;
        assert_eq!(
            (answer.status, crate::gateway::fields(&answer.json())),
            (400, expected.to_vec()),
            "{path}"
        );
    }
    assert_eq!(a.seqs().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_are_requests_and_no_broadcasts() {
    let a = with_users("a", &[("u", 1)]);
    let manager = Manager::of(&[&a]).await;
    manager.client().await.join_room(join("u", "r")).await.unwrap();
    let metrics = get(manager.http_addr, "/metrics").await.unwrap().body;
    let has = |text: &str| metrics.lines().any(|line| line.starts_with(text));
    for api in ["JoinRoom", "LeaveRoom", "Kick", "Broadcast"] {
        assert!(has(&format!("push_manager_requests_total{{api=\"{api}\",code=\"OK\"}}")), "{metrics}");
    }
    for (api, counted) in [("Broadcast", true), ("JoinRoom", false), ("LeaveRoom", false), ("Kick", false)] {
        for name in ["nodes", "delivered"] {
            let series = format!("push_manager_broadcast_{name}_total{{api=\"{api}\"}}");
            assert_eq!(has(&series), counted, "{series}");
        }
    }
    assert!(has("push_manager_handed_up_total ") && has("push_manager_clock_offset_seconds "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_hears_of_the_controls_that_the_log_no_longer_has() {
    let (a, mut late) = (Sink::start("a"), Sink::start("late"));
    late.cut();
    let config = Config { log_bytes: 8 << 10, ..Config::default() };
    let manager = Manager::with(&[&a, &late], config).await;
    let mut client = manager.client().await;
    client.kick(kick("u")).await.unwrap();
    for _ in 0..300 {
        manager.push("r").await.unwrap();
    }
    client.join_room(join("u", "r")).await.unwrap();
    late.back().await;
    until("it is filled", async || late.seqs().last() == Some(&302)).await;
    late.see(|seen| {
        assert_eq!(seen.frames[..5], ["hello", "fill", "controls", "heartbeat", "batch"]);
        assert_eq!(seen.old_controls.iter().map(|message| message.seq).collect::<Vec<_>>(), [1]);
        let fill = seen.fill.unwrap();
        assert_eq!(fill.first_seq, seen.messages[0].seq);
        let newest_before = a.see(|seen| seen.messages[fill.first_seq as usize - 2].accepted_at);
        assert_eq!((fill.left_out_at, fill.controls_left_out_at), (newest_before, 0));
    });
}
