//! Clients that lost their node come back to another one, and miss nothing.

use std::time::Duration;

use pushcast_proto::{client::v1::Connected, pushmanager::v1::PushAnswer};
use pushcast_tests::{
    eventually::{check, equal, eventually},
    fleet::{Fleet, Plan, TicketKey},
    http,
    listener::{Listener, text},
};
use pushctl::{
    client::{Client, Event, Options},
    format::Format,
    push::{Push, PushClient},
    session::{Session, SessionEvent},
};
use tonic::Code;

const WITHIN: Duration = Duration::from_secs(30);

async fn fleet(managers: usize, key: &TicketKey) -> Fleet {
    let flags = [("--ticket-key-file", key.path()), ("--heartbeat", "1s")];
    let fleet = Fleet::of(Plan { managers, nodes: 2, node_flags: &flags, ..Plan::default() }).await;
    fleet.complete().await;
    fleet
}

async fn push(client: &PushClient, room: &str, content: &str) -> PushAnswer {
    client.push(Push::to_room(room, content.to_owned()), None).await.unwrap()
}

/// Everything up to the push with this content, and how the connections began.
async fn until(session: &mut Session, last: &str) -> (Vec<String>, Vec<Connected>) {
    let (mut texts, mut connections) = (Vec::new(), Vec::new());
    let read = async {
        while texts.last().is_none_or(|text| text != last) {
            match session.next().await.unwrap() {
                SessionEvent::Push(push) => texts.push(text(&push)),
                SessionEvent::Connected(connected) => connections.push(connected),
                _ => {}
            }
        }
    };
    tokio::time::timeout(WITHIN, read).await.expect("what was pushed arrives");
    (texts, connections)
}

/// A client that has a ticket, and what it would resume with.
async fn with_ticket(options: &Options) -> (Client, pushctl::progress::Progress) {
    let mut client = Client::connect(options).await.unwrap();
    let mut progress = pushctl::progress::Progress::default();
    progress.connected(client.connected());
    while progress.ticket().is_none() {
        match client.next().await {
            Event::Ticket(ticket) => progress.ticketed(ticket),
            Event::Heartbeat(beat) => progress.heartbeat(&beat),
            other => panic!("{other:?}"),
        }
    }
    (client, progress)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_killed_node_go_on_elsewhere_in_both_formats() {
    let key = TicketKey::new();
    let fleet = fleet(1, &key).await;
    let client = fleet.pusher();
    let mut sessions = Vec::new();
    for (user, format) in [("u1", Format::Json), ("u2", Format::Protobuf)] {
        let options = fleet.nodes[0].options(user, &["r"]);
        let mut session = Session::new(Options { format, urls: vec![fleet.nodes[1].url()], ..options });
        push(&client, "r", "before").await;
        assert!(matches!(session.next().await.unwrap(), SessionEvent::Connected(_)));
        sessions.push(session);
    }
    push(&client, "r", "1").await;
    for session in &mut sessions {
        until(session, "1").await;
    }
    fleet.nodes[0].process.kill();
    for content in ["2", "3"] {
        push(&client, "r", content).await;
    }
    client.push(Push::to_users(&["u1", "u2"], "4"), None).await.unwrap();
    push(&client, "elsewhere", "no").await;
    push(&client, "r", "5").await;
    for session in &mut sessions {
        let (texts, connections) = until(session, "5").await;
        assert_eq!(texts, ["2", "3", "4", "5"]);
        assert_eq!(connections.len(), 1, "{connections:?}");
        assert_eq!((connections[0].recovered, connections[0].node_id.as_str()), (Some(true), "n2"));
        assert_eq!(connections[0].rooms, ["r"]);
    }
    let metrics = fleet.nodes[1].metrics().await;
    assert_eq!(metrics.sum("connect_node_resumes_total", &[("outcome", "recovered")]), 2.0);
    assert!(metrics.sum("connect_node_replayed_messages_total", &[]) >= 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_resumes_elsewhere_ends_the_connection_it_had() {
    let key = TicketKey::new();
    let fleet = fleet(1, &key).await;
    let options = fleet.nodes[0].options("u1", &["r"]);
    let (mut old, progress) = with_ticket(&options).await;
    let mut moved = fleet.nodes[1].options("u1", &[]);
    moved.resume = progress.resume(0);
    let mut new = Listener::connect(moved).await;
    assert_eq!(new.client.connected().recovered, Some(true));
    assert_eq!(new.client.connected().connection_id, old.connected().connection_id);
    let end = async {
        loop {
            if let Event::Closed(closed) = old.next().await {
                return closed;
            }
        }
    };
    let closed = tokio::time::timeout(WITHIN, end).await.expect("the old one hears of it");
    assert_eq!(closed.code, Some(4503), "{closed}");
    let answer = push(&fleet.pusher(), "r", "1").await;
    assert_eq!(answer.recipients, 1);
    assert_eq!(new.next_text().await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_nodes_run() {
    let key = TicketKey::new();
    let fleet = fleet(1, &key).await;
    let (_client, progress) = with_ticket(&fleet.nodes[0].options("u1", &["r"])).await;
    let come_back = async || {
        let mut options = fleet.nodes[1].options("u1", &[]);
        options.resume = progress.resume(3);
        Client::connect(&options).await.unwrap().connected().recovered
    };
    let [old, new]: [[u8; 32]; 2] = rand::random();
    let read_anew = async |times: usize| {
        eventually("the keys are read", WITHIN, async || {
            let seen = fleet.nodes[1].process.log().matches("Ticket keys are read anew").count();
            check(seen >= times, || format!("{seen} times"))
        })
        .await;
    };
    assert_eq!(come_back().await, Some(true));
    // A key nobody signed with: the ticket is of another fleet.
    key.write(&[old]);
    read_anew(1).await;
    assert_eq!(come_back().await, Some(false));
    let (_client, progress) = with_ticket(&fleet.nodes[1].options("u2", &["r"])).await;
    let come_back = async || {
        let mut options = fleet.nodes[1].options("u2", &[]);
        options.resume = progress.resume(3);
        Client::connect(&options).await.unwrap().connected().recovered
    };
    key.write(&[new, old]);
    read_anew(2).await;
    assert_eq!(come_back().await, Some(true), "all keys verify");
    key.write(&[new]);
    read_anew(3).await;
    assert_eq!(come_back().await, Some(false), "retired");
    let unrecovered = fleet.nodes[1].metrics().await;
    let labels = [("outcome", "unrecovered"), ("reason", "ticket")];
    assert_eq!(unrecovered.sum("connect_node_resumes_total", &labels), 2.0);
    // A file that cannot be used changes nothing.
    std::fs::write(key.path(), "no key").unwrap();
    eventually("the file is refused", WITHIN, async || {
        let log = fleet.nodes[1].process.log();
        check(log.contains("The ticket keys stay as they are"), || log)
    })
    .await;
    let (_client, _progress) = with_ticket(&fleet.nodes[1].options("u3", &["r"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn business_servers_put_people_into_rooms_and_take_them_out_also_while_they_are_away() {
    let key = TicketKey::new();
    let fleet = fleet(2, &key).await;
    let (one, other) = (fleet.managers[0].client(), fleet.managers[1].client());
    let http_addr = &fleet.managers[0].addr.http;
    let post = async |path: &str| {
        let response = http::post(http_addr, path, "").await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let options = Options { urls: vec![fleet.nodes[1].url()], ..fleet.nodes[0].options("u1", &["a"]) };
    let mut session = Session::new(options);
    assert!(matches!(session.next().await.unwrap(), SessionEvent::Connected(_)));

    let answer = post("/v1/rooms/b/join?user_id=u1").await;
    assert_eq!((answer["nodes"].as_u64(), answer["recipients"].as_u64()), (Some(2), Some(1)), "{answer}");
    assert_eq!(push(&one, "b", "1").await.recipients, 1);
    assert_eq!(push(&other, "b", "2").await.recipients, 1, "every node has obeyed");
    assert_eq!(until(&mut session, "2").await.0, ["1", "2"]);

    fleet.nodes[0].process.kill();
    push(&one, "a", "from a room it is taken out of").await;
    post("/v1/rooms/a/leave?user_id=u1").await;
    push(&one, "c", "from before it was in").await;
    post("/v1/rooms/c/join?user_id=u1").await;
    push(&one, "c", "3").await;
    push(&one, "a", "not for it").await;
    push(&one, "b", "4").await;
    let (texts, connections) = until(&mut session, "4").await;
    assert_eq!(texts, ["3", "4"]);
    assert_eq!(connections[0].recovered, Some(true));
    assert_eq!(connections[0].rooms, ["b", "c"]);

    post("/v1/users/u1/kick?reason=enough").await;
    let end = async {
        loop {
            if let Err(error) = session.next().await {
                return error.to_string();
            }
        }
    };
    let end = tokio::time::timeout(WITHIN, end).await.expect("it is closed for good");
    assert!(end.contains("4500") && end.contains("enough"), "{end}");
    let metrics = fleet.managers[0].metrics().await;
    let pushes = metrics.sum("push_manager_broadcast_nodes_total", &[]);
    let known = metrics.sum("push_manager_known_nodes", &[]);
    assert!(pushes <= 2.0 * 7.0 && known >= 1.0, "{pushes} acknowledgements: controls are no pushes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_through_another_manager_is_delivered_once_with_the_counts_of_the_first() {
    let key = TicketKey::new();
    let fleet = fleet(2, &key).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let retried =
        |content: &str| Push { request_id: "once".to_owned(), ..Push::to_room("r", content.to_owned()) };
    let managers = [fleet.managers[0].client(), fleet.managers[1].client()];
    let mut answers = Vec::new();
    for client in managers.iter().cycle().take(6) {
        answers.push(client.push(retried("1"), None).await.unwrap());
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0], "a retry says what the first said");
    }
    assert_eq!((answers[0].recipients, answers[0].acked), (1, 2));
    let refused = managers[1].push(retried("2"), None).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    push(&managers[0], "r", "last").await;
    // This listener shows repeats.
    assert_eq!(listener.texts_until("last").await, ["1"]);
    let repeats = async || {
        let metrics = fleet.nodes[0].metrics().await;
        metrics.sum("connect_node_repeated_requests_total", &[])
    };
    eventually("repeats are counted", WITHIN, async || equal(repeats().await, 6.0)).await;
}
