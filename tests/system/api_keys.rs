//! Business servers that have to show a key: who has none stays outside, who has one may what its line says.

use std::{path::PathBuf, process::Command, time::Duration};

use pushcast_tests::{
    api_keys::KeysFile,
    eventually::{check, eventually},
    fleet::Manager,
    http::{self, Response},
    processes::{Finished, Process, command, run},
    sink::{Manners, Sink},
};
use pushctl::push::{Push, PushClient, Target};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

const WITHIN: Duration = Duration::from_secs(20);

/// A manager of one node, whose callers need keys.
struct Guarded {
    keys: KeysFile,
    manager: Manager,
    _node: Sink,
}

impl Guarded {
    /// The keys of this file have to be there already.
    async fn by(keys: KeysFile) -> Self {
        let node = Sink::start("s1", 1, Manners::Good).await;
        let flags = [("--api-auth", "keys"), ("--api-keys-file", keys.path()), ("--nodes", node.addr())];
        let manager = Manager::start("m1", &flags).await;
        manager.ready().await;
        Self { keys, manager, _node: node }
    }

    fn client(&self, key: &str) -> PushClient {
        self.manager.client().with_key(key.parse().unwrap())
    }

    async fn post(&self, path: &str, authorization: &str, body: &'static str) -> Response {
        let headers = [("authorization", authorization)];
        let addr = &self.manager.addr.http;
        http::send_with(addr, ::http::Method::POST, path, &headers, body.into()).await.unwrap()
    }

    /// Waits until the manager has said this so many times.
    async fn said(&self, what: &str, times: usize) {
        eventually(what, WITHIN, async || {
            let log = self.manager.process.log();
            check(log.matches(what).count() >= times, || log)
        })
        .await;
    }

    async fn refused(&self, reason: &str) -> f64 {
        let labels = [("reason", reason)];
        self.manager.metrics().await.sum("push_manager_refused_calls_total", &labels)
    }

    /// What no log may ever hold.
    fn kept_secret(&self, keys: &[&str]) {
        let log = self.manager.process.log();
        for key in keys {
            let secret = key.splitn(3, '_').last().unwrap();
            assert!(secret.len() >= 43 && !log.contains(secret), "{log}");
        }
        assert!(!log.contains("confidential"), "{log}");
    }
}

fn to_room() -> Push {
    Push::to_room("r", "confidential")
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

/// The key with another end.
fn forged(key: &str) -> String {
    let end = if key.ends_with('A') { 'B' } else { 'A' };
    format!("{}{end}", &key[..key.len() - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_known_key_opens_the_door() {
    let keys = KeysFile::new();
    let key = keys.add("checkout", &[]).await;
    let guarded = Guarded::by(keys).await;
    let wrong = forged(&key);

    let status = guarded.manager.client().push(to_room(), None).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "NO_KEY"), "{status}");
    for bad in [wrong.as_str(), "pck_checkout_", "x", &"x".repeat(4000)] {
        let client = guarded.client(bad);
        let status = client.push(to_room(), None).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNKNOWN_KEY"));
        assert_eq!(client.nodes().await.unwrap_err().code(), Code::Unauthenticated);
        // The stream itself is refused, not its items.
        let opened = client.stream(1).await.map(|_| ());
        assert_eq!(opened.unwrap_err().code(), Code::Unauthenticated);
    }
    let client = guarded.client(&key);
    assert_eq!(client.push(to_room(), None).await.unwrap().acked, 1);
    assert_eq!(client.nodes().await.unwrap().nodes.len(), 1);

    for authorization in ["", "Basic eDp5", "Bearer", &format!("Bearer {wrong}")] {
        let answer = guarded.post("/v1/rooms/r/push", authorization, "confidential").await;
        assert_eq!(answer.status, 401, "{authorization}: {}", answer.text());
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.json()["error"]["code"], "UNAUTHENTICATED");
    }
    let nodes = http::get(&guarded.manager.addr.http, "/v1/nodes").await.unwrap();
    assert_eq!(nodes.status, 401, "{}", nodes.text());
    let answer = guarded.post("/v1/rooms/r/push", &format!("bearer {key}"), "confidential").await;
    assert_eq!((answer.status, &answer.json()["acked"]), (200, &1.into()), "{}", answer.text());

    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(http::get(&guarded.manager.addr.http, open).await.unwrap().status, 200, "{open}");
    }
    let url = format!("http://{}", guarded.manager.addr.grpc);
    let mut health = HealthClient::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap();

    assert_eq!((guarded.refused("no_key").await, guarded.refused("unknown_key").await), (5.0, 13.0));
    assert_eq!(guarded.refused("method").await, 0.0);
    guarded.said("A call was refused.", 3).await;
    let log = guarded.manager.process.log();
    for part in [r#""reason":"no_key""#, r#""reason":"unknown_key""#, r#""peer":"127.0.0.1:"#, "PushToRoom"] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    // What was left out of a flood is counted.
    guarded.said("left_out", 1).await;
    guarded.kept_secret(&[&key, &wrong]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_what_its_line_says() {
    let keys = KeysFile::new();
    let shop = keys.add("shop", &["--apps", ",shop", "--methods", "PushToRoom,Broadcast,JoinRoom"]).await;
    let all = keys.add("all", &["--methods", "Broadcast"]).await;
    let guarded = Guarded::by(keys).await;
    let of_app = |app: &str, push: Push| Push { app: app.to_owned(), ..push };
    let everywhere = || Push::new(Target::EveryoneOfAllApps, "confidential");
    let cases = [
        (&shop, to_room(), None),
        (&shop, of_app("shop", to_room()), None),
        (&shop, of_app("other", to_room()), Some("APP_NOT_ALLOWED")),
        (&shop, Push::to_user("u", "confidential"), Some("METHOD_NOT_ALLOWED")),
        (&shop, Push::to_users(&["u"], "confidential"), Some("METHOD_NOT_ALLOWED")),
        (&shop, of_app("shop", Push::to_everyone("confidential")), None),
        (&shop, everywhere(), Some("APP_NOT_ALLOWED")),
        (&all, everywhere(), None),
        (&all, of_app("other", Push::to_everyone("confidential")), None),
        (&all, to_room(), Some("METHOD_NOT_ALLOWED")),
    ];
    for (key, push, expected) in &cases {
        let answer = guarded.client(key).push(push.clone(), None).await;
        let refused = answer.as_ref().err().map(reason);
        assert_eq!(refused.as_deref(), *expected, "{push:?}: {answer:?}");
        if let Err(status) = answer {
            assert_eq!(status.code(), Code::PermissionDenied);
        }
    }
    assert_eq!(guarded.client(&shop).nodes().await.unwrap_err().code(), Code::PermissionDenied);
    // The same, each as an item of a stream, which goes on.
    for who in [&shop, &all] {
        let (sender, mut results) = guarded.client(who).stream(100).await.unwrap();
        let own = || cases.iter().filter(|(key, ..)| *key == who);
        for (tag, (_, push, _)) in (0..).zip(own()) {
            sender.send(tag, push.clone()).await.unwrap();
        }
        drop(sender);
        for (tag, (_, push, expected)) in (0..).zip(own()) {
            let (of, outcome) = results.next().await.unwrap().unwrap();
            assert_eq!((of, outcome.as_ref().err().map(reason).as_deref()), (tag, *expected), "{push:?}");
        }
        assert!(results.next().await.unwrap().is_none());
    }
    let bearer = format!("Bearer {shop}");
    for (path, status) in [
        ("/v1/rooms/r/push?app=shop", 200),
        ("/v1/rooms/r/push?app=other", 403),
        ("/v1/rooms/r/join?user_id=u", 200),
        ("/v1/rooms/r/join?user_id=u&app=other", 403),
        ("/v1/rooms/r/leave?user_id=u", 403),
        ("/v1/users/u/kick", 403),
        ("/v1/broadcast?all_apps=true", 403),
        ("/v1/broadcast", 200),
    ] {
        let answer = guarded.post(path, &bearer, "confidential").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status == 403 {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "PERMISSION_DENIED", "{error}");
            assert!(error["message"].as_str().unwrap().contains("shop may not"), "{error}");
        }
    }
    assert!(guarded.refused("method").await >= 8.0 && guarded.refused("app").await >= 6.0);
    guarded.said(r#""caller":"shop""#, 1).await;
    guarded.kept_secret(&[&shop, &all]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_rate_a_key_is_told_when_to_come_again() {
    let keys = KeysFile::new();
    let few = keys.add("few", &["--pushes-per-second", "2"]).await;
    let small = keys.add("small", &["--bytes-per-second", "100"]).await;
    let guarded = Guarded::by(keys).await;
    let client = guarded.client(&few);
    let mut taken = 0;
    let status = loop {
        match client.push(to_room(), None).await {
            Ok(_) => taken += 1,
            Err(status) => break status,
        }
    };
    // A second's worth is saved up, and the machine may be slow.
    assert!(taken >= 2, "{taken}");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVER_RATE"), "{status}");
    let retry = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!(retry <= Duration::from_millis(500), "{retry:?}");
    tokio::time::sleep(retry).await;
    client.push(to_room(), None).await.unwrap();

    let bearer = format!("Bearer {few}");
    let answer = eventually("HTTP says 429", WITHIN, async || {
        let answer = guarded.post("/v1/rooms/r/push", &bearer, "confidential").await;
        check(answer.status == 429, || answer.text()).map(|()| answer)
    })
    .await;
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["error"]["code"], "RESOURCE_EXHAUSTED");
    assert!(answer.text().contains("retry_delay"), "{}", answer.text());

    let (sender, mut results) = client.stream(100).await.unwrap();
    for tag in 0..50 {
        sender.send(tag, to_room()).await.unwrap();
    }
    drop(sender);
    let mut refused = 0;
    while let Some((_, outcome)) = results.next().await.unwrap() {
        if let Err(status) = outcome {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert!(status.get_error_details().retry_info().is_some());
            refused += 1;
        }
    }
    assert!(refused >= 30, "{refused}");

    // More at once than a second's worth: taken, and paid off, in more seconds than any machine stands still.
    let client = guarded.client(&small);
    client.push(Push::to_room("r", vec![b'x'; 6_000]), None).await.unwrap();
    let status = client.push(Push::to_room("r", "x"), None).await.unwrap_err();
    assert_eq!(reason(&status), "OVER_RATE", "{status}");
    client.push(Push::to_room("r", ""), None).await.unwrap();
    assert!(guarded.refused("rate").await >= 33.0);
    guarded.kept_secret(&[&few, &small]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_taken_away_ends_its_streams_and_nobody_elses() {
    let keys = KeysFile::new();
    let kept = keys.add("kept", &[]).await;
    let gone = keys.add("gone", &[]).await;
    let guarded = Guarded::by(keys).await;
    let (used, mut used_results) = guarded.client(&gone).stream(10).await.unwrap();
    used.send(1, to_room()).await.unwrap();
    used_results.next().await.unwrap().unwrap().1.unwrap();
    let (_idle, mut idle_results) = guarded.client(&gone).stream(10).await.unwrap();
    let (other, mut other_results) = guarded.client(&kept).stream(10).await.unwrap();

    guarded.keys.remove("gone");
    // Both are idle: nothing but the file tells the manager.
    for results in [&mut used_results, &mut idle_results] {
        let ended = timeout(WITHIN, results.next()).await.expect("the stream ends");
        let status = ended.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNKNOWN_KEY"));
    }
    let status = guarded.client(&gone).push(to_room(), None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    other.send(1, to_room()).await.unwrap();
    other_results.next().await.unwrap().unwrap().1.unwrap();

    // A key that is added opens without a restart, and rights that change hold on streams that are open.
    let new = guarded.keys.add("new", &[]).await;
    eventually("the new key opens", WITHIN, async || {
        guarded.client(&new).push(to_room(), None).await.map_err(|status| status.to_string())
    })
    .await;
    let text = guarded.keys.text();
    let (first, rest) = text.split_once('\n').unwrap();
    guarded.keys.write(&format!("{}\n{rest}", first.replace("methods=*", "methods=Kick")));
    eventually("the stream has the rights of now", WITHIN, async || {
        other.send(2, to_room()).await.unwrap();
        let outcome = other_results.next().await.unwrap().unwrap().1;
        check(outcome.is_err_and(|status| status.code() == Code::PermissionDenied), || "taken".to_owned())
    })
    .await;
    guarded.kept_secret(&[&kept, &gone, &new]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_good_changes_nothing_and_is_named() {
    let keys = KeysFile::new();
    let first = keys.add("first", &[]).await;
    let second = keys.add("second", &[]).await;
    let guarded = Guarded::by(keys).await;
    let good = guarded.keys.text();
    let both_open = async || {
        for key in [&first, &second] {
            guarded.client(key).push(to_room(), None).await.unwrap();
        }
    };
    // The first key is gone from it, but its second line is broken: by a key that stands where its hash should.
    let second_line = good.lines().nth(1).unwrap();
    let hash = second_line.split(' ').nth(1).unwrap();
    let broken = format!("# keys\n{}\n", second_line.replace(hash, &format!("blake3={second}")));
    let path = guarded.keys.path().to_owned();
    for (number, text) in (1..).zip([broken.as_str(), "", "# no keys\n"]) {
        guarded.keys.write(text);
        guarded.said("The API keys stay as they are", number).await;
        both_open().await;
    }
    let log = guarded.manager.process.log();
    assert!(
        log.contains("line 2: blake3: looks like the key itself") && log.contains("holds no key"),
        "{log}"
    );
    std::fs::remove_file(&path).unwrap();
    guarded.said("The API keys stay as they are", 4).await;
    both_open().await;
    // It is followed again as soon as it is good.
    std::fs::write(&path, format!("{second_line}\n")).unwrap();
    eventually("the first key is gone", WITHIN, async || {
        let answer = guarded.client(&first).push(to_room(), None).await;
        check(answer.is_err_and(|status| status.code() == Code::Unauthenticated), || "it opens".to_owned())
    })
    .await;
    guarded.client(&second).push(to_room(), None).await.unwrap();
    guarded.kept_secret(&[&first, &second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_even_the_most_talkative_log_has_a_key() {
    let keys = KeysFile::new();
    let key = keys.add("a", &[]).await;
    let node = Sink::start("s1", 1, Manners::Good).await;
    let mut manager = command("push-manager");
    manager.env("RUST_LOG", "trace").args(["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    manager.args(["--fleet-auth", "none", "--nodes", node.addr()]);
    manager.args(["--api-auth", "keys", "--api-keys-file", keys.path()]);
    let mut process = Process::start("m1", manager);
    let addr = process.listening().await;
    let guarded = Guarded { keys, manager: Manager { process, addr }, _node: node };
    guarded.manager.ready().await;
    guarded.client(&key).push(to_room(), None).await.unwrap();
    let forged = forged(&key);
    guarded.client(&forged).push(to_room(), None).await.unwrap_err();
    for key in [&key, &forged] {
        guarded.post("/v1/rooms/r/push", &format!("Bearer {key}"), "confidential").await;
    }
    guarded.kept_secret(&[&key, &forged]);
}

async fn pushctl(arguments: &[&str], key: Option<&str>) -> Finished {
    let mut command = command("pushctl");
    command.args(arguments);
    if let Some(key) = key {
        command.env("PUSHCTL_API_KEY", key);
    }
    run(command, WITHIN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushctl_makes_keys_and_calls_with_them() {
    // Without a file the line is told beside the key: standard output has the key alone.
    let made = pushctl(&["key", "new", "--name", "me", "--apps", "shop"], None).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = made.stdout.strip_suffix('\n').unwrap();
    assert!(
        key.starts_with("pck_me_") && !key.contains('\n') && !made.stderr.contains(key),
        "{}",
        made.stdout
    );
    let line = made.stderr.lines().find(|line| line.starts_with("name=me blake3=")).unwrap();
    assert!(line.ends_with(" apps=shop methods=*"), "{line}");

    let keys = KeysFile::new();
    keys.write(line);
    let other = keys.add("other", &["--methods", "ListNodes"]).await;
    assert_eq!(keys.text().lines().count(), 2, "{}", keys.text());
    let before = keys.text();
    let again = pushctl(&["key", "new", "--name", "me", "--keys-file", keys.path()], None).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""));
    assert!(again.stderr.contains("\"me\" is on line 1 already"), "{}", again.stderr);
    for wrong in
        [&["--name", "a b"][..], &["--name", "a", "--methods", "Push"], &["--name", "a", "--apps", "%ff"]]
    {
        let refused = pushctl(&[&["key", "new", "--keys-file", keys.path()], wrong].concat(), None).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""), "{wrong:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(wrong[wrong.len() - 2]), "{}", refused.stderr);
    }
    assert_eq!(keys.text(), before);

    let guarded = Guarded::by(keys).await;
    let (grpc, http) = (guarded.manager.addr.grpc.clone(), guarded.manager.addr.http.clone());
    let push = ["push", "room", "r", "hello", "--app", "shop", "--manager", &grpc];
    let nodes = ["nodes", "--manager", &grpc];
    let top = ["top", "--once", "--interval", "100ms", "--http", &http];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{key}\n")).unwrap();
    let from_file = ["--api-key-file", file.path().to_str().unwrap()];
    for command in [&push[..], &nodes, &top] {
        let done = pushctl(command, Some(key)).await;
        assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
        // The file beats the variable.
        let done = pushctl(&[command, &from_file].concat(), Some("pck_wrong")).await;
        assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
        let refused = pushctl(command, None).await;
        assert_eq!(refused.code, Some(1), "{command:?}");
        assert!(refused.stderr.contains("PUSHCTL_API_KEY"), "{}", refused.stderr);
        let unknown = pushctl(command, Some("pck_wrong")).await;
        assert_eq!(unknown.code, Some(1), "{command:?}");
        assert!(unknown.stderr.contains("not know the key"), "{}", unknown.stderr);
        assert!(!unknown.stderr.contains("pck_wrong"), "{}", unknown.stderr);
    }
    let refused = pushctl(&push, Some(&other)).await;
    assert_eq!(refused.code, Some(1));
    for part in ["other may not call PushToRoom", "--api-keys-file"] {
        assert!(refused.stderr.contains(part), "{part} is missing: {}", refused.stderr);
    }
    // The keys file itself, given by mistake, is no key, and is not repeated.
    let mistaken = pushctl(&[&push[..], &["--api-key-file", guarded.keys.path()]].concat(), None).await;
    assert_eq!(mistaken.code, Some(64), "{}", mistaken.stderr);
    assert!(
        mistaken.stderr.contains("it is no key") && !mistaken.stderr.contains("blake3"),
        "{}",
        mistaken.stderr
    );
    guarded.kept_secret(&[key, &other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_key_settings_are_reported_together() {
    let keys = KeysFile::new();
    keys.write("name=a blake3=12 apps=* methods=*\n\nname=a/b methods=Push\n");
    let mut manager = command("push-manager");
    manager.args(["--api-auth", "none", "--api-keys-file", keys.path(), "--log-age", "soon"]);
    let ended = run(manager, WITHIN).await;
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    let complaints = [
        "has no effect with --api-auth none",
        "line 1: blake3",
        "line 3: name",
        "line 3: methods",
        "--log-age",
    ];
    for complaint in complaints {
        assert!(ended.stderr.contains(complaint), "{complaint} is missing: {}", ended.stderr);
    }
    let mut manager = command("push-manager");
    manager.args(["--fleet-auth", "none", "--nodes", "127.0.0.1:1"]).env("PUSH_MANAGER_API_AUTH", "keys");
    let ended = run(manager, WITHIN).await;
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    assert!(ended.stderr.contains("--api-keys-file: must be given"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_calls_with_a_key() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing; run tests/install.sh (or `make test`)", python.display());
    let keys = KeysFile::new();
    let key = keys.add("python", &["--methods", "PushToRoom", "--apps", ""]).await;
    let guarded = Guarded::by(keys).await;
    let mut command = Command::new(python);
    command.arg(root.join("tests/python/with_key.py")).arg("--protos").arg(root.join("proto"));
    command.args(["--manager", &guarded.manager.addr.grpc]).env("KEY", &key);
    let finished = run(command, Duration::from_secs(60)).await;
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.trim_end().ends_with("as it should be"), "{}", finished.stdout);
    guarded.kept_secret(&[&key]);
}
