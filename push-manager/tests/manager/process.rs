//! The program itself: flags, metrics, signals.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use crate::{
    harness::until,
    http::{get, post},
    sink::{Options, Sink},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_push-manager");
const OPEN: [&str; 4] =
    ["--api-auth=none", "--fleet-auth=none", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0"];

struct Process {
    child: Child,
    http_addr: SocketAddr,
}

impl Process {
    fn start(sink: &Sink) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(OPEN)
            .arg(format!("--nodes={}", sink.addr))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        log.read_line(&mut first).unwrap();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!(first["message"], "listening");
        let http_addr = first["http_addr"].as_str().unwrap().parse().unwrap();
        // Nobody reads the rest, but it must not block the program.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, http_addr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(series));
    line.unwrap_or_else(|| panic!("{series} is missing in {metrics}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_a_signal_ends_it_cleanly() {
    let a = Sink::with("a", Options { rooms: vec![("r", 2)], ..Options::default() });
    let mut process = Process::start(&a);
    let http = process.http_addr;
    until("it is ready", async || get(http, "/readyz").await.is_some_and(|answer| answer.status == 200))
        .await;
    post(http, "/v1/rooms/r/push", b"x").await;
    post(http, "/v1/rooms/empty/push", b"x").await;
    post(http, "/v1/users/u/push?ack=accepted", b"x").await;
    post(http, "/v1/users/%00/push", b"x").await;
    until("the last is acknowledged", async || {
        let metrics = get(http, "/metrics").await.unwrap().body;
        value(&metrics, "push_manager_broadcast_nodes_total{api=\"PushToUser\"}") == 1.0
    })
    .await;
    let metrics = get(http, "/metrics").await.unwrap().body;
    for (series, expected) in [
        ("push_manager_broadcast_nodes_total{api=\"PushToRoom\"}", 2.0),
        ("push_manager_broadcast_delivered_total{api=\"PushToRoom\"}", 1.0),
        ("push_manager_broadcast_delivered_total{api=\"PushToUser\"}", 0.0),
        ("push_manager_broadcast_nodes_total{api=\"Broadcast\"}", 0.0),
        ("push_manager_requests_total{api=\"PushToRoom\",code=\"OK\"}", 2.0),
        ("push_manager_requests_total{api=\"PushToUser\",code=\"INVALID_ARGUMENT\"}", 1.0),
        ("push_manager_request_seconds_count{api=\"PushToRoom\"}", 2.0),
        ("push_manager_log_head", 3.0),
        ("push_manager_known_nodes", 1.0),
        ("push_manager_links{state=\"linked\"}", 1.0),
        ("push_manager_links{state=\"down\"}", 0.0),
        ("push_manager_link_lag", 0.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty() && output.stdout.is_empty(), "promtool has remarks: {output:?}");

    let pid = process.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert_eq!(a.see(|seen| seen.closed_at), Some(3));
}

#[test]
fn wrong_flags_are_all_named_and_end_in_64() {
    let output = Command::new(PROGRAM).args(["--bogus", "--log-bytes=many"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    for flag in ["--bogus", "--log-bytes", "--api-auth", "--fleet-auth", "--etcd-endpoints"] {
        assert!(text.contains(flag), "{flag} is missing in {text}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut child = Command::new(PROGRAM)
        .args(&OPEN[..2])
        .args(["--nodes=127.0.0.1:1", "--grpc-addr=127.0.0.1:0", &format!("--http-addr={addr}")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(text.contains("--http-addr") && text.contains(&addr.to_string()), "{text}");
}
