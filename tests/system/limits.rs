//! What one client, one address and one crowd may take of a node.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::Node,
    raw::Raw,
    upgrade::{Answer, ask, connect, loopback, request, send},
};
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::scene::Scene;

const WITHIN: Duration = Duration::from_secs(20);

async fn refused(node: &Node, reason: &str) -> f64 {
    node.metrics().await.sum("connect_node_upgrades_refused_total", &[("reason", reason)])
}

async fn limited(node: &Node, what: &str) -> f64 {
    node.metrics().await.sum("connect_node_limited_total", &[("what", what)])
}

fn status(answer: Option<&Answer>) -> Option<u16> {
    answer.and_then(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_the_next_is_closed_unread() {
    let scene = Scene::new(&[("--max-connections-per-address", "3")]).await;
    let address = loopback(2);
    let mut held = Vec::new();
    // Half a request counts as well.
    let mut half = connect(address, scene.ws()).await.unwrap();
    half.write_all(b"GET /ws HTTP/1.1\r\n").await.unwrap();
    for _ in 0..2 {
        held.push(ask(address, scene.ws(), "/ws?rooms=r", "").await.unwrap());
    }
    assert!(held.iter().all(|answer| answer.status == Some(101)), "{held:?}");
    assert!(ask(address, scene.ws(), "/ws", "").await.is_none());
    // What it says of itself makes no difference.
    assert!(ask(address, scene.ws(), "/ws", "x-forwarded-for: 192.0.2.7\r\n").await.is_none());
    assert_eq!(refused(&scene.node, "address").await, 2.0);
    let neighbour = ask(loopback(3), scene.ws(), "/ws", "").await;
    assert_eq!(status(neighbour.as_ref()), Some(101));
    held.pop();
    eventually("there is room again", WITHIN, async || {
        let answer = ask(address, scene.ws(), "/ws", "").await;
        check(status(answer.as_ref()) == Some(101), || format!("{answer:?}"))
    })
    .await;
    drop((held, half, neighbour));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_proxy_the_address_it_names_is_counted() {
    let flags = [("--max-connections-per-address", "2"), ("--trusted-proxies", "127.0.0.2,10.0.0.0/8")];
    let scene = Scene::new(&flags).await;
    let proxy = loopback(2);
    let through = async |forwarded: &str| {
        let line = format!("x-forwarded-for: {forwarded}\r\n");
        ask(proxy, scene.ws(), "/ws?rooms=r", &line).await.unwrap()
    };
    let mut held = Vec::new();
    for (forwarded, expected) in [
        ("192.0.2.7", 101),
        ("6.6.6.6, 192.0.2.7, 10.1.1.1", 101),
        ("192.0.2.7", 429),
        ("192.0.2.9, 192.0.2.7", 429),
        ("::ffff:192.0.2.7", 429),
        ("192.0.2.8", 101),
        ("192.0.2.8:4711", 101),
        ("192.0.2.8", 429),
        ("2001:db8::1", 101),
        ("[2001:db8:0:0:ffff::2]:443", 101),
        ("2001:db8::3", 429),
        ("2001:db8:0:1::1", 101),
        ("unknown", 400),
        ("192.0.2.7,", 400),
        ("", 400),
    ] {
        let answer = through(forwarded).await;
        assert_eq!(answer.status, Some(expected), "{forwarded}: {answer:?}");
        assert_eq!(answer.head.contains("retry-after: "), expected == 429, "{answer:?}");
        held.push(answer);
    }
    assert_eq!(refused(&scene.node, "address").await, 5.0);
    assert_eq!(refused(&scene.node, "forwarded").await, 3.0);
    // Without the header a proxy speaks for itself.
    for expected in [101, 101, 429] {
        let answer = ask(proxy, scene.ws(), "/ws", "").await.unwrap();
        assert_eq!(answer.status, Some(expected));
        held.push(answer);
    }
    // Who is no proxy is not believed, whatever it says.
    let stranger = loopback(3);
    for lines in ["x-forwarded-for: 198.51.100.1\r\n", "x-forwarded-for: nonsense\r\n"] {
        let answer = ask(stranger, scene.ws(), "/ws", lines).await;
        assert_eq!(status(answer.as_ref()), Some(101), "{lines}");
        held.extend(answer);
    }
    assert!(ask(stranger, scene.ws(), "/ws", "x-forwarded-for: 198.51.100.2\r\n").await.is_none());
    drop(held);
    eventually("there is room again", WITHIN, async || {
        let answer = through("192.0.2.7").await;
        check(answer.status == Some(101), || format!("{answer:?}"))
    })
    .await;
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_connections_on_all_shards_together() {
    let scene = Scene::new(&[("--max-connections-per-user", "3"), ("--shards", "2")]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::json(scene.ws(), "/ws?user_id=u1").await;
        raw.connected().await;
        held.push(raw);
    }
    for _ in 0..2 {
        let mut over = Raw::json(scene.ws(), "/ws?user_id=u1").await;
        let end = over.end().await;
        assert_eq!((end.code, end.error.as_deref()), (Some(1013), Some("resource_exhausted")), "{end:?}");
    }
    Raw::json(scene.ws(), "/ws?user_id=u2").await.connected().await;
    assert_eq!(limited(&scene.node, "user_connections").await, 2.0);
    held.pop();
    eventually("there is room again", WITHIN, async || {
        let mut raw = Raw::json(scene.ws(), "/ws?user_id=u1").await;
        raw.next().await.map(drop).map_err(|end| format!("{end:?}"))?;
        let connections = scene.node.metrics().await.sum("connect_node_closed_total", &[("code", "client")]);
        check(connections >= 1.0, String::new)
    })
    .await;
    drop(held);
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_handshakes_than_a_second_has_room_for_are_told_to_try_again() {
    const RATE: usize = 20;
    let rate = RATE.to_string();
    let scene = Scene::new(&[("--handshakes-per-second", &rate)]).await;
    let begun = Instant::now();
    let mut held = Vec::new();
    for _ in 0..10 * RATE {
        held.push(ask(loopback(1), scene.ws(), "/ws?rooms=r", "").await.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (taken, turned): (Vec<_>, Vec<_>) = held.iter().partition(|answer| answer.status == Some(101));
    for answer in &turned {
        assert_eq!(answer.status, Some(503), "{answer:?}");
        assert!(answer.head.contains("retry-after: 1\r\n"), "{answer:?}");
        assert!(answer.head.contains("connection: close\r\n"), "{answer:?}");
    }
    let most = (RATE as f64 * (1.0 + seconds)).ceil() as usize;
    assert!(taken.len() <= most, "{} in {seconds} s", taken.len());
    assert!(
        taken.len() >= RATE - 1,
        "the bystander took one of the first second's, not more: {}",
        taken.len()
    );
    assert_eq!(refused(&scene.node, "rate").await as usize, turned.len());
    // Those who are there are served meanwhile, and the next second has room.
    assert_eq!(scene.node.push_here("r", "meanwhile").await as usize, 1 + taken.len());
    eventually("the next second has room", WITHIN, async || {
        let answer = ask(loopback(1), scene.ws(), "/ws", "").await;
        check(status(answer.as_ref()) == Some(101), || format!("{answer:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_too_much_is_closed_and_what_is_usual_is_not_too_much() {
    let flags = [("--frames-per-second", "10"), ("--bytes-per-second", "4KiB"), ("--max-frame", "8KiB")];
    let scene = Scene::new(&flags).await;
    let mut usual = scene.connected().await;
    for _ in 0..40 {
        usual.text(r#"{"pong":{}}"#).await;
    }
    let mut frames = scene.connected().await;
    for _ in 0..200 {
        frames.text(r#"{"pong":{}}"#).await;
    }
    let end = frames.end().await;
    assert_eq!((end.code, end.error.as_deref()), (Some(1008), Some("resource_exhausted")), "{end:?}");
    let mut bytes = scene.connected().await;
    for _ in 0..4 {
        bytes.text(&format!(r#"{{"pong":{{}}}}{}"#, " ".repeat(8000))).await;
    }
    let end = bytes.end().await;
    assert_eq!((end.code, end.error.as_deref()), (Some(1008), Some("resource_exhausted")), "{end:?}");
    let mut large = scene.connected().await;
    large.text(&" ".repeat((8 << 10) + 1)).await;
    assert_eq!(large.end().await.code, Some(1009));
    for what in ["frames", "bytes", "frame_size"] {
        assert_eq!(limited(&scene.node, what).await, 1.0, "{what}");
    }
    usual.text(r#"{"id":9,"join":{"rooms":["s"]}}"#).await;
    assert_eq!(usual.next().await.unwrap().id, 9);
    drop((usual, frames, bytes, large));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_in_128_rooms_unless_told_otherwise() {
    let rooms = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|n| format!("\"room-{n}\"")).collect();
        names.join(",")
    };
    for (flags, most) in [(&[][..], 128), (&[("--max-rooms", "200")], 200)] {
        let scene = Scene::new(flags).await;
        let mut raw = Raw::json(scene.ws(), "/ws?rooms=room-0").await;
        raw.connected().await;
        raw.text(&format!(r#"{{"id":2,"join":{{"rooms":[{}]}}}}"#, rooms(1, most))).await;
        assert_eq!(raw.next().await.unwrap().id, 2);
        raw.text(&format!(r#"{{"id":3,"join":{{"rooms":[{}]}}}}"#, rooms(most - 1, most + 1))).await;
        let (id, error) = raw.error().await;
        assert_eq!((id, error.code.as_str()), (3, "resource_exhausted"));
        let last = format!("room-{}", most - 1);
        assert_eq!(scene.node.push_here(&last, "x").await, 1, "what it was in before it is in still");
        assert_eq!(scene.node.push_here(&format!("room-{most}"), "x").await, 0);
        assert_eq!(limited(&scene.node, "rooms").await, 1.0);
        drop(raw);
        scene.nobody_else_noticed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_and_a_url_have_a_size() {
    let scene = Scene::new(&[("--max-url", "1KiB"), ("--max-head", "8KiB")]).await;
    let from = loopback(1);
    let url = |len: usize| format!("/ws?x={}", "x".repeat(len - "/ws?x=".len()));
    let line = |len: usize| format!("x-long: {}\r\n", "x".repeat(len));
    for (path, lines, expected) in [
        (url(1 << 10), String::new(), 101),
        (url((1 << 10) + 1), String::new(), 414),
        ("/ws".to_owned(), line(7 << 10), 101),
        ("/ws".to_owned(), line(9 << 10), 431),
        // Also if most of it is still to come.
        ("/ws".to_owned(), line(200 << 10), 431),
    ] {
        let answer = ask(from, scene.ws(), &path, &lines).await;
        assert_eq!(status(answer.as_ref()), Some(expected), "{} {}", path.len(), lines.len());
    }
    assert_eq!((refused(&scene.node, "url").await, refused(&scene.node, "head").await), (1.0, 2.0));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_requests_of_many_make_room_for_whole_ones() {
    // More than may be under way on a shard.
    const HALVES: u16 = 4500;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let flags = [("--shards", "1"), ("--max-connections-per-address", "100"), ("--max-connections", "10000")];
    let scene = Scene::new(&flags).await;
    let mut halves: HashMap<u16, _> = HashMap::new();
    for number in 0..HALVES {
        let mut socket = connect(loopback(2 + number / 90), scene.ws()).await.unwrap();
        socket.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\nconnec").await.unwrap();
        halves.insert(number, socket);
        if number % 500 == 499 {
            let mut listener = scene.node.listen("whole", &["held"]).await;
            assert_eq!(scene.node.push_here("held", "hello").await, 1);
            assert_eq!(listener.next_text().await, "hello");
        }
    }
    // In time those that were not crowded out are given up.
    eventually("no half request is held", WITHIN, async || {
        let (crowd, slow) = (refused(&scene.node, "crowd").await, refused(&scene.node, "slow_head").await);
        check(crowd + slow == f64::from(HALVES), || format!("{crowd} {slow}"))
    })
    .await;
    // Those who kept others waiting may come again.
    let again = ask(loopback(2), scene.ws(), "/ws", "").await;
    assert_eq!(status(again.as_ref()), Some(101));
    drop((halves, again));
    scene.nobody_else_noticed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_http_learns_so_and_holds_no_place() {
    let scene = Scene::new(&[("--max-connections-per-address", "5")]).await;
    let from: IpAddr = loopback(2);
    for _ in 0..20 {
        eventually("the one before is gone", WITHIN, async || {
            let answer =
                send(from, scene.ws(), b"\x16\x03\x01\x02\x00\x01\x00\xfc\x03\x03 no HTTP at all\r\n\r\n")
                    .await;
            check(status(answer.as_ref()) == Some(400), || format!("{answer:?}"))
        })
        .await;
    }
    let whole = send(from, scene.ws(), request("/ws", "").as_bytes()).await;
    assert_eq!(status(whole.as_ref()), Some(101));
    drop(whole);
    scene.nobody_else_noticed().await;
}
