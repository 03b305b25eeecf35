//! Business servers that ask for what cannot be: told which field, and the next push goes on.

use std::time::Duration;

use pushcast_tests::{
    eventually::{check, equal, eventually},
    fleet::{Fleet, Manager, Plan},
    http,
    sink::{Manners, Sink},
};
use pushctl::push::{Push, Target};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const WITHIN: Duration = Duration::from_secs(30);

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details
        .bad_request()
        .map(|bad| &bad.field_violations[..])
        .unwrap_or_default()
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

fn bad_pushes() -> Vec<(&'static str, &'static str, Push)> {
    let long = || "x".repeat(129);
    let good = || Push::to_room("r", "x");
    let users =
        |count: usize| Push::new(Target::Users((0..count).map(|user| user.to_string()).collect()), "x");
    vec![
        ("empty room", "room_id", Push::to_room("", "x")),
        ("overlong room", "room_id", Push::to_room(long(), "x")),
        ("129 bytes in fewer characters", "room_id", Push::to_room("ü".repeat(65), "x")),
        ("control character", "room_id", Push::to_room("a\u{7f}", "x")),
        ("line break", "user_id", Push::to_user("a\nb", "x")),
        ("C1 control character", "user_id", Push::to_user("a\u{85}b", "x")),
        ("empty user", "user_id", Push::to_user("", "x")),
        ("no users", "user_ids", Push::to_users(&[], "x")),
        ("1001 users", "user_ids", users(1_001)),
        ("one bad user among good ones", "user_ids", Push::to_users(&["a", ""], "x")),
        ("overlong app", "app", Push { app: long(), ..good() }),
        ("control character in app", "app", Push { app: "\u{1}".to_owned(), ..good() }),
        (
            "app with all apps",
            "app",
            Push { app: "a".to_owned(), ..Push::new(Target::EveryoneOfAllApps, "x") },
        ),
        ("overlong uri", "uri", Push { uri: "x".repeat(257), ..good() }),
        ("overlong request id", "request_id", Push { request_id: "x".repeat(65), ..good() }),
        ("content over the limit", "content", Push::to_room("r", vec![0; (64 << 10) + 1])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_field_is_named() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let client = fleet.pusher();
    for (name, field, push) in bad_pushes() {
        let status = client.push(push, None).await.expect_err(name);
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
        let fields = fields(&status);
        assert!(fields.iter().any(|named| named.starts_with(field)), "{name}: {fields:?} {status}");
    }
    let several = Push { uri: "x".repeat(257), app: "\n".to_owned(), ..Push::to_room("", "x") };
    let fields = fields(&client.push(several, None).await.unwrap_err());
    assert_eq!(fields.len(), 3, "all mistakes at once: {fields:?}");

    // At the limits it is good.
    let limits = Push {
        app: String::new(),
        uri: "x".repeat(256),
        request_id: "x".repeat(64),
        ..Push::new(Target::Users((0..1_000).map(|user| format!("u{user}")).collect()), vec![b'x'; 64 << 10])
    };
    let answer = client.push(limits, None).await.unwrap();
    assert_eq!((answer.recipients, answer.recipients_by_user.len()), (1, 1_000));
    // Nothing of what was refused took a number.
    let push = listener.next_push().await;
    assert_eq!((push.seq, push.text.len()), (1, 64 << 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_items_of_a_stream_are_answered_and_the_stream_goes_on() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let (sender, mut results) = fleet.pusher().stream(1_000).await.unwrap();
    let bad = bad_pushes();
    let pushes = bad.len() as u64;
    for (tag, (_, _, push)) in (0..).zip(bad) {
        sender.send(2 * tag, push).await.unwrap();
        sender.send(2 * tag + 1, Push::to_room("r", tag.to_string())).await.unwrap();
    }
    drop(sender);
    for tag in 0..pushes {
        let (bad_tag, refused) = results.next().await.unwrap().unwrap();
        let (good_tag, accepted) = results.next().await.unwrap().unwrap();
        assert_eq!((bad_tag, good_tag), (2 * tag, 2 * tag + 1));
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(!fields(&status).is_empty(), "{status:?}");
        assert_eq!(accepted.unwrap().recipients, 1);
        assert_eq!(listener.next_text().await, tag.to_string());
    }
    assert!(results.next().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_node_a_push_is_unavailable_and_takes_no_number() {
    let mut fleet = Fleet::of(Plan { nodes: 0, ..Plan::default() }).await;
    let client = fleet.pusher();
    let status = client.push(Push::to_room("r", "x"), None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "NO_CONNECT_NODES");
    let over_http = http::post(&fleet.managers[0].addr.http, "/v1/broadcast", "x").await.unwrap();
    assert_eq!(over_http.status, 503, "{}", over_http.text());
    assert_eq!(over_http.json()["error"]["code"], "UNAVAILABLE");

    fleet.add_node("n1", &[], false).await.ready().await;
    fleet.managers[0].knows(&["n1"], WITHIN).await;
    let answer = client.push(Push::to_room("r", "x"), None).await.unwrap();
    assert!(answer.message_id.ends_with("-1"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_node_that_never_linked_is_pending_by_its_address() {
    let address = format!("127.0.0.1:{}", pushcast_tests::ports::free_port());
    let manager = Manager::start("m1", &[("--nodes", &address)]).await;
    manager.ready().await;
    let answer = manager.client().push(Push::to_room("r", "x"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (1, 0, 0));
    assert_eq!(answer.pending_nodes, [address]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_deadline_ends_its_wait_and_names_the_message() {
    let sink = Sink::start("s1", 1, Manners::Good).await;
    let manager = Manager::start("m1", &[("--nodes", sink.addr())]).await;
    manager.knows(&["s1"], WITHIN).await;
    // Who has kept something back for a second is waited for no more.
    let lags_anew = async || {
        sink.lag(false);
        let answer = manager.client().push(Push::to_everyone("x"), None).await.unwrap();
        sink.lag(true);
        equal(answer.acked, 1)
    };
    // A machine that stands still finds this bound and the manager's own over at once: then it is tried again.
    eventually("the caller's deadline ends the wait over HTTP", WITHIN, async || {
        lags_anew().await?;
        let answer = http::post(&manager.addr.http, "/v1/broadcast?timeout=300ms", "x").await.unwrap();
        equal(answer.status, 504)?;
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], "DEADLINE_EXCEEDED");
        assert!(error["details"].to_string().contains("message_id"), "{error}");
        Ok(())
    })
    .await;
    eventually("the manager answers before the caller gives up", WITHIN, async || {
        lags_anew().await?;
        let timeout = Some(Duration::from_millis(300));
        let status = match manager.client().push(Push::to_everyone("x"), timeout).await {
            Ok(answer) => return Err(format!("{answer:?}")),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let details = status.get_error_details();
        let info = details.error_info().ok_or_else(|| status.to_string())?;
        check(info.metadata.contains_key("message_id"), || format!("{info:?}"))
    })
    .await;
    // Its own bound of a second ends the wait by itself, with an answer.
    let answer = manager.client().push(Push::to_everyone("y"), None).await.unwrap();
    assert_eq!((answer.acked, answer.pending_nodes.as_slice()), (0, &["s1".to_owned()][..]), "{answer:?}");
    sink.lag(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_managers_own_bounds_are_settings() {
    let sink = Sink::start("s1", 1, Manners::Good).await;
    let flags = [("--nodes", sink.addr()), ("--max-content", "1KiB"), ("--max-deadline", "200ms")];
    let manager = Manager::start("m1", &flags).await;
    manager.knows(&["s1"], WITHIN).await;
    let client = manager.client();
    client.push(Push::to_everyone(vec![0; 1_024]), None).await.unwrap();
    let status = client.push(Push::to_everyone(vec![0; 1_025]), None).await.unwrap_err();
    assert_eq!(fields(&status), ["content"], "{status}");
    sink.lag(true);
    let answer = eventually("an answer after 200 ms, not after a second", WITHIN, async || {
        let start = std::time::Instant::now();
        let answer = client.push(Push::to_everyone("x"), Some(Duration::from_secs(20))).await.unwrap();
        check(start.elapsed() < Duration::from_secs(1), || format!("after {:?}", start.elapsed()))?;
        Ok(answer)
    })
    .await;
    assert_eq!((answer.acked, answer.pending_nodes.as_slice()), (0, &["s1".to_owned()][..]), "{answer:?}");
}
