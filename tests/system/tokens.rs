//! Clients with tokens of other people's libraries, and keys that come, change and fail to come.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pushcast_tests::{
    eventually::{check, equal, eventually},
    fleet::Node,
    processes::run,
};
use pushctl::client::{Client, ConnectError, Event, Options};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Longer than two pauses between fetches (10 s each), doubled.
const WITHIN: Duration = Duration::from_secs(40);

const EXPECTED: [(&str, &str); 3] =
    [("--auth", "jwt"), ("--jwt-issuer", "login"), ("--jwt-audience", "push,mobile")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn output(mut command: Command, argument: &Path) -> String {
    command.arg(argument).current_dir(root());
    let finished = run(command, Duration::from_secs(60)).await;
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

fn list(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

async fn connect(node: &Node, token: &str, rooms: &[&str]) -> Result<Client, ConnectError> {
    let rooms = rooms.iter().map(|&room| room.to_owned()).collect();
    Client::connect(&Options { token: token.to_owned(), rooms, ..Options::new(node.url()) }).await
}

/// Close code and message of a client that was not let in.
fn refusal(error: &ConnectError) -> (Option<u16>, String) {
    let ConnectError::Closed { closed, .. } = error else { panic!("{error}") };
    (closed.code, closed.error.as_ref().map_or_else(String::new, |error| error.message.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_two_other_libraries_are_taken_in_every_algorithm_and_bad_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut python = Command::new(root().join(".venv/bin/python"));
    python.arg("tests/python/tokens.py");
    output(python, directory.path()).await;
    let mut node = Command::new("node");
    node.arg("tests/node/tokens.mjs");
    let mut tokens = list(&output(node, directory.path()).await);
    tokens.extend(list(&std::fs::read_to_string(directory.path().join("tokens.json")).unwrap()));
    let mut good = 0;
    for file in ["secret.txt", "public.pem", "jwks.json"] {
        let keys = directory.path().join(file).display().to_string();
        let node = Node::alone("n1", &[&EXPECTED[..], &[("--jwt-keys", &keys)]].concat()).await;
        for case in tokens.iter().filter(|case| case["keys"] == file) {
            let (name, expect) = (&case["name"], case["expect"].as_str().unwrap());
            match connect(&node, case["token"].as_str().unwrap(), &["r1", "team-7"]).await {
                Ok(client) => {
                    assert_eq!(expect, "ok", "{name} was taken");
                    assert_eq!(
                        (client.connected().user_id.as_str(), client.rooms().len()),
                        ("u1", 2),
                        "{name}"
                    );
                    good += 1;
                }
                Err(error) => {
                    let (code, message) = refusal(&error);
                    assert_eq!(code, Some(4501), "{name}: {error}");
                    assert!(message.contains(expect), "{name}: {message}, not {expect}");
                }
            }
        }
        let refused = node.metrics().await.sum("connect_node_tokens_refused_total", &[]);
        let bad = tokens.iter().filter(|case| case["keys"] == file && case["expect"] != "ok").count();
        assert_eq!(refused, bad as f64);
        // Nothing secret is in a log.
        node.process.freeze();
        let log = node.process.log();
        for case in tokens.iter().filter(|case| case["keys"] == file) {
            let token = case["token"].as_str().unwrap();
            assert!(!log.contains(token), "{} is in the log", case["name"]);
        }
        assert!(!log.contains("a secret that is long enough"), "the secret is in the log");
    }
    assert_eq!(good, 18, "two libraries, six algorithms, and as JWKS without a kid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_or_ends_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.display().to_string();
    // Long enough for a busy machine to connect and to renew.
    let flags =
        [("--auth", "jwt"), ("--jwt-keys", &*secret), ("--jwt-leeway", "0s"), ("--token-warning", "5s")];
    let node = Node::alone("n1", &flags).await;
    let mut idle = connect(&node, &signed_by_secret("u1", 10), &[]).await.unwrap();
    let mut renewing = connect(&node, &signed_by_secret("u2", 10), &["r1"]).await.unwrap();
    let Event::TokenExpiring(left) = renewing.next().await else { panic!("no warning") };
    assert!(left <= Duration::from_secs(5), "{left:?}");
    let wrong = renewing.renew(&signed_by_secret("u1", 60)).await.unwrap_err();
    assert!(wrong.to_string().contains("permission_denied"), "{wrong}");
    renewing.renew(&signed_by_secret("u2", 60)).await.unwrap();
    let closed = loop {
        if let Event::Closed(closed) = idle.next().await {
            break closed;
        }
    };
    assert_eq!(closed.code, Some(4502));
    assert_eq!(node.push_here("r1", "still here").await, 1);
    assert_eq!(node.metrics().await.sum("connect_node_token_renewals_total", &[]), 1.0);
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn claims(user: &str, seconds: u64) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!({"sub": user, "exp": now.as_secs() + seconds, "rooms": ["r1"]})
}

fn signed_by_secret(user: &str, seconds: u64) -> String {
    let key = EncodingKey::from_secret(SECRET).unwrap();
    encode(&Header::default(), &claims(user, seconds), &key).unwrap()
}

/// A key, as a server of keys shows it and as it signs.
fn key(kid: &str) -> (Value, String) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    let private = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    let token = encode(&header, &claims("u1", 3600), &private).unwrap();
    (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid}), token)
}

/// What a server of keys answers next.
type Answer = Arc<Mutex<Option<Vec<u8>>>>;

/// Answers every request with what there is; with nothing there it hangs up.
async fn serve_keys(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let body = answer.lock().unwrap().clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let Some(body) = body else { return };
                let _ = socket.read(&mut request).await;
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = socket.write_all(head.as_bytes()).await;
                // A node that has read enough hangs up.
                let _ = socket.write_all(&body).await;
            });
        }
    });
    format!("http://{addr}/keys")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_and_rotated_and_stay_while_their_server_is_out_of_its_mind() {
    let (old, old_token) = key("old");
    let (new, new_token) = key("new");
    let answer = Answer::default();
    let url = serve_keys(Arc::clone(&answer)).await;
    let node = Node::alone("n1", &[("--auth", "jwt"), ("--jwt-keys", &url)]).await;
    let reads = async |outcome: &str| {
        node.metrics().await.sum("connect_node_token_key_reads_total", &[("outcome", outcome)])
    };
    // The server is down at first: nobody is let in, and nobody is told to stay away for good.
    eventually("the node has tried", WITHIN, async || check(reads("failed").await >= 1.0, String::new)).await;
    assert_eq!(refusal(&connect(&node, &old_token, &[]).await.unwrap_err()).0, Some(1013));
    *answer.lock().unwrap() = Some(json!({"keys": [old]}).to_string().into_bytes());
    eventually("the key is fetched", WITHIN, async || {
        connect(&node, &old_token, &["r1"]).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    // Asking too often would be of no use: a key that was just looked for is not there.
    let (code, message) = refusal(&connect(&node, &new_token, &[]).await.unwrap_err());
    assert!(matches!(code, Some(4501 | 1013)), "{code:?} {message}");
    for nonsense in [b"<html>Not found</html>".to_vec(), vec![b' '; 100 << 20], b"{\"keys\":[]}".to_vec()] {
        let before = reads("failed").await;
        *answer.lock().unwrap() = Some(nonsense);
        eventually("the node has met the nonsense", WITHIN, async || {
            // Whoever shows an unknown key has the node ask.
            let (code, _) = refusal(&connect(&node, &new_token, &[]).await.unwrap_err());
            check(matches!(code, Some(4501 | 1013)), || format!("{code:?}"))?;
            check(reads("failed").await > before, String::new)
        })
        .await;
        connect(&node, &old_token, &[]).await.unwrap();
    }
    *answer.lock().unwrap() = Some(json!({"keys": [new]}).to_string().into_bytes());
    eventually("the new key is fetched", WITHIN, async || {
        connect(&node, &new_token, &[]).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    // The old one is retired.
    let (code, _) = refusal(&connect(&node, &old_token, &[]).await.unwrap_err());
    assert!(matches!(code, Some(4501 | 1013)), "{code:?}");
    equal(node.metrics().await.sum("connect_node_token_keys", &[]), 1.0).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_is_read_again_and_a_bad_one_changes_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    let path = file.path().display().to_string();
    let node = Node::alone("n1", &[("--auth", "jwt"), ("--jwt-keys", &path)]).await;
    let token = signed_by_secret("u1", 600);
    connect(&node, &token, &[]).await.unwrap();
    let reads = async |outcome: &str| {
        node.metrics().await.sum("connect_node_token_key_reads_total", &[("outcome", outcome)])
    };
    std::fs::write(file.path(), "short").unwrap();
    eventually("the bad file is seen", WITHIN, async || equal(reads("failed").await, 1.0)).await;
    connect(&node, &token, &[]).await.unwrap();
    std::fs::remove_file(file.path()).unwrap();
    eventually("the missing file is seen", WITHIN, async || equal(reads("failed").await, 2.0)).await;
    connect(&node, &token, &[]).await.unwrap();
    std::fs::write(file.path(), b"another secret, no less than 32 bytes").unwrap();
    eventually("the new secret is read", WITHIN, async || equal(reads("ok").await, 1.0)).await;
    assert_eq!(refusal(&connect(&node, &token, &[]).await.unwrap_err()).0, Some(4501));
}
