//! What callers are told.

use std::time::{Duration, Instant};

use push_manager::{Config, answers::PATIENCE};
use pushcast_proto::pushmanager::v1::{
    Ack, BroadcastRequest, ListNodesRequest, PushToRoomRequest, PushToUserRequest, PushToUsersRequest,
};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::{
    harness::{Manager, to_room, until},
    sink::{Mood, Options, Sink},
};

/// A machine that stands still makes a second's patience longer. A wait for an answer of all ends with the deadline, 5 s.
const ANSWERED: Duration = Duration::from_micros(4 * PATIENCE);

fn with_rooms(id: &str, rooms: &[(&'static str, u32)]) -> Sink {
    Sink::with(id, Options { rooms: rooms.to_vec(), ..Options::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_push_is_counted_over_all_nodes() {
    let a = with_rooms("a", &[("r", 2), ("u", 1), ("v", 1), ("*", 5)]);
    let b = with_rooms("b", &[("r", 1), ("v", 2), ("*", 4)]);
    let c = with_rooms("c", &[]);
    let manager = Manager::of(&[&a, &b, &c]).await;
    let mut client = manager.client().await;

    let room = client.push_to_room(to_room("r")).await.unwrap().into_inner();
    assert_eq!((room.nodes, room.acked, room.delivered_nodes, room.recipients), (3, 3, 2, 3));
    assert_eq!(room.pending_nodes, [""; 0]);
    assert!(room.message_id.ends_with("-1"), "{}", room.message_id);

    let user = PushToUserRequest { user_id: "u".into(), ..PushToUserRequest::default() };
    let user = client.push_to_user(user).await.unwrap().into_inner();
    assert_eq!((user.acked, user.delivered_nodes, user.recipients), (3, 1, 1));

    let user_ids = ["u", "v", "nobody", "v"].map(String::from).to_vec();
    let users = PushToUsersRequest { user_ids, ..PushToUsersRequest::default() };
    let users = client.push_to_users(users).await.unwrap().into_inner();
    assert_eq!((users.delivered_nodes, users.recipients), (2, 4));
    let by_user = [("u", 1), ("v", 3), ("nobody", 0)].map(|(user, n)| (user.to_owned(), n));
    assert_eq!(users.recipients_by_user, by_user.into());

    let all = client.broadcast(BroadcastRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.delivered_nodes, all.recipients), (2, 9));
    for sink in [&a, &b, &c] {
        assert_eq!(sink.seqs(), [1, 2, 3, 4]);
    }

    let nodes = client.list_nodes(ListNodesRequest {}).await.unwrap().into_inner();
    let shown: Vec<_> =
        nodes.nodes.iter().map(|n| (n.node_id.as_str(), n.link.as_str(), n.lag, n.connections)).collect();
    assert_eq!(shown, [("a", "linked", 0, 7), ("b", "linked", 0, 7), ("c", "linked", 0, 7)]);
    assert_eq!((nodes.newest_seq, nodes.silent_nodes.len()), (4, 0));
    assert_eq!(room.message_id, format!("{}-1", nodes.manager_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_pending_and_does_not_delay_the_others() {
    let (fast, slow) = (Sink::start("fast"), Sink::start("slow"));
    let manager = Manager::of(&[&fast, &slow]).await;
    slow.mood(Mood::Holds);
    let begun = Instant::now();
    let first = manager.push("r").await.unwrap();
    assert!(begun.elapsed() < ANSWERED);
    assert_eq!((first.nodes, first.acked, first.pending_nodes), (2, 1, vec!["slow".to_owned()]));
    // From now on nobody waits for it.
    let begun = Instant::now();
    for _ in 0..10 {
        let next = manager.push("r").await.unwrap();
        assert_eq!((next.acked, next.pending_nodes), (1, vec!["slow".to_owned()]));
    }
    assert!(begun.elapsed() < ANSWERED, "ten pushes waited {:?}", begun.elapsed());
    slow.mood(Mood::Acks);
    until("the slow node is waited for again", async || {
        manager.push("r").await.unwrap().pending_nodes.is_empty()
    })
    .await;
    assert_eq!(slow.seqs(), fast.seqs());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_is_kept() {
    let soon = || {
        let mut request = Request::new(to_room("r"));
        request.set_timeout(Duration::from_millis(500));
        request
    };
    // A machine that stands still finds the manager's bounds and the caller's own over at once: then it is tried again, with
    // nodes that are waited for anew.
    until("the deadline ends the wait for one", async || {
        let (a, b) = (Sink::start("a"), Sink::start("b"));
        let manager = Manager::of(&[&a, &b]).await;
        let mut client = manager.client().await;
        a.mood(Mood::Holds);
        let Ok(some) = client.push_to_room(soon()).await else { return false };
        let some = some.into_inner();
        (some.acked, some.pending_nodes) == (1, vec!["a".to_owned()])
    })
    .await;
    until("the deadline ends the wait for all", async || {
        let (a, b) = (Sink::start("a"), Sink::start("b"));
        let manager = Manager::of(&[&a, &b]).await;
        let mut client = manager.client().await;
        a.mood(Mood::Holds);
        b.mood(Mood::Holds);
        let Err(none) = client.push_to_room(soon()).await else { return false };
        // The caller's own end of it says less.
        let Some(info) = none.get_details_error_info() else { return false };
        assert_eq!(none.code(), Code::DeadlineExceeded);
        assert!(info.metadata["message_id"].ends_with("-1"), "{info:?}");
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_wait_ends_with_an_answer() {
    let a = Sink::start("a");
    let config = Config { max_deadline: Duration::from_millis(100), ..Config::default() };
    let manager = Manager::with(&[&a], config).await;
    a.mood(Mood::Holds);
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.pending_nodes), (1, 0, vec!["a".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_node_nothing_is_accepted_and_without_a_link_all_are_pending() {
    let manager = Manager::start(Config::default(), pushcast_common::registry::Registry::memory());
    manager.ready().await;
    let status = manager.push("r").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_CONNECT_NODES", "pushcast"));
    let nodes = manager.client().await.list_nodes(ListNodesRequest {}).await.unwrap().into_inner();
    assert_eq!(nodes.newest_seq, 0);

    let mut a = Sink::start("a");
    a.cut();
    let manager = Manager::with(&[&a], Config::default()).await;
    let answer = manager.push("r").await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.pending_nodes), (1, 0, vec![a.addr.to_string()]));
    // It gets the message when it comes.
    a.back().await;
    until("the message arrives", async || a.seqs() == [1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_is_answered_before_anybody_has_it() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    a.mood(Mood::Holds);
    let request = PushToRoomRequest { ack: Ack::Accepted as i32, ..to_room("r") };
    let answer = manager.client().await.push_to_room(request).await.unwrap().into_inner();
    assert_eq!((answer.nodes, answer.acked, answer.pending_nodes.len()), (0, 0, 0));
    until("the message arrives", async || a.seqs() == [1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_through_another_manager_have_the_same_message_id() {
    let a = Sink::start("a");
    let (one, two) = (Manager::of(&[&a]).await, Manager::of(&[&a]).await);
    let request = PushToRoomRequest { request_id: "order-17".into(), ..to_room("r") };
    let first = one.client().await.push_to_room(request.clone()).await.unwrap().into_inner();
    let retry = two.client().await.push_to_room(request).await.unwrap().into_inner();
    assert_eq!(first.message_id, retry.message_id);
    assert_eq!(first.message_id.len(), 32);
    let hash = a.see(|seen| seen.messages[0].request_hash.clone());
    assert_eq!(hash.iter().map(|b| format!("{b:02x}")).collect::<String>(), first.message_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_their_fields() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let mut client = manager.client().await;
    let content = vec![0; (64 << 10) + 1].into();
    let request = PushToRoomRequest { room_id: "a\u{7}".into(), content, ..PushToRoomRequest::default() };
    let status = client.push_to_room(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let bad = status.get_details_bad_request().unwrap();
    let fields: Vec<&str> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["room_id", "content"]);
    // A thousand bad ids are refused in words that fit the headers they travel in.
    let users = PushToUsersRequest { user_ids: vec!["\u{7}".into(); 1000], ..PushToUsersRequest::default() };
    let status = client.push_to_users(users).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().ends_with("and 990 more"), "{status}");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 10);
    let user_ids = (0..1001).map(|i| format!("u{i}")).collect();
    let users = PushToUsersRequest { user_ids, ..PushToUsersRequest::default() };
    assert_eq!(client.push_to_users(users).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(manager.push("r").await.unwrap().acked, 1);
    assert_eq!(a.seqs(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_named_when_nodes_are_listed() {
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    let manager = Manager::of(&[&a, &b]).await;
    b.mood(Mood::Silent);
    let nodes = manager.client().await.list_nodes(ListNodesRequest {}).await.unwrap().into_inner();
    assert_eq!(nodes.silent_nodes, ["b"]);
    assert_eq!(nodes.nodes.len(), 2);
}
