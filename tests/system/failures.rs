//! A node dies, freezes or crawls: answers wait a second at most, and nobody else notices.

use std::time::Duration;

use pushcast_proto::pushmanager::v1::PushAnswer;
use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Plan, TicketKey},
    listener::text,
};
use pushctl::{
    client::Options,
    push::{Push, PushClient},
    session::{Session, SessionEvent},
};
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

use crate::load::{Counting, assert_consecutive, median_latency, turn};

const WITHIN: Duration = Duration::from_secs(40);
/// A node is waited for at most a second, which a machine that stands still makes longer. Whoever waits for an answer of all
/// waits until the deadline, 5 s.
const ANSWERED: Duration = Duration::from_secs(4);

/// So long a node is known that died or stands still: longer than what is looked at meanwhile takes on a busy machine.
const KNOWN_FOR: [(&str, &str); 1] = [("--etcd-lease", "10s")];

async fn timed(client: &PushClient, push: Push) -> (PushAnswer, Duration) {
    let start = Instant::now();
    let answer = client.push(push, None).await.unwrap();
    (answer, start.elapsed())
}

/// Times of the same code on the same machine, which may have more to do beside it the second time. A wait for the bad node
/// would be a second.
fn assert_unchanged(before: Duration, during: Duration) {
    assert!(during < before * 4 + Duration::from_millis(100), "latency went from {before:?} to {during:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_named_as_pending_until_it_is_forgotten() {
    let _turn = turn().await;
    let fleet = Fleet::of(Plan { node_flags: &KNOWN_FOR, ..Plan::default() }).await;
    let client = fleet.pusher();
    let mut healthy = fleet.nodes[0].listen("healthy", &["r"]).await;
    let _lost = fleet.nodes[2].listen("lost", &["r"]).await;
    let before = median_latency(&client, "r", &mut healthy).await;

    fleet.nodes[2].process.kill();
    let (answer, took) = timed(&client, Push::to_room("r", "right after")).await;
    assert!(took < ANSWERED, "{took:?}");
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (3, 2, 1), "{answer:?}");
    assert_eq!(answer.pending_nodes, ["n3"]);
    let during = median_latency(&client, "r", &mut healthy).await;
    assert_unchanged(before, during);

    fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    let pending_answers = async || {
        let metrics = fleet.managers[0].metrics().await;
        metrics.sum("push_manager_pending_answers_total", &[("api", "PushToRoom")])
    };
    let counted = pending_answers().await;
    assert!(counted >= 1.0, "{counted}");
    let (answer, _) = timed(&client, Push::to_room("r", "later")).await;
    assert_eq!((answer.nodes, answer.acked), (2, 2), "{answer:?}");
    assert_eq!(answer.pending_nodes, Vec::<String>::new());
    assert_eq!(pending_answers().await, counted, "an answer without pending nodes is not counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_gets_what_it_missed_in_order_when_it_goes_on() {
    let _turn = turn().await;
    let fleet = Fleet::of(Plan { node_flags: &KNOWN_FOR, ..Plan::default() }).await;
    let client = fleet.pusher();
    let mut healthy = fleet.nodes[0].listen("healthy", &["probe"]).await;
    let frozen = Counting::start(fleet.nodes[2].listen("frozen", &["r"]).await, |number| number == 199);
    for number in 0..50 {
        let answer = client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
        assert_eq!((answer.acked, answer.recipients), (3, 1), "{answer:?}");
    }
    let before = median_latency(&client, "probe", &mut healthy).await;

    fleet.nodes[2].process.freeze();
    let (answer, took) = timed(&client, Push::to_room("r", "50")).await;
    assert!(took < ANSWERED, "{took:?}");
    assert_eq!((answer.nodes, answer.acked), (3, 2), "{answer:?}");
    assert_eq!(answer.pending_nodes, ["n3"]);
    let listed = client.nodes().await.unwrap();
    assert_eq!(listed.nodes.len(), 3, "{listed:?}");
    assert_eq!(listed.silent_nodes, ["n3"], "{listed:?}");
    // Only the first waited the second; the same for each of these would take 49 s.
    let start = Instant::now();
    for number in 51..100 {
        let answer = client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
        assert!(answer.acked == 2, "{answer:?}");
    }
    assert!(start.elapsed() < 2 * ANSWERED, "{:?}", start.elapsed());
    let during = median_latency(&client, "probe", &mut healthy).await;
    assert_unchanged(before, during);
    // Long enough for the link to be given up (3 s) and for its lease to end.
    fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    for number in 100..150 {
        client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
    }

    fleet.nodes[2].process.thaw();
    fleet.managers[0].knows(&["n1", "n2", "n3"], WITHIN).await;
    for number in 150..200 {
        client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
    }
    let (numbers, code) = frozen.finish(WITHIN).await;
    assert_eq!((numbers.len(), code), (200, None));
    assert_consecutive("the frozen node's client", &numbers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_slow_line_falls_behind_alone_and_catches_up() {
    const MESSAGES: u64 = 500;
    let _turn = turn().await;
    let fleet = Fleet::of(Plan { behind_proxy: &["n3"], ..Plan::default() }).await;
    let client = fleet.pusher();
    let mut probe = fleet.nodes[1].listen("probe", &["probe"]).await;
    let last = |number| number == MESSAGES - 1;
    let fast = Counting::start(fleet.nodes[0].listen("fast", &["r"]).await, last);
    let slow = Counting::start(fleet.nodes[2].listen("slow", &["r"]).await, last);
    let before = median_latency(&client, "probe", &mut probe).await;

    fleet.nodes[2].proxy.as_ref().unwrap().throttle(64 << 10);
    let mut answers = JoinSet::new();
    // On a schedule: calls that take long must not make it a rate that the line can carry.
    let mut tick = interval(Duration::from_millis(5));
    for number in 0..MESSAGES {
        tick.tick().await;
        // 1 KiB every 5 ms is three times what the line carries. Accepted in order: the first call of each
        // is only answered late.
        let content = format!("{number:01024}");
        let accepted =
            Push { ack: pushcast_proto::pushmanager::v1::Ack::Accepted, ..Push::to_room("r", content) };
        client.push(accepted, None).await.unwrap();
        if number % 10 == 0 {
            let client = client.clone();
            answers.spawn(async move { timed(&client, Push::to_room("nobody", "probe")).await });
        }
    }
    let during = median_latency(&client, "probe", &mut probe).await;
    assert_unchanged(before, during);
    let (numbers, _) = fast.finish(WITHIN).await;
    assert_consecutive("fast", &numbers);
    assert!(slow.received() < MESSAGES, "the slow line is not slow");
    let mut pending = 0;
    while let Some(answer) = answers.join_next().await {
        let (answer, took) = answer.unwrap();
        assert!(took < ANSWERED, "{took:?} {answer:?}");
        assert!(answer.pending_nodes.is_empty() || answer.pending_nodes == ["n3"], "{answer:?}");
        pending += usize::from(!answer.pending_nodes.is_empty());
    }
    assert!(pending > 0, "the slow node was never pending");

    // Over the slow line still: falling behind must not become never arriving.
    let (numbers, code) = slow.finish(Duration::from_secs(60)).await;
    assert_eq!((numbers.len() as u64, code), (MESSAGES, None));
    assert_consecutive("slow", &numbers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_swallows_everything_is_noticed_and_replaced() {
    let fleet = Fleet::of(Plan { nodes: 2, behind_proxy: &["n2"], ..Plan::default() }).await;
    let client = fleet.pusher();
    let listener = Counting::start(fleet.nodes[1].listen("u1", &["r"]).await, |number| number == 29);
    let proxy = fleet.nodes[1].proxy.as_ref().unwrap();
    for number in 0..10 {
        client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
    }
    proxy.go_silent();
    let (answer, took) = timed(&client, Push::to_room("r", "10")).await;
    assert!(took < ANSWERED, "{took:?}");
    assert_eq!(answer.pending_nodes, ["n2"]);
    eventually("the manager gives the link up", WITHIN, async || {
        let nodes = client.nodes().await.map_err(|status| status.to_string())?.nodes;
        check(nodes.iter().any(|node| node.node_id == "n2" && node.link != "linked"), || format!("{nodes:?}"))
    })
    .await;
    for number in 11..20 {
        let (answer, _) = timed(&client, Push::to_room("r", number.to_string())).await;
        // Its record is there, so it is known and pending.
        assert_eq!((answer.nodes, answer.acked), (2, 1), "{answer:?}");
    }
    // Cut as well, so that nothing of the old connections comes through late.
    proxy.cut();
    proxy.heal();
    fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    for number in 20..30 {
        client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
    }
    let (numbers, _) = listener.finish(WITHIN).await;
    assert_eq!(numbers.len(), 30);
    assert_consecutive("u1", &numbers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_link_continues_where_it_was() {
    // With one shard the links run on the shard's own thread.
    let flags = [("--shards", "1")];
    let plan = Plan { nodes: 1, node_flags: &flags, behind_proxy: &["n1"], ..Plan::default() };
    let fleet = Fleet::of(plan).await;
    let client = fleet.pusher();
    let listener = Counting::start(fleet.nodes[0].listen("u1", &["r"]).await, |number| number == u64::MAX);
    let load = crate::load::SteadyLoad::start(&client, "r", 1_000).await;
    for _ in 0..8 {
        load.more(300).await;
        fleet.nodes[0].proxy.as_ref().unwrap().cut();
    }
    load.more(300).await;
    let answers = load.finish().await;
    fleet.managers[0].knows(&["n1"], WITHIN).await;
    client.push(Push::to_room("r", u64::MAX.to_string()), None).await.unwrap();
    let (mut numbers, code) = listener.finish(WITHIN).await;
    assert_eq!((numbers.pop(), code), (Some(u64::MAX), None));
    assert_consecutive("u1", &numbers);
    assert_eq!(numbers.len(), answers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_manager_is_replaced_by_any_other() {
    let fleet = Fleet::of(Plan { managers: 2, nodes: 2, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    fleet.managers[0].client().push(Push::to_room("r", "first"), None).await.unwrap();
    fleet.managers[0].process.kill();
    let answer = fleet.managers[1].client().push(Push::to_room("r", "second"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (2, 2, 1));
    assert_eq!(listener.next_text().await, "first");
    assert_eq!(listener.next_text().await, "second");
    eventually("its record ends with its lease", WITHIN, async || {
        let keys = fleet.etcd.keys("/pushcast/managers/").await;
        check(keys.len() == 1, || format!("{keys:?}"))
    })
    .await;
    // The dead manager's clients are the living one's clients: nobody was closed.
    fleet.managers[1].client().push(Push::to_room("r", "third"), None).await.unwrap();
    assert_eq!(listener.next_text().await, "third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_no_longer_reaches_is_a_hole_and_clients_resume_elsewhere_from_before_it() {
    let log = [("--log-bytes", "4MiB")];
    let key = TicketKey::new();
    let flags = [("--ticket-key-file", key.path())];
    let plan =
        Plan { nodes: 2, manager_flags: &log, node_flags: &flags, behind_proxy: &["n2"], ..Plan::default() };
    let fleet = Fleet::of(plan).await;
    fleet.complete().await;
    let client = fleet.pusher();
    let mut bystander = fleet.nodes[0].listen("bystander", &["r"]).await;
    let options = Options { urls: vec![fleet.nodes[0].url()], ..fleet.nodes[1].options("u1", &["r"]) };
    let mut session = Session::new(options);
    assert!(matches!(session.next().await.unwrap(), SessionEvent::Connected(_)));
    client.push(Push::to_room("r", "0"), None).await.unwrap();
    assert_eq!(next_text(&mut session).await, "0");
    let proxy = fleet.nodes[1].proxy.as_ref().unwrap();
    proxy.drop_all();
    // Twice what the log holds goes by, most of it for nobody: a client's outbox takes what is caught up on.
    let (sender, mut results) = client.stream(64).await.unwrap();
    for number in 1..=256_u64 {
        for (room, content) in [("r", number.to_string()), ("nobody", "x".repeat(32 << 10))] {
            let ack = pushcast_proto::pushmanager::v1::Ack::Accepted;
            sender.send(number, Push { ack, ..Push::to_room(room, content) }).await.unwrap();
            results.next().await.unwrap().unwrap().1.unwrap();
        }
    }
    proxy.heal();
    // The node without the hole has it all, and so has whoever goes there.
    for number in 1..=256_u64 {
        assert_eq!(next_text(&mut session).await, number.to_string());
    }
    fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    client.push(Push::to_room("r", "last"), None).await.unwrap();
    assert_eq!(next_text(&mut session).await, "last");
    assert_eq!(bystander.texts_until("last").await.len(), 257, "nobody else noticed");

    let [whole, holed] = [fleet.nodes[0].metrics().await, fleet.nodes[1].metrics().await];
    let lost = holed.sum("connect_node_lost_messages_total", &[]);
    assert!((1.0..512.0).contains(&lost), "{lost} lost in a log of 4 MiB");
    assert_eq!(holed.sum("connect_node_holes_total", &[]), 1.0);
    assert_eq!(holed.sum("connect_node_closed_total", &[("code", "4003")]), 1.0);
    assert_eq!(whole.sum("connect_node_lost_messages_total", &[]), 0.0);
    assert_eq!(whole.sum("connect_node_resumes_total", &[("outcome", "recovered")]), 1.0);
}

/// The next push of a session, however many connections it takes.
async fn next_text(session: &mut Session) -> String {
    let next = async {
        loop {
            match session.next().await.unwrap() {
                SessionEvent::Push(push) => return text(&push),
                SessionEvent::Connected(connected) => assert_eq!(connected.recovered, Some(true)),
                _ => {}
            }
        }
    };
    tokio::time::timeout(WITHIN, next).await.expect("what was pushed arrives")
}
