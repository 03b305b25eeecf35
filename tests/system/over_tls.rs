//! Clients that reach a node over TLS.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use pushcast_tests::{
    authority::{Authority, ends},
    eventually::{check, eventually},
    fleet::Node,
    listener::Listener,
    processes::Process,
    raw::exchange_bytes,
};
use pushctl::client::{Client, ConnectError, Event, Options};
use serde_json::Value;
use tokio::task::JoinSet;

/// Python's or Chromium's start on a busy machine takes a fraction of it.
const WITHIN: Duration = Duration::from_secs(150);

/// Names of a node on this machine.
const LOCAL: &[&str] = &["localhost", "127.0.0.1"];

const PYTHON_CLIENTS: usize = 40;

/// More than three rounds of the node's own looks at its files (1 s each, and a tenth for them to stand still), doubled.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn secure(node: &Node) -> String {
    format!("wss://{}/ws", node.addr.ws)
}

fn trusting(node: &Node, authority: &Authority, user: &str) -> Options {
    let config = pushcast_common::tls::client::trusting(Some(&authority.ca()), None).unwrap();
    Options { url: secure(node), tls: Some(Arc::new(config)), ..node.options(user, &["r1"]) }
}

fn script(program: &Path, path: &str, node: &Node, authority: &Authority) -> Command {
    let mut command = Command::new(program);
    command.arg(tests().join(path)).arg(secure(node)).arg(authority.ca());
    command
}

async fn says(process: &mut Process, what: &str) {
    eventually(&format!("the script says {what:?}"), WITHIN, async || {
        let printed = process.printed();
        let running = process.is_running();
        if printed.iter().any(|line| line == what) {
            return Ok(());
        }
        assert!(running, "it ended before: {printed:?}\n{}", process.log());
        Err(format!("{printed:?}"))
    })
    .await;
}

async fn exits_well(process: &mut Process) -> Vec<String> {
    let status = process.exit(WITHIN).await;
    assert!(status.success(), "{status}: {:?}\n{}", process.printed(), process.log());
    process.printed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_exchanged_under_load_and_no_connection_notices() {
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let node = Node::alone("n1", &files.flags()).await;
    let mut ours = Listener::connect(trusting(&node, &authority, "ours")).await;
    let mut python = script(&tests().join("../.venv/bin/python"), "python/over_tls.py", &node, &authority);
    python.arg(PYTHON_CLIENTS.to_string());
    let mut python = Process::start("python", python);
    let mut chromium =
        Process::start("chromium", script(Path::new("node"), "browser/over_tls.mjs", &node, &authority));
    says(&mut python, "connected").await;
    says(&mut chromium, "connected").await;

    let mut pushed = 0_u32;
    let everybody = PYTHON_CLIENTS as u32 + 2;
    for serial in 2..=4 {
        authority.certify(LOCAL, serial);
        let mut shown = 1.0;
        eventually("another certificate is shown", SEEN_WITHIN, async || {
            for _ in 0..5 {
                // Lookers of the script come and go in the same room.
                let recipients = node.push_here("r1", &pushed.to_string()).await;
                assert!(recipients >= everybody, "only {recipients} of {everybody} are still there");
                pushed += 1;
            }
            shown =
                node.metrics().await.sum("connect_node_tls_certificate_reads_total", &[("outcome", "ok")]);
            check(shown >= serial as f64 - 1.0, || format!("{shown}"))
        })
        .await;
        says(&mut python, &format!("serial {serial:02}")).await;
        let labels = [("used_for", "listener")];
        let shown = node.metrics().await.sum("connect_node_certificate_not_after_seconds", &labels);
        assert_eq!(shown, ends(serial) as f64);
    }
    node.push_here("r1", "end").await;

    let expected: Vec<String> = (0..pushed).map(|n| n.to_string()).collect();
    assert_eq!(ours.texts_until("end").await, expected);
    let printed = exits_well(&mut python).await;
    let report: Value = serde_json::from_str(printed.last().unwrap()).unwrap();
    let received = report["received"].as_array().unwrap();
    assert_eq!(received.len(), PYTHON_CLIENTS);
    for texts in received {
        assert_eq!(*texts, serde_json::json!(expected));
    }
    assert_eq!(report["serials"], serde_json::json!(["01", "02", "03", "04"]));
    assert!(report["strangers"].as_str().unwrap().contains("self-signed certificate"), "{report}");
    let printed = exits_well(&mut chromium).await;
    assert_eq!(printed.last().unwrap(), &format!("received {pushed}"));
    let metrics = node.metrics().await;
    assert_eq!(metrics.sum("connect_node_closed_total", &[]) as usize, {
        let by_client = metrics.sum("connect_node_closed_total", &[("code", "client")]);
        by_client as usize
    });
    assert!(metrics.sum("connect_node_tls_handshakes_total", &[("outcome", "ok")]) > everybody.into());
    assert!(
        metrics.sum("connect_node_tls_handshakes_total", &[("outcome", "failed")]) >= 1.0,
        "the stranger"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_leave_the_certificate_as_it_is() {
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let node = Node::alone("n1", &files.flags()).await;
    let failed = async |n: f64| {
        eventually("the node has given the files up", SEEN_WITHIN, async || {
            let labels = [("outcome", "failed")];
            let failed = node.metrics().await.sum("connect_node_tls_certificate_reads_total", &labels);
            check(failed == n, || format!("{failed}"))
        })
        .await;
        let _client = Client::connect(&trusting(&node, &authority, "u1")).await.unwrap();
    };
    let good_key = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, "no key at all").unwrap();
    failed(1.0).await;
    std::fs::remove_file(&files.key).unwrap();
    failed(2.0).await;
    authority.certify(LOCAL, 2);
    std::fs::write(&files.key, good_key).unwrap();
    failed(3.0).await;
    let log = node.process.log();
    for says in ["has no private key", "cannot read", "is not the key of the certificate"] {
        assert!(log.contains(says), "{says} is missing in {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_the_wrong_way_is_told() {
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let node = Node::alone("n1", &files.flags()).await;
    let answer = exchange_bytes(&node.addr.ws, b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("use wss://"), "{answer}");
    let plain = Node::alone("n2", &[]).await;
    let error = Client::connect(&trusting(&plain, &authority, "u1")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    let stranger = Authority::new();
    let error = Client::connect(&trusting(&node, &stranger, "u1")).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls { reason, .. } if reason.contains("certificate")), "{error}");
    // Another name than the certificate has.
    let elsewhere = authority.certify(&["elsewhere.example"], 2);
    let node = Node::alone("n3", &elsewhere.flags()).await;
    let error = Client::connect(&trusting(&node, &authority, "u1")).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls { reason, .. } if reason.contains("name")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_handshakes_keep_nobody_out() {
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let node = Node::alone("n1", &files.flags()).await;
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut socket = tokio::net::TcpStream::connect(&node.addr.ws).await.unwrap();
        if n % 2 == 0 {
            use tokio::io::AsyncWriteExt as _;
            // The beginning of a handshake record that never ends.
            socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
        }
        silent.push(socket);
    }
    let mut client = Listener::connect(trusting(&node, &authority, "u1")).await;
    assert_eq!(node.push_here("r1", "hello").await, 1);
    assert_eq!(client.next_text().await, "hello");
    eventually("the node lets go of the silent ones", Duration::from_secs(20), async || {
        let metrics = node.metrics().await;
        let began = metrics.sum("connect_node_tls_handshakes_total", &[("outcome", "timeout")]);
        let silent = metrics.sum("connect_node_upgrades_refused_total", &[("reason", "slow_head")]);
        check((began, silent) == (150.0, 150.0), || format!("{began} and {silent}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_nothing_is_closed_as_slow_and_the_others_notice_nothing() {
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let mut flags = files.flags().to_vec();
    flags.push(("--outbox-bytes", "128KiB"));
    let node = Node::alone("n1", &flags).await;
    let mut slow = Listener::connect(trusting(&node, &authority, "slow")).await;
    let mut healthy = Listener::connect(trusting(&node, &authority, "healthy")).await;
    let content = "x".repeat(32 * 1024);
    let mut pushed = 0;
    eventually("the slow one is closed", Duration::from_secs(60), async || {
        node.push_here("r1", &content).await;
        pushed += 1;
        assert_eq!(healthy.next_text().await.len(), content.len());
        let closed = node.metrics().await.sum("connect_node_slow_closes_total", &[]);
        check(closed == 1.0, || format!("{closed}"))
    })
    .await;
    let mut received = 0;
    // Whole frames up to the Close, whatever was dropped before it.
    let closed = loop {
        match slow.next_push_or_end().await {
            Ok(push) => {
                assert_eq!(push.text.len(), content.len());
                received += 1;
            }
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed.code, Some(4001), "{closed}");
    assert!(received < pushed, "{received} of {pushed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_takes_little_memory() {
    const WARM: usize = 100;
    const IDLE: usize = 1_000;
    let authority = Authority::new();
    let files = authority.certify(LOCAL, 1);
    let mut flags = files.flags().to_vec();
    flags.extend([("--heartbeat", "2s"), ("--max-connections-per-address", "none")]);
    flags.push(("--max-connections-per-user", "none"));
    let node = Node::alone("n1", &flags).await;
    let options = trusting(&node, &authority, "idle");
    let connect = async |count: usize| {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let mut client = Client::connect(&options).await.unwrap();
            tasks.spawn(async move {
                loop {
                    if let Event::Closed(closed) = client.next().await {
                        panic!("{closed}");
                    }
                }
            });
        }
        // Everybody has had a heartbeat, or two.
        tokio::time::sleep(Duration::from_secs(5)).await;
        tasks
    };
    let mut warm = connect(WARM).await;
    let before = node.process.resident_bytes();
    let mut idle = connect(IDLE).await;
    let each = node.process.resident_bytes().saturating_sub(before) / IDLE as u64;
    // Whoever is gone takes no memory.
    assert!(warm.try_join_next().is_none() && idle.try_join_next().is_none());
    assert!(each <= 12 << 10, "{each} bytes for each connection");
}
