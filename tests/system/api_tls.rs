//! Business servers that call over TLS, and those whom a certificate lets in.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use pushcast_common::tls::{client, identity};
use pushcast_tests::{
    api_keys::KeysFile,
    authority::{Authority, Files, text},
    eventually::{check, eventually},
    fleet::Manager,
    http,
    processes::{Finished, command, run},
    sink::{Manners, Sink},
};
use pushctl::push::{Push, PushClient};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Python's start on a busy machine takes a fraction of it.
const WITHIN: Duration = Duration::from_secs(60);

/// More than three rounds of a manager's own looks at its files (1 s each, and a tenth for them to stand still), doubled.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// Names of a manager on this machine.
const LOCAL: &[&str] = &["localhost", "127.0.0.1"];

/// A manager of one node whose listeners speak TLS.
struct Guarded {
    manager: Manager,
    authority: Authority,
    _node: Sink,
}

impl Guarded {
    async fn with(authority: Authority, flags: &[(&str, &str)]) -> Self {
        let node = Sink::start("s1", 1, Manners::Good).await;
        let files = authority.certify(LOCAL, 1);
        let flags = [&files.flags(), &[("--nodes", node.addr())][..], flags].concat();
        let manager = Manager::start("m1", &flags).await;
        let guarded = Self { manager, authority, _node: node };
        // Asked over TLS it may want to know who asks.
        eventually("the manager is ready", WITHIN, async || {
            let log = guarded.manager.process.log();
            check(log.contains(r#""message":"Ready.""#), || log)
        })
        .await;
        guarded
    }

    /// The manager asks for certificates of its own authority, and knows the names of this file.
    async fn by_certificate(keys: &KeysFile) -> Self {
        let authority = Authority::new();
        let ca = authority.ca();
        let flags =
            [("--api-auth", "mtls"), ("--api-keys-file", keys.path()), ("--api-client-ca-file", text(&ca))];
        Self::with(authority, &flags).await
    }

    fn client(&self, own: Option<&Files>) -> PushClient {
        client_of(&self.manager.addr.grpc, &self.authority.ca(), own)
    }

    async fn pushctl(&self, args: &[&str]) -> Finished {
        let mut command = command("pushctl");
        command.args(args);
        run(command, WITHIN).await
    }
}

fn client_of(addr: &str, ca: &Path, own: Option<&Files>) -> PushClient {
    let own = own.map(|Files { cert, key }| identity::read(cert, key).unwrap());
    let tls = Arc::new(client::trusting(Some(ca), own).unwrap());
    PushClient::with_tls(&format!("https://{addr}"), tls).unwrap()
}

fn to_room() -> Push {
    Push::to_room("r", "hello")
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap_or_else(|| panic!("{status}")).reason.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_speak_tls_and_say_so_to_those_who_do_not() {
    let guarded = Guarded::with(Authority::new(), &[]).await;
    let (grpc, http) = (&guarded.manager.addr.grpc, &guarded.manager.addr.http);
    let (grpc_url, http_url) = (format!("https://{grpc}"), format!("https://{http}"));
    let (ca, stranger) = (guarded.authority.ca(), Authority::new());

    let pushed = guarded
        .pushctl(&["push", "room", "r", "hello", "--manager", &grpc_url, "--ca-file", text(&ca)])
        .await;
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let top = ["top", "--once", "--http", &http_url, "--ca-file", text(&ca)];
    let top = guarded.pushctl(&top).await;
    assert!(top.code == Some(0) && top.stdout.contains("s1"), "{} {}", top.stdout, top.stderr);

    let other = stranger.ca();
    for args in [
        vec!["push", "room", "r", "x", "--manager", &grpc_url, "--ca-file", text(&other)],
        vec!["nodes", "--manager", &grpc_url, "--ca-file", text(&other)],
        vec!["top", "--once", "--http", &http_url, "--ca-file", text(&other)],
    ] {
        let refused = guarded.pushctl(&args).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        for part in ["no TLS connection to", "invalid peer certificate", "--ca-file"] {
            assert!(refused.stderr.contains(part), "{part} is missing in {}", refused.stderr);
        }
    }
    let plain = guarded.pushctl(&["push", "room", "r", "x", "--manager", grpc]).await;
    assert!(plain.code == Some(1) && plain.stderr.contains("with TLS it is https://"), "{}", plain.stderr);
    let useless = guarded.pushctl(&["push", "room", "r", "x", "--ca-file", text(&ca)]).await;
    assert!(useless.stderr.contains("--ca-file: has no effect"), "{}", useless.stderr);

    let plain = http::get(http, "/readyz").await.unwrap();
    assert!(plain.status == 400 && plain.text().contains("or https://"), "{}", plain.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_shown_without_a_restart_and_streams_go_on() {
    let guarded = Guarded::with(Authority::new(), &[]).await;
    let (sender, mut results) = guarded.client(None).stream(10).await.unwrap();
    sender.send(1, to_room()).await.unwrap();
    results.next().await.unwrap().unwrap().1.unwrap();
    // Not for this machine: whoever connects from now on sees it by that.
    guarded.authority.certify(&["elsewhere.example"], 2);
    eventually("the new certificate is shown", SEEN_WITHIN, async || {
        let answer = guarded.client(None).push(to_room(), None).await;
        check(answer.is_err(), || "the old one is shown".to_owned())
    })
    .await;
    sender.send(2, to_room()).await.unwrap();
    results.next().await.unwrap().unwrap().1.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_who_calls_and_its_line_what_it_may() {
    let keys = KeysFile::new();
    keys.write("name=shop cert=Shop.internal apps=\"\" methods=PushToRoom\n");
    let guarded = Guarded::by_certificate(&keys).await;
    let member = |file: &str, name: &str, is_expired| guarded.authority.member(file, name, is_expired);
    let (shop, other) = (member("shop", "shop.internal", false), member("other", "other.internal", false));
    let answer = guarded.client(Some(&shop)).push(to_room(), None).await.unwrap();
    assert_eq!(answer.acked, 1);
    let refused = async |own: Option<&Files>, push: Push| {
        let status = guarded.client(own).push(push, None).await.unwrap_err();
        (status.code(), reason(&status))
    };
    let elsewhere = || Push { app: "other".to_owned(), ..to_room() };
    for (own, push, code, why) in [
        (None, to_room(), Code::Unauthenticated, "NO_CERTIFICATE"),
        (Some(&other), to_room(), Code::Unauthenticated, "UNKNOWN_CERTIFICATE"),
        (Some(&shop), Push::to_user("u", "x"), Code::PermissionDenied, "METHOD_NOT_ALLOWED"),
        (Some(&shop), elsewhere(), Code::PermissionDenied, "APP_NOT_ALLOWED"),
    ] {
        assert_eq!(refused(own, push).await, (code, why.to_owned()));
    }
    // A key is no certificate, even one that looks like a name of the file.
    let with_key = guarded.client(None).with_key("shop.internal".parse().unwrap());
    assert_eq!(reason(&with_key.push(to_room(), None).await.unwrap_err()), "NO_CERTIFICATE");

    // Whom another authority vouches for, or nobody any more, does not even get a connection.
    let stranger = Authority::new();
    for bad in [stranger.member("shop", "shop.internal", false), member("late", "shop.internal", true)] {
        let status = guarded.client(Some(&bad)).push(to_room(), None).await.unwrap_err();
        assert!(std::error::Error::source(&status).is_some() && status.code() != Code::Ok, "{status}");
    }
    // What a process says reaches us a moment after its answer.
    for part in
        [r#""reason":"unknown_certificate""#, r#""certificate":"other.internal""#, r#""caller":"shop""#]
    {
        eventually(&format!("the log has {part}"), WITHIN, async || {
            let log = guarded.manager.process.log();
            check(log.contains(part), || log)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_taken_away_ends_its_streams_and_an_authority_its_callers() {
    let keys = KeysFile::new();
    let line = |name: &str| format!("name={name} cert={name}.internal apps=* methods=*\n");
    keys.write(&format!("{}{}", line("gone"), line("kept")));
    let guarded = Guarded::by_certificate(&keys).await;
    let gone = guarded.authority.member("gone", "gone.internal", false);
    let kept = guarded.authority.member("kept", "kept.internal", false);
    let (_sender, mut results) = guarded.client(Some(&gone)).stream(10).await.unwrap();
    keys.write(&line("kept"));
    let ended = timeout(SEEN_WITHIN, results.next()).await.expect("the stream ends");
    assert_eq!(reason(&ended.unwrap_err()), "UNKNOWN_CERTIFICATE");
    guarded.client(Some(&kept)).push(to_room(), None).await.unwrap();

    // From now on another authority vouches for callers; those of the first are turned away at the handshake.
    let second = Authority::new();
    let of_second = second.member("kept", "kept.internal", false);
    let push_of_second = async || guarded.client(Some(&of_second)).push(to_room(), None).await;
    push_of_second().await.unwrap_err();
    std::fs::copy(second.ca(), guarded.authority.path("ca.pem.new")).unwrap();
    let (server_ca, trusted) = (guarded.authority.path("server-ca.pem"), guarded.authority.ca());
    std::fs::copy(&trusted, &server_ca).unwrap();
    std::fs::rename(guarded.authority.path("ca.pem.new"), &trusted).unwrap();
    let addr = &guarded.manager.addr.grpc;
    eventually("the second authority's caller is let in", SEEN_WITHIN, async || {
        let client = client_of(addr, &server_ca, Some(&of_second));
        client.push(to_room(), None).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
    client_of(addr, &server_ca, Some(&kept)).push(to_room(), None).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_written_by_others_show_their_certificates() {
    let keys = KeysFile::new();
    keys.write("name=shop cert=shop.internal apps=\"\" methods=PushToRoom\n");
    let guarded = Guarded::by_certificate(&keys).await;
    let own = guarded.authority.member("shop", "shop.internal", false);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(tests.join("../.venv/bin/python"));
    python.arg(tests.join("python/manager_over_tls.py")).arg("--protos").arg(tests.join("../proto"));
    python.args(["--manager", &guarded.manager.addr.grpc, "--http", &guarded.manager.addr.http]);
    let ca = guarded.authority.ca();
    python.args(["--ca", text(&ca), "--cert", text(&own.cert), "--key", text(&own.key)]);
    let ended = run(python, WITHIN).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "as it should be\n"), "{}", ended.stderr);

    let url = format!("https://{}", guarded.manager.addr.grpc);
    let mut args = vec!["push", "room", "r", "hello", "--manager", &url, "--ca-file", text(&ca)];
    let without = guarded.pushctl(&args).await;
    assert!(without.stderr.contains("--cert-file and --private-key-file give"), "{}", without.stderr);
    // Turned away when the connection is there already, as TLS 1.3 does it.
    let late = guarded.authority.member("late", "shop.internal", true);
    let shown = ["--cert-file", text(&late.cert), "--private-key-file", text(&late.key)];
    let refused = guarded.pushctl(&[&args[..], &shown].concat()).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("no TLS connection to"), "{}", refused.stderr);
    args.extend(["--cert-file", text(&own.cert), "--private-key-file", text(&own.key)]);
    let with = guarded.pushctl(&args).await;
    assert_eq!(with.code, Some(0), "{}", with.stderr);
}
