//! Exactly the right connections get a message, once, in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pushcast_proto::connectnode::v1::PushMessageBatchRequest;
use pushcast_tests::{
    fleet::{Fleet, Node, Plan},
    listener::Listener,
    metrics::Metrics,
};
use pushctl::{
    client::{Client, ConnectBy, Event, Options, content},
    format::Format,
    push::{Push, Target},
};
use tokio::task::JoinSet;

use crate::load::turn;

/// The picture of the seed: six users on three nodes, two rooms.
async fn seed_users(fleet: &Fleet) -> Vec<Listener> {
    let mut users = Vec::new();
    for (node, user, room) in [
        (0, "user-001", "room-001"),
        (0, "user-002", "room-001"),
        (1, "user-003", "room-001"),
        (1, "user-004", "room-001"),
        (2, "user-005", "room-002"),
        (2, "user-006", "room-002"),
    ] {
        users.push(fleet.nodes[node].listen(user, &[room]).await);
    }
    users
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_reaches_exactly_the_connections_it_is_for() {
    let fleet = Fleet::start().await;
    let mut users = seed_users(&fleet).await;
    let client = fleet.pusher();

    let answer = client.push(Push::to_room("room-001", "scenario 1"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.delivered_nodes, answer.recipients), (3, 3, 2, 4));
    let answer = client.push(Push::to_user("user-003", "scenario 2"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.delivered_nodes, answer.recipients), (3, 3, 1, 1));
    let answer = client.push(Push::to_everyone("scenario 3"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.delivered_nodes, answer.recipients), (3, 3, 3, 6));
    assert_eq!(answer.pending_nodes, Vec::<String>::new());
    let answer = client.push(Push::to_room("nobody is here", "lost"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.delivered_nodes, answer.recipients), (3, 3, 0, 0));
    client.push(Push::to_everyone("end"), None).await.unwrap();

    let expected: [&[&str]; 6] = [
        &["scenario 1", "scenario 3"],
        &["scenario 1", "scenario 3"],
        &["scenario 1", "scenario 2", "scenario 3"],
        &["scenario 1", "scenario 3"],
        &["scenario 3"],
        &["scenario 3"],
    ];
    for (user, expected) in users.iter_mut().zip(expected) {
        assert_eq!(user.texts_until("end").await, expected);
    }
    assert_seed_metrics(&fleet).await;
}

async fn assert_seed_metrics(fleet: &Fleet) {
    let manager = fleet.managers[0].metrics().await;
    for (api, nodes, delivered) in [
        ("PushToRoom", 6.0, 2.0),
        ("PushToUser", 3.0, 1.0),
        ("PushToUsers", 0.0, 0.0),
        ("Broadcast", 6.0, 6.0),
    ] {
        let api = [("api", api)];
        assert!(
            manager.has("push_manager_broadcast_nodes_total", &api),
            "series start at 0: {}",
            manager.text
        );
        assert_eq!(manager.sum("push_manager_broadcast_nodes_total", &api), nodes, "{api:?}");
        assert_eq!(manager.sum("push_manager_broadcast_delivered_total", &api), delivered, "{api:?}");
    }
    let received = |node: &Metrics, has| node.sum("connect_node_push_received_total", &[("has_users", has)]);
    for (node, (with, without)) in fleet.nodes.iter().zip([(3.0, 2.0), (4.0, 1.0), (2.0, 3.0)]) {
        let metrics = node.metrics().await;
        assert_eq!((received(&metrics, "true"), received(&metrics, "false")), (with, without), "{}", node.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_and_every_device_gets_one_copy() {
    let fleet = Fleet::start().await;
    let [n1, n2, n3] = &fleet.nodes[..] else { panic!("three nodes") };
    let client = fleet.pusher();
    let mut both_rooms = n1.listen("both", &["r1", "r2"]).await;
    let mut no_room = n2.listen("none", &[]).await;
    let mut phone = n2.listen("twice", &["r1"]).await;
    let mut tablet = n3.listen("twice", &[]).await;
    let mut stranger =
        Listener::connect(Options { app: "other".to_owned(), ..n3.options("twice", &["r1"]) }).await;

    let answer = client.push(Push::to_everyone("to all"), None).await.unwrap();
    assert_eq!((answer.recipients, answer.delivered_nodes), (4, 3));
    let answer = client.push(Push::to_user("twice", "to both devices"), None).await.unwrap();
    assert_eq!((answer.recipients, answer.delivered_nodes), (2, 2));
    let users = Push::to_users(&["twice", "none", "absent", "twice"], "to some");
    let answer = client.push(users, None).await.unwrap();
    assert_eq!((answer.recipients, answer.delivered_nodes), (3, 2));
    let by_user =
        [("twice".to_owned(), 2), ("none".to_owned(), 1), ("absent".to_owned(), 0)].into_iter().collect();
    assert_eq!(answer.recipients_by_user, by_user);
    let other = Push { app: "other".to_owned(), ..Push::to_room("r1", "other tenant") };
    assert_eq!(client.push(other, None).await.unwrap().recipients, 1);
    let answer = client.push(Push::new(Target::EveryoneOfAllApps, "end"), None).await.unwrap();
    assert_eq!(answer.recipients, 5);

    assert_eq!(both_rooms.texts_until("end").await, ["to all"]);
    assert_eq!(no_room.texts_until("end").await, ["to all", "to some"]);
    assert_eq!(phone.texts_until("end").await, ["to all", "to both devices", "to some"]);
    assert_eq!(tablet.texts_until("end").await, ["to all", "to both devices", "to some"]);
    assert_eq!(stranger.texts_until("end").await, ["other tenant"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_says_where_it_comes_from_in_both_formats() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let binary = vec![0, 0xff, b'"', b'\n', 0x80];
    let mut receivers = Vec::new();
    for format in [Format::Json, Format::Protobuf] {
        for by in [ConnectBy::Frame, ConnectBy::Url] {
            receivers
                .push(Listener::connect(Options { format, by, ..node.options("u 1&", &["r,1", "ü"]) }).await);
        }
    }
    for receiver in &receivers {
        let connected = receiver.client.connected();
        assert_eq!(connected.user_id, "u 1&");
        assert_eq!(connected.node_id, "n1");
        assert_eq!(connected.rooms, ["r,1", "ü"]);
        assert_eq!(connected.recovered, Some(false));
        assert_eq!(connected.heartbeat_ms, 25_000);
        assert!(!connected.connection_id.is_empty());
    }
    let client = fleet.pusher();
    let push =
        Push { uri: "chat/Message".to_owned(), ..Push::to_room("r,1", "grüße \u{1F600} \" \\ \u{7}") };
    let first = client.push(push, None).await.unwrap();
    let second = client.push(Push::to_user("u 1&", binary.clone()), None).await.unwrap();
    assert_eq!((first.recipients, second.recipients), (4, 4));
    client.push(Push::to_everyone(""), None).await.unwrap();

    let manager_id = client.nodes().await.unwrap().manager_id;
    for receiver in &mut receivers {
        let push = receiver.next_push().await;
        assert_eq!(content(&push), "grüße \u{1F600} \" \\ \u{7}".as_bytes());
        assert_eq!((push.room_id.as_str(), push.user_id.as_str()), ("r,1", ""));
        assert_eq!((push.uri.as_str(), &push.message_id), ("chat/Message", &first.message_id));
        assert_eq!((&push.manager, push.seq), (&manager_id, 1));
        assert_eq!(push.message_id, format!("{manager_id}-1"));
        let push = receiver.next_push().await;
        assert_eq!(content(&push), binary);
        assert_eq!((push.room_id.as_str(), push.user_id.as_str(), push.seq), ("", "u 1&", 2));
        let push = receiver.next_push().await;
        assert_eq!(content(&push), b"");
        assert_eq!((push.room_id.as_str(), push.user_id.as_str(), push.seq), ("", "", 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_and_leaving_takes_effect_with_the_answer() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let client = fleet.pusher();
    let mut listener = fleet.nodes[0].listen("u1", &["a"]).await;
    let recipients = async |room: &str, content: &str| {
        client.push(Push::to_room(room, content.to_owned()), None).await.unwrap().recipients
    };
    assert_eq!(recipients("b", "before").await, 0);
    assert_eq!(listener.client.join(&["c", "b"]).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(recipients("b", "in b").await, 1);
    assert_eq!(listener.client.join(&["b"]).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(recipients("b", "still once").await, 1);
    assert_eq!(listener.client.leave(&["a", "b"]).await.unwrap(), ["c"]);
    assert_eq!(recipients("b", "after").await, 0);
    assert_eq!(recipients("a", "after").await, 0);
    client.push(Push::to_everyone("end"), None).await.unwrap();
    assert_eq!(listener.texts_until("end").await, ["in b", "still once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_manager_takes_any_push_and_a_request_id_makes_it_one_message() {
    let fleet = Fleet::of(Plan { managers: 2, nodes: 2, ..Plan::default() }).await;
    let mut listener = fleet.nodes[1].listen("u1", &["r1"]).await;
    let [first, second] = [fleet.managers[0].client(), fleet.managers[1].client()];
    let a = first.push(Push::to_room("r1", "through m1"), None).await.unwrap();
    let b = second.push(Push::to_room("r1", "through m2"), None).await.unwrap();
    assert_eq!((a.recipients, b.recipients), (1, 1));
    assert_eq!(listener.next_text().await, "through m1");
    assert_eq!(listener.next_text().await, "through m2");

    // A client as it should be drops what it has seen.
    let mut good = Client::connect(&fleet.nodes[0].options("u2", &["r1"])).await.unwrap();
    let push = |id: &str| Push { request_id: id.to_owned(), ..Push::to_room("r1", "retried") };
    let a = first.push(push("order-1"), None).await.unwrap();
    let b = second.push(push("order-1"), None).await.unwrap();
    let c = second.push(push("order-2"), None).await.unwrap();
    assert_eq!(a.message_id, b.message_id);
    assert_ne!(a.message_id, c.message_id);
    assert_eq!(a.message_id.len(), 32);
    assert_eq!(listener.next_push().await.message_id, a.message_id);
    for expected in [&a.message_id, &c.message_id] {
        let push = loop {
            match good.next().await {
                Event::Push(push) => break push,
                Event::Ticket(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(&push.message_id, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_own_call_pushes_without_identity() {
    let node = Node::alone("n1", &[]).await;
    let mut a = node.listen("u1", &["r1"]).await;
    let mut b = node.listen("u2", &["r1"]).await;
    let mut c = node.listen("u3", &[]).await;
    let mut service = node.service().await;
    let mut push = async |users: &[&str], room: &str, content: &'static str| {
        let request = PushMessageBatchRequest {
            user_ids: users.iter().map(|&user| user.to_owned()).collect(),
            room_id: room.to_owned(),
            content: content.into(),
            ..PushMessageBatchRequest::default()
        };
        service.push_message_batch(request).await.unwrap().into_inner().recipients
    };
    assert_eq!(push(&["u1", "u3", "nobody"], "r1", "to users").await, 2);
    assert_eq!(push(&[], "r1", "to the room").await, 2);
    assert_eq!(push(&[], "", "to everyone").await, 3);
    for (listener, expected) in [
        (&mut a, &["to users", "to the room", "to everyone"][..]),
        (&mut b, &["to the room", "to everyone"]),
        (&mut c, &["to users", "to everyone"]),
    ] {
        for &expected in expected {
            let push = listener.next_push().await;
            assert_eq!(content(&push), expected.as_bytes());
            assert_eq!((push.manager.as_str(), push.seq), ("", 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_messages_of_one_stream_reach_a_hundred_sockets_in_order() {
    const MESSAGES: u64 = 20_000;
    const SOCKETS: usize = 100;
    // About 300 KiB of frames, well within an outbox of 1 MiB: the caller keeps within the bounds.
    const AHEAD: u64 = 2_000;
    let _turn = turn().await;
    let fleet = Fleet::start().await;
    let progress: Arc<Vec<AtomicU64>> = Arc::new((0..SOCKETS).map(|_| AtomicU64::new(0)).collect());
    let mut sockets = JoinSet::new();
    for socket in 0..SOCKETS {
        let format = if socket % 2 == 0 { Format::Json } else { Format::Protobuf };
        let options = fleet.nodes[socket % 3].options(&format!("u{socket}"), &["all"]);
        let mut listener = Listener::connect(Options { format, ..options }).await;
        let progress = Arc::clone(&progress);
        sockets.spawn(async move {
            for expected in 0..MESSAGES {
                assert_eq!(listener.next_text().await, format!("{expected:08}"), "socket {socket}");
                progress[socket].store(expected + 1, Ordering::Relaxed);
            }
            // Nothing comes twice, nothing comes late.
            assert_eq!(listener.next_text().await, "end", "socket {socket}");
        });
    }
    let (sender, mut results) = fleet.pusher().stream(1_024).await.unwrap();
    let send = async {
        for number in 0..MESSAGES {
            while number
                >= AHEAD + progress.iter().map(|socket| socket.load(Ordering::Relaxed)).min().unwrap()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            sender.send(number, Push::to_room("all", format!("{number:08}"))).await.unwrap();
        }
    };
    let receive = async {
        for expected in 0..MESSAGES {
            let (tag, result) = results.next().await.unwrap().unwrap();
            let answer = result.unwrap();
            assert_eq!((tag, answer.recipients), (expected, 100), "{answer:?}");
        }
    };
    let sockets_done = async {
        while let Some(done) = sockets.join_next().await {
            done.unwrap();
        }
    };
    let finish = async {
        tokio::join!(send, receive);
        fleet.pusher().push(Push::to_room("all", "end"), None).await.unwrap();
    };
    let all = async { tokio::join!(finish, sockets_done) };
    tokio::time::timeout(Duration::from_secs(150), all).await.expect("20,000 messages pass");
}
