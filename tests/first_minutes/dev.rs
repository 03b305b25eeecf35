//! `pushctl dev` itself: what it prints, what it feeds its page, how it fails and how it ends.

use std::{net::TcpListener, process::Stdio, time::Duration};

use pushcast_tests::{
    dev::Dev,
    eventually::{check, equal, eventually},
    http,
    listener::Listener,
    ports::{free_port, free_span},
    processes::{Finished, Process, command, run},
};
use pushctl::{
    client::Options,
    push::{Push, PushClient},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
};

const WITHIN: Duration = Duration::from_secs(20);

async fn dev(arguments: &[&str]) -> Finished {
    let mut command = command("pushctl");
    command.arg("dev").args(arguments);
    run(command, WITHIN).await
}

fn in_room(url: &str, user: &str, room: &str) -> Options {
    Options { user_id: user.to_owned(), rooms: vec![room.to_owned()], ..Options::new(url) }
}

#[tokio::test]
async fn a_push_reaches_the_clients_of_all_three_nodes() {
    let dev = Dev::start().await;
    assert_eq!(dev.nodes.len(), 3, "{:?}", dev.nodes);
    let mut listeners = Vec::new();
    for (index, url) in dev.nodes.iter().enumerate() {
        listeners.push(Listener::connect(in_room(url, &format!("u{index}"), "r1")).await);
    }
    let manager = PushClient::new(&dev.grpc).unwrap();
    let answer = manager.push(Push::to_room("r1", "hello"), Some(WITHIN)).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.delivered_nodes, answer.recipients), (3, 3, 3, 3));
    for listener in &mut listeners {
        assert_eq!(listener.next_text().await, "hello");
    }
}

#[tokio::test]
async fn it_drains_and_ends_when_asked_and_complains_of_nothing() {
    for ctrl_c in [true, false] {
        let mut dev = Dev::start().await;
        let mut listener = Listener::connect(in_room(&dev.nodes[1], "u1", "r1")).await;
        if ctrl_c {
            dev.process.interrupt()
        } else {
            dev.process.terminate()
        }
        assert_eq!(listener.end(WITHIN).await.code, Some(1012));
        assert_eq!(dev.process.exit(WITHIN).await.code(), Some(0));
        assert_eq!(dev.process.log(), "", "what goes well needs no words");
    }
}

/// Orders a node to drain, be killed or start; the status and the body of the answer.
async fn order(dev: &Dev, node: &str, verb: &str) -> (u16, Value) {
    let answer = http::post(&dev.http, &format!("/page/nodes/{node}/{verb}"), "").await.unwrap();
    (answer.status, answer.json())
}

/// Has a node started that is ending, as soon as it has.
async fn start_again(dev: &Dev, node: &str) {
    eventually(&format!("{node} starts again"), WITHIN, async || match order(dev, node, "start").await {
        (200, _) => Ok(()),
        (409, answer) => Err(answer.to_string()),
        other => panic!("{other:?}"),
    })
    .await;
}

/// Waits until a push is sent to so many nodes, and all of them acknowledge it.
async fn pushes_to(dev: &Dev, nodes: u32) {
    let manager = PushClient::new(&dev.grpc).unwrap();
    eventually(&format!("pushes go to {nodes} nodes"), WITHIN, async || {
        let answer = manager.push(Push::to_room("nobody", "?"), Some(WITHIN)).await.unwrap();
        if answer.nodes == nodes && answer.acked == nodes { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_node_drains_alone_and_comes_back() {
    let mut dev = Dev::start_to_restart().await;
    let mut feed = Feed::open(&dev).await;
    let mut leaves = Listener::connect(in_room(&dev.nodes[1], "u1", "r1")).await;
    let mut stays = Listener::connect(in_room(&dev.nodes[2], "u2", "r1")).await;
    assert_eq!(order(&dev, "n2", "drain").await, (200, json!({ "node_id": "n2", "state": "draining" })));
    assert_eq!(leaves.end(WITHIN).await.code, Some(1012));
    feed.next_state("n2", "stopped").await;
    pushes_to(&dev, 2).await;
    let manager = PushClient::new(&dev.grpc).unwrap();
    manager.push(Push::to_room("r1", "while it is down"), Some(WITHIN)).await.unwrap();
    assert_eq!(stays.next_text().await, "while it is down");

    assert_eq!(order(&dev, "n2", "start").await, (200, json!({ "node_id": "n2", "state": "starting" })));
    feed.next_state("n2", "ready").await;
    pushes_to(&dev, 3).await;
    let mut back = Listener::connect(in_room(&dev.nodes[1], "u1", "r1")).await;
    manager.push(Push::to_room("r1", "hello again"), Some(WITHIN)).await.unwrap();
    assert_eq!(back.next_text().await, "hello again");
    assert_eq!(dev.process.log(), "", "what goes well needs no words");
    dev.process.interrupt();
    assert_eq!(dev.process.exit(WITHIN).await.code(), Some(0));
}

#[tokio::test]
async fn a_killed_node_is_gone_at_once_and_expected_until_its_lease_ends() {
    let dev = Dev::start_to_restart().await;
    let mut feed = Feed::open(&dev).await;
    let mut thrown_out = Listener::connect(in_room(&dev.nodes[0], "u1", "r1")).await;
    let mut stays = Listener::connect(in_room(&dev.nodes[2], "u2", "r1")).await;
    assert_eq!(order(&dev, "n1", "kill").await, (200, json!({ "node_id": "n1", "state": "stopped" })));
    // At once, for its lease is short.
    let manager = PushClient::new(&dev.grpc).unwrap();
    let answer = manager.push(Push::to_room("r1", "after it"), Some(WITHIN)).await.unwrap();
    assert_eq!((answer.nodes, answer.acked), (3, 2), "{answer:?}");
    assert_eq!(answer.pending_nodes, ["n1"]);
    assert_eq!(thrown_out.end(WITHIN).await.code, None, "nobody said goodbye");
    assert_eq!(stays.next_text().await, "after it");
    feed.next_state("n1", "stopped").await;
    pushes_to(&dev, 2).await;

    // Another one that is started before the lease of the one before has ended.
    assert_eq!(order(&dev, "n3", "kill").await.0, 200);
    assert_eq!(order(&dev, "n3", "start").await.0, 200);
    feed.next_state("n3", "ready").await;
    assert_eq!(order(&dev, "n1", "start").await.0, 200);
    feed.next_state("n1", "ready").await;
    pushes_to(&dev, 3).await;
    for url in [&dev.nodes[0], &dev.nodes[2]] {
        Listener::connect(in_room(url, "u3", "r1")).await;
    }
}

#[tokio::test]
async fn a_node_is_ordered_only_what_it_can_do() {
    let dev = Dev::start_to_restart().await;
    let says = |answer: (u16, Value)| {
        let error = &answer.1["error"];
        (answer.0, error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let not_now = |message: &str| (409, "FAILED_PRECONDITION".to_owned(), message.to_owned());
    for verb in ["drain", "kill", "start"] {
        let path = format!("/page/nodes/n1/{verb}");
        assert_eq!(http::get(&dev.http, &path).await.unwrap().status, 405, "{verb}");
        let (status, code, message) = says(order(&dev, "n4", verb).await);
        assert_eq!((status, code.as_str()), (404, "NOT_FOUND"));
        assert!(message.contains("n4"), "{message}");
    }
    assert_eq!(http::post(&dev.http, "/page/nodes/n1/restart", "").await.unwrap().status, 404);
    assert_eq!(says(order(&dev, "n1", "start").await), not_now("n1 is running"));

    // Somebody who does not answer the Close keeps the node for a moment.
    let _lingers = Listener::connect(in_room(&dev.nodes[0], "u1", "r1")).await;
    assert_eq!(order(&dev, "n1", "drain").await.0, 200);
    assert_eq!(says(order(&dev, "n1", "drain").await), not_now("n1 is draining"));
    assert_eq!(says(order(&dev, "n1", "start").await), not_now("n1 is draining"));
    assert_eq!(order(&dev, "n1", "kill").await.0, 200, "who has no patience may kill it");
    for verb in ["drain", "kill"] {
        assert_eq!(says(order(&dev, "n1", verb).await), not_now("n1 is stopped"));
    }

    let port = dev.nodes[0].trim_start_matches("ws://").trim_end_matches("/ws");
    let taken = TcpListener::bind(port).unwrap();
    let (status, code, message) = says(order(&dev, "n1", "start").await);
    assert_eq!((status, code.as_str()), (503, "UNAVAILABLE"));
    assert!(message.contains(port), "{message}");
    drop(taken);
    assert_eq!(order(&dev, "n1", "start").await.0, 200);
    pushes_to(&dev, 3).await;
}

#[tokio::test]
async fn it_ends_in_order_while_nodes_are_down_and_draining() {
    let mut dev = Dev::start_to_restart().await;
    let mut listener = Listener::connect(in_room(&dev.nodes[2], "u1", "r1")).await;
    let _lingers = Listener::connect(in_room(&dev.nodes[1], "u2", "r1")).await;
    assert_eq!(order(&dev, "n1", "kill").await.0, 200);
    assert_eq!(order(&dev, "n2", "drain").await.0, 200);
    dev.process.interrupt();
    assert_eq!(listener.end(WITHIN).await.code, Some(1012));
    assert_eq!(dev.process.exit(WITHIN).await.code(), Some(0));
}

#[tokio::test]
async fn nothing_is_left_of_nodes_that_have_ended() {
    let dev = Dev::start_to_restart().await;
    let shards = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", dev.process.pid())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).filter(|name| name.starts_with("shard-")).count()
    };
    // A thread gives itself its name, and ends a moment after what it did is over.
    let shards_are = async |count: usize| {
        eventually("there are so many shards", WITHIN, async || equal(shards(), count)).await;
    };
    shards_are(3).await;
    let files = || std::fs::read_dir(format!("/proc/{}/fd", dev.process.pid())).unwrap().count();
    let mut files_before = None;
    for _round in 0..4 {
        for verb in ["kill", "drain"] {
            assert_eq!(order(&dev, "n2", verb).await.0, 200);
            pushes_to(&dev, 2).await;
            shards_are(2).await;
            start_again(&dev, "n2").await;
            pushes_to(&dev, 3).await;
            shards_are(3).await;
        }
        // The first round opens what stays open.
        files_before.get_or_insert_with(files);
    }
    let before = files_before.unwrap();
    // Those of the last round may be closed a moment later.
    eventually("no more files are open", WITHIN, async || {
        let after = files();
        check(after <= before + 4, || format!("{before} open files after one round, {after} after four"))
    })
    .await;
}

#[tokio::test]
async fn all_ports_that_are_taken_are_named_with_the_flags_for_others() {
    let first = free_span(23);
    // The manager's two, and the HTTP port of the second node.
    let ports = [free_port(), free_port(), first + 12];
    let _held = ports.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let arguments = ["--grpc-addr", &at(ports[0]), "--http-addr", &at(ports[1]), "--ws-addr", &at(first)];
    let finished = dev(&arguments).await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
    for part in [
        format!("--grpc-addr: cannot listen on {}", at(ports[0])),
        format!("--http-addr: cannot listen on {}", at(ports[1])),
        format!("--ws-addr: cannot listen on {}", at(ports[2])),
        "(HTTP of node n2)".to_owned(),
        "another process has this port".to_owned(),
        "pushctl dev --grpc-addr 127.0.0.1:0".to_owned(),
    ] {
        assert!(finished.stderr.contains(&part), "{part} is missing: {}", finished.stderr);
    }
    assert!(!finished.stderr.contains("os error"), "{}", finished.stderr);
}

#[tokio::test]
async fn it_goes_on_when_nobody_reads_what_it_prints() {
    let mut command = command("pushctl");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let http = format!("127.0.0.1:{}", free_port());
    command.args(["dev", "--grpc-addr=127.0.0.1:0", "--ws-addr=127.0.0.1:0", "--http-addr", &http]);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    eventually("it answers", WITHIN, async || http::get(&http, "/readyz").await.map(|_| ())).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// An upgrade request as a browser sends it.
fn upgrade(host: &str, origin: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn request(method: &str, path: &str, host: &str, origin: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n")
}

/// The status line of the answer.
async fn status(addr: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(socket).lines().next_line().await.unwrap().unwrap()
}

#[tokio::test]
async fn foreign_pages_in_a_browser_of_this_machine_get_nothing() {
    let dev = Dev::start().await;
    let node = dev.nodes[0].trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let own = format!("http://{}", dev.http);
    let push = |host: &str, origin: &str| request("POST", "/v1/broadcast", host, origin);
    let feed = |host: &str, origin: &str| request("GET", "/page/feed", host, origin);
    assert_eq!(status(&dev.http, &push(&dev.http, &own)).await, "HTTP/1.1 200 OK");
    assert_eq!(status(&dev.http, &feed(&dev.http, &own)).await, "HTTP/1.1 200 OK");
    assert_eq!(status(&node, &upgrade(&node, &own)).await, "HTTP/1.1 101 Switching Protocols");
    let kill = |host: &str, origin: &str| request("POST", "/page/nodes/n3/kill", host, origin);
    for (host, origin) in [(None, "https://evil.example"), (Some("evil.example:9001"), own.as_str())] {
        let manager = host.unwrap_or(&dev.http);
        assert_eq!(status(&dev.http, &push(manager, origin)).await, "HTTP/1.1 403 Forbidden");
        assert_eq!(status(&dev.http, &feed(manager, origin)).await, "HTTP/1.1 403 Forbidden");
        assert_eq!(status(&dev.http, &kill(manager, origin)).await, "HTTP/1.1 403 Forbidden");
        assert_eq!(status(&node, &upgrade(host.unwrap_or(&node), origin)).await, "HTTP/1.1 403 Forbidden");
    }
    assert_eq!(status(&dev.http, &kill(&dev.http, &own)).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn it_stays_on_loopback_and_refuses_what_is_no_address() {
    for (flag, addr, says) in [
        ("--http-addr", "0.0.0.0:0", "loopback"),
        ("--grpc-addr", "10.1.2.3:9000", "loopback"),
        ("--ws-addr", "example.org:8000", "loopback"),
        ("--ws-addr", "127.0.0.1", "--ws-addr"),
        ("--ws-addr", "127.0.0.1:65530", "65552"),
        ("--nodes", "0", "--nodes"),
    ] {
        let finished = dev(&[flag, addr]).await;
        assert_eq!(finished.code, Some(64), "{flag} {addr}: {finished:?}");
        assert!(finished.stderr.contains(says), "{flag} {addr}: {}", finished.stderr);
    }
}

/// What a page reads.
struct Feed {
    lines: Lines<BufReader<TcpStream>>,
}

impl Feed {
    async fn open(dev: &Dev) -> Self {
        let mut socket = TcpStream::connect(&dev.http).await.unwrap();
        // HTTP/1.0: the body then comes as it is, not in chunks.
        let request = format!("GET /page/feed HTTP/1.0\r\nHost: {}\r\n\r\n", dev.http);
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { lines: BufReader::new(socket).lines() }
    }

    /// The next event of this name; others are skipped. `None` when the feed has ended.
    async fn next(&mut self, name: &str) -> Option<Value> {
        let event = format!("event: {name}");
        tokio::time::timeout(WITHIN, async {
            loop {
                let line = self.lines.next_line().await.unwrap()?;
                if line == event {
                    let data = self.lines.next_line().await.unwrap()?;
                    return Some(serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap());
                }
            }
        })
        .await
        .unwrap_or_else(|_elapsed| panic!("no {name} event"))
    }

    /// Waits until the node is told of in this state; it is told of in every other, too.
    async fn next_state(&mut self, node_id: &str, state: &str) {
        loop {
            let fleet = self.next("fleet").await.unwrap();
            let nodes = fleet["nodes"].as_array().unwrap();
            let node = nodes.iter().find(|node| node["node_id"] == node_id).unwrap();
            if node["state"] == state {
                return;
            }
        }
    }
}

#[tokio::test]
async fn the_feed_follows_a_push_to_every_node() {
    let dev = Dev::start().await;
    let _listener = Listener::connect(in_room(&dev.nodes[2], "u1", "r1")).await;
    let manager = PushClient::new(&dev.grpc).unwrap();
    let mut feed = Feed::open(&dev).await;
    let fleet = feed.next("fleet").await.unwrap();
    let person = &fleet["nodes"][2]["people"][0];
    assert_eq!((&person["user_id"], &person["rooms"][0]), (&Value::from("u1"), &Value::from("r1")));

    let answer = manager.push(Push::to_room("r1", "<b>hello</b>"), Some(WITHIN)).await.unwrap();
    let push = feed.next("push").await.unwrap();
    assert_eq!(push["target"], json!({ "kind": "room", "ids": ["r1"], "more": 0 }));
    assert_eq!((&push["text"], &push["bytes"]), (&Value::from("<b>hello</b>"), &Value::from(12)));
    assert_eq!(push["message_id"], answer.message_id);
    assert_eq!(push["nodes"], json!(["n1", "n2", "n3"]));
    let mut acks = Vec::new();
    for _node in 0..3 {
        let ack = feed.next("ack").await.unwrap();
        assert_eq!(ack["seq"], push["seq"]);
        acks.push((ack["node_id"].as_str().unwrap().to_owned(), ack["recipients"].as_u64().unwrap()));
    }
    acks.sort_unstable();
    assert_eq!(acks, [("n1".to_owned(), 0), ("n2".to_owned(), 0), ("n3".to_owned(), 1)]);
    let figures = feed.next("figures").await.unwrap();
    assert_eq!((&figures["nodes"], &figures["delivered"]), (&json!(3.0), &json!(1.0)));

    manager.push(Push::to_everyone([0xff, 0xfe].as_slice()), Some(WITHIN)).await.unwrap();
    let push = feed.next("push").await.unwrap();
    assert_eq!((&push["text"], &push["bytes"]), (&Value::Null, &Value::from(2)));
}

#[tokio::test]
async fn the_feed_samples_a_flood_and_counts_what_it_leaves_out() {
    const PUSHES: u64 = 3_000;
    let dev = Dev::start().await;
    let mut feed = Feed::open(&dev).await;
    feed.next("fleet").await.unwrap();
    let (sender, mut results) = PushClient::new(&dev.grpc).unwrap().stream(256).await.unwrap();
    let sending = async {
        for tag in 0..PUSHES {
            sender.send(tag, Push::to_room("r1", "x")).await.unwrap();
        }
        drop(sender);
    };
    let answering = async { while results.next().await.unwrap().is_some() {} };
    tokio::join!(sending, answering);

    let (mut told, mut skipped) = (0, 0);
    while told + skipped < PUSHES {
        let line = tokio::time::timeout(WITHIN, feed.lines.next_line()).await.unwrap().unwrap().unwrap();
        if line == "event: push" {
            told += 1;
        } else if line == "event: skipped" {
            let data = feed.lines.next_line().await.unwrap().unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            skipped += data["pushes"].as_u64().unwrap();
        }
    }
    assert_eq!(told + skipped, PUSHES);
    assert!(told < PUSHES / 2 && told > 0, "{told} of {PUSHES} were told one by one");
}

#[tokio::test]
async fn a_page_that_comes_is_told_nothing_of_the_time_before() {
    let dev = Dev::start().await;
    let manager = PushClient::new(&dev.grpc).unwrap();
    for _visit in 0..2 {
        for _push in 0..200 {
            manager.push(Push::to_room("r1", "x"), Some(WITHIN)).await.unwrap();
        }
        let mut feed = Feed::open(&dev).await;
        feed.next("fleet").await.unwrap();
        // Where the page before is not known to be closed yet, the 200 used up what may be told (40 a second).
        tokio::time::sleep(Duration::from_millis(250)).await;
        manager.push(Push::to_room("r1", "now"), Some(WITHIN)).await.unwrap();
        let mut skipped = 0;
        loop {
            let line = tokio::time::timeout(WITHIN, feed.lines.next_line()).await.unwrap().unwrap().unwrap();
            if line == "event: skipped" {
                let data = feed.lines.next_line().await.unwrap().unwrap();
                let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                skipped += data["pushes"].as_u64().unwrap();
            }
            if line == "event: figures" {
                break;
            }
        }
        let figures = feed.lines.next_line().await.unwrap().unwrap();
        let figures: Value = serde_json::from_str(figures.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(skipped, 0);
        assert!(figures["pushes_per_s"].as_f64().unwrap() < 20.0, "{figures}");
    }
}

#[tokio::test]
async fn the_page_is_served_whole_and_takes_nothing_from_elsewhere() {
    let dev = Dev::start().await;
    let page = http::get(&dev.http, "/").await.unwrap();
    assert_eq!(
        (page.status, &page.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    let html = page.text();
    let mut named = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in html.split(attribute).skip(1) {
            let url = rest.split('"').next().unwrap();
            assert!(!url.contains("//"), "{url} is not of this page");
            if url.starts_with("/page/") {
                assert_eq!(http::get(&dev.http, url).await.unwrap().status, 200, "{url}");
                named += 1;
            }
        }
    }
    assert!(named > 0, "the page names no files");
    assert_eq!(http::get(&dev.http, "/page/secret").await.unwrap().status, 404);
    assert_eq!(http::get(&dev.http, "/v1/nowhere").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_manager_of_a_real_fleet_serves_no_page() {
    let mut manager = Process::start_ours(
        "push-manager",
        "push-manager",
        [
            "--grpc-addr=127.0.0.1:0",
            "--http-addr=127.0.0.1:0",
            "--nodes=127.0.0.1:1",
            "--api-auth=none",
            "--fleet-auth=none",
        ],
    );
    let http_addr = manager.listening().await.http;
    assert_eq!(http::get(&http_addr, "/").await.unwrap().status, 404);
    assert_eq!(http::get(&http_addr, "/page/feed").await.unwrap().status, 404);
}
