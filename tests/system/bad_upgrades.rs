//! Whoever comes to the clients' port and does not get, or does not want, a WebSocket.

use std::time::Duration;

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::Node,
    http,
    raw::{Raw, exchange_bytes},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::scene::Scene;

const WITHIN: Duration = Duration::from_secs(20);
const JSON: &str = "pushcast.v1.json";
const PROTOBUF: &str = "pushcast.v1.protobuf";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subprotocol_is_chosen_or_the_upgrade_refused() {
    let scene = Scene::new(&[]).await;
    for (offered, chosen) in [
        (&[][..], None),
        (&[JSON][..], Some(JSON)),
        (&[PROTOBUF], Some(PROTOBUF)),
        (&["mqtt", PROTOBUF, JSON], Some(PROTOBUF)),
        (&[JSON, PROTOBUF], Some(JSON)),
    ] {
        let raw = Raw::open(scene.ws(), "/ws", offered).await.unwrap();
        assert_eq!(raw.subprotocol.as_deref(), chosen, "{offered:?}");
    }
    let refused = exchange_bytes(
        scene.ws(),
        b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          sec-websocket-protocol: mqtt, pushcast.v9.json\r\n\r\n",
    )
    .await;
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.contains(JSON), "the refusal names what is known: {refused}");
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_open_at_loopback_is_for_no_page_of_another_site() {
    let scene = Scene::new(&[]).await;
    for lines in [
        "host: localhost\r\norigin: https://evil.example\r\n",
        "host: name-that-leads-to-loopback.example\r\n",
    ] {
        let request = format!(
            "GET /ws HTTP/1.1\r\n{lines}connection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = exchange_bytes(scene.ws(), request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{lines}: {answer}");
    }
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_ready_or_full_sends_clients_away() {
    let starting = Node::start("n1", &[("--link-wait", "60s")]).await;
    assert_eq!(http::get(&starting.addr.http, "/readyz").await.unwrap().status, 503);
    let refused = Raw::open(&starting.addr.ws, "/ws", &[JSON]).await.unwrap_err();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u32>().is_ok());
    assert!(!refused.body.is_empty());

    let full = Node::alone("n2", &[("--max-connections", "2")]).await;
    let first = full.listen("u1", &["r"]).await;
    let _second = full.listen("u2", &["r"]).await;
    let refused = Raw::open(&full.addr.ws, "/ws", &[JSON]).await.unwrap_err();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(full.push_here("r", "x").await, 2);
    first.client.close().await;
    eventually("there is room again", WITHIN, async || {
        match Raw::open(&full.addr.ws, "/ws", &[JSON]).await {
            Ok(_raw) => Ok(()),
            Err(refused) => Err(format!("{refused:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_upgrade_is_answered_as_http_or_not_at_all() {
    let scene = Scene::new(&[]).await;
    let plain = http::get(scene.ws(), "/ws").await.unwrap();
    assert!(matches!(plain.status, 400 | 426), "{} {}", plain.status, plain.text());
    let elsewhere = http::get(scene.ws(), "/elsewhere").await.unwrap();
    assert_eq!(elsewhere.status, 404);
    let old = exchange_bytes(
        scene.ws(),
        b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 8\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(old.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&old));
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[0; 4096], b"HELLO\r\n\r\n"] {
        let answer = exchange_bytes(scene.ws(), garbage).await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{garbage:?}");
    }
    let endless = [&b"GET /ws HTTP/1.1\r\nhost: x\r\nx-long: "[..], &[b'x'; 1 << 20]].concat();
    let answer = exchange_bytes(scene.ws(), &endless).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_half_requests_keep_nobody_out() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let scene = Scene::new(&[]).await;
    let mut halves = Vec::new();
    for number in 0..1_000 {
        let mut socket = TcpStream::connect(scene.ws()).await.unwrap();
        // Some say nothing at all, the others half of it.
        if number % 4 != 0 {
            socket.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\nconnec").await.unwrap();
        }
        halves.push(socket);
    }
    for user in 0..50 {
        let mut listener = scene.node.listen(&format!("u{user}"), &["held"]).await;
        assert_eq!(scene.node.push_here("held", "hello").await, 1);
        assert_eq!(listener.next_text().await, "hello");
        listener.client.close().await;
        eventually("the client is gone", WITHIN, async || {
            check(scene.node.metrics().await.sum("connect_node_connections", &[]) <= 1.0, String::new)
        })
        .await;
    }
    drop(halves);
    scene.nobody_else_noticed().await;
}
