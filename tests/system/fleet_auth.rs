//! Managers and nodes that prove themselves to each other, and those who cannot.

use std::time::Duration;

use pushcast_tests::{
    authority::{Authority, Files, text},
    eventually::{check, eventually},
    fleet::{Flags, Fleet, Manager, Node, Plan, TicketKey},
    processes::Process,
};
use pushctl::push::{Push, Target};

#[path = "fleet_auth/intruder.rs"]
mod intruder;

use intruder::{Intruder, Tap};

/// Several attempts of a manager at a node, whose pauses grow to 5 s, doubled.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// So long nothing may have come of attempts that go on every second or so.
const NOTHING_FOR: Duration = Duration::from_secs(4);

/// More than the looks of a process at its files (1 s each), doubled.
const SEEN_WITHIN: Duration = Duration::from_secs(6);

/// Flags of a fleet with one key.
fn by_key(key: &TicketKey) -> [(&str, &str); 2] {
    [("--fleet-auth", "key"), ("--fleet-key-file", key.path())]
}

/// Flags of a process that has this certificate.
fn by_certificate<'a>(ca: &'a str, files: &'a Files) -> [(&'a str, &'a str); 4] {
    [
        ("--fleet-auth", "mtls"),
        ("--fleet-ca-file", ca),
        ("--fleet-cert-file", text(&files.cert)),
        ("--fleet-private-key-file", text(&files.key)),
    ]
}

async fn says(process: &Process, what: &str) {
    eventually(&format!("the log says {what:?}"), SAID_WITHIN, async || {
        let log = process.log();
        check(log.contains(what), || log)
    })
    .await;
}

/// Alone with an address where a node seems to be.
async fn manager_of(node: &str, flags: Flags<'_>) -> Manager {
    let manager = Manager::start("m1", &[flags, &[("--nodes", node)]].concat()).await;
    manager.ready().await;
    manager
}

async fn push(manager: &Manager, content: &str) -> u32 {
    let answer =
        manager.client().push(Push::new(Target::Room("r1".to_owned()), content.to_owned()), None).await;
    answer.map_or(0, |answer| answer.recipients)
}

/// A manager and a node that do not belong together: no link comes about, nothing is delivered, and one says why.
async fn do_not_link(manager_flags: Flags<'_>, node_flags: Flags<'_>, manager_says: &str, node_says: &str) {
    let node = Node::alone("n1", node_flags).await;
    let _client = node.listen("u1", &["r1"]).await;
    let manager = manager_of(&node.addr.grpc, manager_flags).await;
    says(&manager.process, manager_says).await;
    if !node_says.is_empty() {
        says(&node.process, node_says).await;
        assert!(node.metrics().await.sum("connect_node_fleet_refused_total", &[]) >= 1.0);
    }
    assert_eq!(push(&manager, "not for you").await, 0);
    // Without proof there is nothing that it could refuse.
    let refused = if manager_flags.contains(&("--fleet-auth", "none")) { 0.0 } else { 1.0 };
    let linked = manager.metrics().await.sum("push_manager_links", &[("state", "linked")]);
    assert_eq!(linked, 0.0, "{}", manager.process.log());
    assert_eq!(node.metrics().await.sum("connect_node_links", &[]), 0.0);
    assert!(
        manager.metrics().await.sum("push_manager_fleet_refused_total", &[]) >= refused,
        "{manager_flags:?}"
    );
    // Once and not at every attempt.
    let log = manager.process.log();
    assert_eq!(
        log.lines().filter(|line| line.contains("WARN") && line.contains("Link is down")).count(),
        1,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_a_key_delivers_and_those_without_it_are_left_out() {
    let (key, other) = (TicketKey::new(), TicketKey::new());
    let flags = by_key(&key);
    let mut fleet = Fleet::of(Plan {
        managers: 2,
        nodes: 2,
        manager_flags: &flags,
        node_flags: &flags,
        ..Plan::default()
    })
    .await;
    let mut client = fleet.nodes[1].listen("u1", &["r1"]).await;
    for manager in &fleet.managers {
        assert_eq!(push(manager, "hello").await, 1);
        assert_eq!(client.next_text().await, "hello");
        // Questions go another way than pushes.
        let nodes = manager.client().nodes().await.unwrap().nodes;
        assert_eq!(nodes.iter().map(|node| node.connections).sum::<u64>(), 1);
    }
    // In the same registry, and everybody knows of it.
    let stranger = by_key(&other);
    fleet.add_node("stranger", &stranger, false).await;
    says(&fleet.managers[0].process, "it has not our fleet key").await;
    says(&fleet.nodes[2].process, "it does not accept our proof").await;
    let answer = fleet.managers[0]
        .client()
        .push(Push::new(Target::Room("r1".to_owned()), "still"), None)
        .await
        .unwrap();
    assert_eq!((answer.recipients, answer.acked, answer.pending_nodes), (1, 2, vec!["stranger".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_same_proof_nothing_comes_about() {
    let (key, other) = (TicketKey::new(), TicketKey::new());
    let (with, with_other) = (by_key(&key), by_key(&other));
    let without = [("--fleet-auth", "none")];
    tokio::join!(
        do_not_link(&with, &with_other, "it has not our fleet key", "it does not accept our proof"),
        do_not_link(&without, &with, "has it the same --fleet-auth?", "it does not speak TLS"),
        do_not_link(&with, &without, "has it the same --fleet-auth?", ""),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_exchanged_while_pushes_go_on() {
    let file = TicketKey::new();
    let flags = by_key(&file);
    let (old, new) = ([1; 32], [2; 32]);
    file.write(&[old]);
    let mut fleet =
        Fleet::of(Plan { nodes: 1, manager_flags: &flags, node_flags: &flags, ..Plan::default() }).await;
    let mut client = fleet.nodes[0].listen("u1", &["r1"]).await;
    let mut pushed = 0;
    for (step, keys) in [vec![old, new], vec![new, old], vec![new]].into_iter().enumerate() {
        file.write(&keys);
        for process in [&fleet.managers[0].process, &fleet.nodes[0].process] {
            eventually("the keys are read", SEEN_WITHIN * 2, async || {
                let log = process.log();
                let times = log.matches("was read anew").count();
                check(times > step, || log)
            })
            .await;
        }
        // Who comes now proves itself anew.
        let id = format!("late-{step}");
        fleet.add_node(&id, &flags, false).await;
        fleet.settled().await;
        let mut late = fleet.nodes.last().unwrap().listen("u2", &["r1"]).await;
        for _ in 0..20 {
            assert_eq!(push(&fleet.managers[0], &pushed.to_string()).await, 2);
            assert_eq!(late.next_text().await, pushed.to_string());
            pushed += 1;
        }
        drop(late);
        fleet.nodes.pop().unwrap().process.terminate();
        fleet.managers[0].knows(&["n1"], SAID_WITHIN).await;
    }
    assert_eq!(push(&fleet.managers[0], "end").await, 1);
    let expected: Vec<String> = (0..pushed).map(|n| n.to_string()).collect();
    assert_eq!(client.texts_until("end").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_the_fleet_are_taken_and_all_others_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (ca, strange_ca) = (authority.ca(), stranger.ca());
    let (ca, strange_ca) = (text(&ca), text(&strange_ca));
    let manager = authority.member("m", "push-manager", false);
    let node = authority.member("n", "connect-node", false);
    let (manager, node) = (by_certificate(ca, &manager), by_certificate(ca, &node));
    let running = Node::alone("n1", &node).await;
    let mut client = running.listen("u1", &["r1"]).await;
    let linked = manager_of(&running.addr.grpc, &manager).await;
    eventually("it is delivered", SAID_WITHIN, async || {
        let recipients = push(&linked, "hello").await;
        check(recipients == 1, || format!("{recipients}"))
    })
    .await;
    assert_eq!(client.next_text().await, "hello");
    let (of_manager, of_node) = (linked.metrics().await, running.metrics().await);
    let fleet = [("used_for", "fleet")];
    for (metrics, component) in [(of_manager, "push_manager"), (of_node, "connect_node")] {
        let edge = |edge| metrics.sum(&format!("{component}_certificate_not_{edge}_seconds"), &fleet);
        // As rcgen has it unless told otherwise: from 1975 to 4096.
        assert_eq!((edge("before"), edge("after")), (157_766_400.0, 67_090_118_400.0), "{component}");
    }

    let old_manager = authority.member("old-m", "push-manager", true);
    let old_node = authority.member("old-n", "connect-node", true);
    let strange_manager = stranger.member("m", "push-manager", false);
    // A node that would like to be a manager.
    let climber = authority.member("climber", "connect-node", false);
    // It trusts our authority, and is of another one.
    let strange_manager = by_certificate(ca, &strange_manager);
    let (old_manager, old_node) = (by_certificate(ca, &old_manager), by_certificate(ca, &old_node));
    let climber = by_certificate(ca, &climber);
    let elsewhere = authority.member("elsewhere", "connect-node", false);
    let elsewhere = by_certificate(strange_ca, &elsewhere);
    tokio::join!(
        do_not_link(
            &old_manager,
            &node,
            "it does not accept our proof",
            "its certificate is not accepted: it has expired"
        ),
        do_not_link(
            &manager,
            &old_node,
            "its certificate is not accepted: it has expired",
            "it does not accept our proof"
        ),
        do_not_link(
            &strange_manager,
            &node,
            "it does not accept our proof",
            "its certificate is not accepted"
        ),
        do_not_link(&climber, &node, "it does not accept our proof", "its certificate is not accepted"),
        do_not_link(&manager, &elsewhere, "it does not accept our proof", "its certificate is not accepted"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_in_between_gets_nothing() {
    let key = TicketKey::new();
    let authority = Authority::new();
    let ca = authority.ca();
    let manager = authority.member("m", "push-manager", false);
    let node = authority.member("n", "connect-node", false);
    let key = by_key(&key);
    let ways: [(Flags<'_>, Flags<'_>); 2] =
        [(&key, &key), (&by_certificate(text(&ca), &manager), &by_certificate(text(&ca), &node))];
    for (manager_flags, node_flags) in ways {
        let node = Node::alone("n1", node_flags).await;
        let _client = node.listen("u1", &["r1"]).await;
        let intruder = Intruder::start(&node.addr.grpc).await;
        let manager = manager_of(&intruder.addr, manager_flags).await;
        eventually("somebody tried to get in between", SAID_WITHIN, async || {
            check(intruder.attempts() > 1, || format!("{}", intruder.attempts()))
        })
        .await;
        assert_eq!(push(&manager, "for nobody else").await, 0);
        tokio::time::sleep(NOTHING_FOR).await;
        assert_eq!(intruder.heard(), 0, "bytes in clear");
        assert_eq!(node.metrics().await.sum("connect_node_links", &[]), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_taps_the_line_reads_nothing() {
    const CONTENT: &str = "nobody reads this who has no key";
    let key = TicketKey::new();
    let (with, without) = (by_key(&key), [("--fleet-auth", "none")]);
    let ways: [(Flags<'_>, bool); 2] = [(&with, false), (&without, true)];
    for (flags, is_read) in ways {
        let node = Node::alone("n1", flags).await;
        let mut client = node.listen("u1", &["r1"]).await;
        let tap = Tap::start(&node.addr.grpc).await;
        let manager = manager_of(&tap.addr, flags).await;
        eventually("it is delivered", SAID_WITHIN, async || {
            let recipients = push(&manager, CONTENT).await;
            check(recipients == 1, || format!("{recipients}"))
        })
        .await;
        assert_eq!(client.next_text().await, CONTENT);
        assert_eq!(tap.heard(CONTENT.as_bytes()), is_read);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_ones_keep_no_manager_out() {
    let key = TicketKey::new();
    let flags = by_key(&key);
    let node = Node::alone("n1", &flags).await;
    let mut silent = Vec::new();
    // More than a node waits for at a time (1,024).
    for _ in 0..1_100 {
        silent.push(tokio::net::TcpStream::connect(&node.addr.grpc).await.unwrap());
    }
    let mut client = node.listen("u1", &["r1"]).await;
    let manager = manager_of(&node.addr.grpc, &flags).await;
    eventually("it is delivered", SAID_WITHIN, async || {
        let recipients = push(&manager, "hello").await;
        check(recipients == 1, || format!("{recipients}"))
    })
    .await;
    assert_eq!(client.next_text().await, "hello");
    says(&node.process, "it did not finish its handshake").await;
}
