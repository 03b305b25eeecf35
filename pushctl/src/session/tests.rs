use std::{collections::BTreeMap, net::TcpListener};

use pushcast_proto::client::v1::{Connected, Join, client_frame};

use super::{
    scripted::{Node, Step, say},
    *,
};

const CONNECTED: &str = r#"{"id":1,"connected":{"node_id":"n1","rooms":["r1"],"position":{"a":"3"},"as_of":"100","recovered":false}}"#;
const RECOVERED: &str = r#"{"id":1,"connected":{"node_id":"n1","rooms":["r1","r2"],"position":{"a":"2","b":"4"},"as_of":"90","recovered":true}}"#;
const TICKET: &str = r#"{"ticket":{"ticket":"t1"}}"#;

fn push(manager: &str, seq: u64) -> String {
    format!(
        r#"{{"push":{{"message_id":"{manager}-{seq}","manager":"{manager}","seq":"{seq}","text":"hi"}}}}"#
    )
}

fn position(seqs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    seqs.iter().map(|&(manager, seq)| (manager.to_owned(), seq)).collect()
}

/// An address where nothing listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("ws://{}/ws", listener.local_addr().unwrap())
}

impl Session {
    /// The next thing that happens; the wait after an interruption is cut short.
    async fn soon(&mut self) -> SessionEvent {
        let event = self.next().await.unwrap();
        if matches!(event, SessionEvent::Interrupted { .. }) {
            self.next_try = Instant::now();
        }
        event
    }

    async fn connected_soon(&mut self) -> Connected {
        loop {
            match self.soon().await {
                SessionEvent::Connected(connected) => return connected,
                SessionEvent::Interrupted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn pushed(&mut self) -> String {
        match self.soon().await {
            SessionEvent::Push(push) => push.message_id,
            other => panic!("{other:?}"),
        }
    }

    async fn interrupted_soon(&mut self) {
        let event = self.soon().await;
        assert!(matches!(event, SessionEvent::Interrupted { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_node_that_throws_everybody_out_is_tried_ever_more_rarely() {
    let node = Node::play(vec![vec![say([CONNECTED])]]).await;
    let mut session = Session::new(Options::new(&node.url));
    for failures in 1..=3 {
        session.connected_soon().await;
        session.interrupted_soon().await;
        assert_eq!(session.reconnect.failures(), failures);
    }
}

#[tokio::test]
async fn it_resumes_with_what_it_was_handed_and_shows_no_message_twice() {
    let heartbeat = r#"{"heartbeat":{"position":{"a":"4","c":"9"},"as_of":"150"}}"#;
    let mut node = Node::play(vec![
        vec![say([CONNECTED, TICKET, &push("a", 4), heartbeat, &push("b", 7)])],
        vec![say([RECOVERED, &push("b", 7), &push("b", 8)])],
        vec![say([RECOVERED]), Step::Stay],
    ])
    .await;
    let rooms = vec!["r1".to_owned()];
    let mut session = Session::new(Options { rooms: rooms.clone(), ..Options::new(&node.url) });

    session.connected_soon().await;
    assert_eq!(node.heard_connect().await.resume, None);
    assert_eq!(session.pushed().await, "a-4");
    // What has not been handed out is not part of it, though it has arrived.
    assert_eq!(session.progress().position(), &position(&[("a", 4)]));
    assert!(matches!(session.soon().await, SessionEvent::Heartbeat(_)));
    assert_eq!(session.pushed().await, "b-7");
    assert_eq!(session.connected_soon().await.recovered, Some(true));
    let connect = node.heard_connect().await;
    assert_eq!(connect.rooms, rooms);
    let resume = connect.resume.unwrap();
    assert_eq!((resume.ticket.as_str(), resume.as_of, resume.attempt), ("t1", 150, 0));
    assert_eq!(resume.position, position(&[("a", 4), ("b", 7), ("c", 9)]));

    assert_eq!(session.pushed().await, "b-8");
    session.connected_soon().await;
    let connect = node.heard_connect().await;
    assert_eq!(connect.rooms, ["r1", "r2"]);
    // No new ticket came: the old one is still good.
    let resume = connect.resume.unwrap();
    assert_eq!((resume.ticket.as_str(), resume.as_of), ("t1", 150));
    assert_eq!(resume.position, position(&[("a", 4), ("b", 8), ("c", 9)]));
    session.close().await;
}

#[tokio::test]
async fn a_connection_that_recovered_nothing_starts_anew() {
    let mut node = Node::play(vec![
        vec![say([CONNECTED, TICKET, &push("z", 50)])],
        vec![say([CONNECTED])],
        vec![say([CONNECTED, r#"{"ticket":{"ticket":"t2"}}"#])],
        vec![Step::Stay],
    ])
    .await;
    let mut session = Session::new(Options::new(&node.url));
    session.connected_soon().await;
    session.pushed().await;
    session.connected_soon().await;
    assert_eq!(session.progress().ticket(), None);
    assert_eq!(session.progress().position(), &position(&[("a", 3)]));
    session.connected_soon().await;
    session.interrupted_soon().await;
    let tries = tokio::select! {
        event = session.next() => panic!("{event:?}"),
        tries = async { [node.heard().await, node.heard().await, node.heard().await, node.heard().await] } => tries,
    };
    let tickets = tries.map(|frame| match frame {
        client_frame::Frame::Connect(connect) => connect.resume.map(|resume| resume.ticket),
        other => panic!("{other:?}"),
    });
    assert_eq!(tickets, [None, Some("t1".to_owned()), None, Some("t2".to_owned())]);
}

#[tokio::test]
async fn it_counts_the_nodes_that_sent_it_on() {
    let moved = || vec![Step::Close(MOVED)];
    let mut node = Node::play(vec![
        vec![say([CONNECTED, TICKET]), Step::Close(MOVED)],
        moved(),
        vec![Step::Close(1012)],
        moved(),
        vec![say([RECOVERED])],
        moved(),
        // Taken, and moved afterwards: the next resume is another one.
        vec![say([CONNECTED, TICKET]), Step::Close(MOVED)],
        vec![say([CONNECTED, TICKET]), Step::Stay],
    ])
    .await;
    let mut session = Session::new(Options::new(&node.url));
    for _ in 0..4 {
        session.connected_soon().await;
    }
    let mut attempts = Vec::new();
    for _ in 0..8 {
        attempts.push(node.heard_connect().await.resume.map(|resume| resume.attempt));
    }
    let expected = [None, Some(0), Some(1), Some(1), Some(2), Some(0), Some(1), Some(0)];
    assert_eq!(attempts, expected);
}

#[tokio::test]
async fn rooms_are_the_present_ones_when_it_comes_back() {
    let joined = r#"{"id":2,"ok":{"rooms":["r1","r2"]}}"#;
    let changed = r#"{"rooms":{"joined":["r3"],"left":["r1"]}}"#;
    let mut node = Node::play(vec![
        vec![
            say([CONNECTED, &push("a", 4)]),
            Step::Hear,
            // Stands before the answer, and is handed out after it.
            say([&push("a", 5), r#"{"ticket":{"ticket":"t2"}}"#, joined, changed]),
            Step::Stay,
        ],
        vec![say([CONNECTED]), Step::Stay],
    ])
    .await;
    let mut session = Session::new(Options { rooms: vec!["r1".to_owned()], ..Options::new(&node.url) });
    assert!(matches!(session.join(&["r2"]).await, Err(RequestError::NotConnected)));
    session.connected_soon().await;
    node.heard_connect().await;
    assert_eq!(session.join(&["r2"]).await.unwrap(), ["r1", "r2"]);
    assert_eq!(node.heard().await, client_frame::Frame::Join(Join { rooms: vec!["r2".to_owned()] }));
    // The ticket covers the pushes before it, which have not been handed out yet.
    assert_eq!(session.progress().ticket(), None);
    assert_eq!([session.pushed().await, session.pushed().await], ["a-4", "a-5"]);
    assert!(matches!(session.soon().await, SessionEvent::Rooms(_)));
    assert_eq!(session.progress().ticket(), Some("t2"));
    session.break_connection();
    session.interrupted_soon().await;
    session.connected_soon().await;
    assert_eq!(node.heard_connect().await.rooms, ["r2", "r3"]);
}

#[tokio::test]
async fn what_arrived_before_the_break_is_handed_out() {
    let node = Node::play(vec![vec![say([&push("a", 2), TICKET, CONNECTED]), Step::Stay]]).await;
    let mut session = Session::new(Options::new(&node.url));
    session.connected_soon().await;
    session.break_connection();
    assert_eq!(session.pushed().await, "a-2");
    session.interrupted_soon().await;
    assert_eq!(session.progress().ticket(), Some("t1"));
    assert_eq!(session.progress().position(), &position(&[("a", 3)]));
}

#[tokio::test]
async fn another_node_is_tried_when_one_is_lost_or_not_there() {
    let first = Node::play(vec![vec![say([CONNECTED])]]).await;
    let second = Node::play(vec![vec![say([CONNECTED])]]).await;
    let urls = vec![first.url.clone(), second.url.clone()];
    let mut session = Session::new(Options { urls, ..Options::new(nobody()) });
    let mut present = Vec::new();
    session.interrupted_soon().await;
    for _ in 0..2 {
        present.push(session.nodes.present().to_owned());
        session.connected_soon().await;
        session.interrupted_soon().await;
    }
    present.sort();
    let mut expected = [first.url.clone(), second.url.clone()];
    expected.sort();
    assert_eq!(present, expected);
}

#[tokio::test]
async fn final_codes_end_it_wherever_they_come() {
    for script in [vec![say([CONNECTED]), Step::Close(4503)], vec![Step::Close(4501)]] {
        let node = Node::play(vec![script]).await;
        let mut session = Session::new(Options { urls: vec![nobody()], ..Options::new(&node.url) });
        let error = loop {
            match session.next().await {
                Ok(event) => assert!(matches!(event, SessionEvent::Connected(_)), "{event:?}"),
                Err(error) => break error,
            }
        };
        let code = match error {
            SessionError::Closed { closed, .. } => closed.code,
            SessionError::Connect(ConnectError::Closed { closed, .. }) => closed.code,
            SessionError::Connect(other) => panic!("{other}"),
        };
        assert!(matches!(code, Some(4501 | 4503)), "{code:?}");
    }
}

#[tokio::test]
async fn whoever_waits_a_little_at_a_time_gets_everything() {
    let mut node = Node::play(vec![
        vec![say([CONNECTED, TICKET, &push("a", 4), &push("a", 5)])],
        vec![say([RECOVERED, &push("a", 6)]), Step::Stay],
    ])
    .await;
    let mut session = Session::new(Options::new(&node.url));
    let mut pushes = Vec::new();
    while pushes.len() < 3 {
        // Polled once and dropped.
        match futures::FutureExt::now_or_never(session.soon()) {
            Some(SessionEvent::Push(push)) => pushes.push(push.message_id),
            Some(_) => {}
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    assert_eq!(pushes, ["a-4", "a-5", "a-6"]);
    // Two connections, and no third one was begun.
    node.heard_connect().await;
    assert_eq!(node.heard_connect().await.resume.unwrap().position, position(&[("a", 5)]));
}
