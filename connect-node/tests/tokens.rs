//! Clients with tokens, in virtual time: who is let in, into which rooms, and for how long.

mod peer;

use std::{sync::Arc, time::Duration};

use connect_node::{
    auth::{ClientAuth, Expected, Jwt, KeySet},
    ingest::IngestSettings,
    shard::{frames::Format, slab::SlabKey},
    tickets::TicketKeys,
};
use jsonwebtoken::{EncodingKey, Header, encode};
use peer::{EPOCH, Got, Node, Peer};
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// When the tests begin, seconds since 1970.
const BEGIN: u64 = EPOCH / 1_000_000;

const WARNING: u64 = 60_000;
const LEEWAY: u64 = 10_000;

fn node() -> Node {
    let expected = Expected { leeway: Duration::from_millis(LEEWAY), ..Expected::default() };
    let keys = KeySet::from_file(SECRET).expect("a secret");
    let auth = ClientAuth::Jwt(Arc::new(Jwt::new(keys, expected, false)));
    Node::with_auth(IngestSettings::default(), TicketKeys::random(), auth)
}

fn secret(bytes: &[u8]) -> EncodingKey {
    EncodingKey::from_secret(bytes).expect("a secret")
}

fn token(claims: &Value) -> String {
    encode(&Header::default(), claims, &secret(SECRET)).expect("it is JSON")
}

/// A token that ends in so many seconds.
fn ending_in(seconds: u64, user: &str, rooms: &[&str]) -> String {
    token(&json!({"sub": user, "exp": BEGIN + seconds, "rooms": rooms}))
}

fn say(node: &mut Node, key: SlabKey, frame: &Value) {
    node.text(key, &frame.to_string());
}

/// Connects, and returns what came of it.
fn connect(node: &mut Node, connect: &Value) -> (SlabKey, Peer, Vec<Got>) {
    let (key, peer) = node.open(Format::Json);
    say(node, key, &json!({"id": 1, "connect": connect}));
    let frames = peer.frames();
    (key, peer, frames)
}

/// A client that is let in.
fn client(node: &mut Node, token: &str, rooms: &[&str]) -> (SlabKey, Peer) {
    let (key, peer, frames) = connect(node, &json!({"token": token, "rooms": rooms}));
    let Got::Json(frame) = &frames[0] else { panic!("{frames:?}") };
    // No rooms at all are left out.
    let is_in = frame["connected"]["rooms"].as_array().map_or(0, Vec::len);
    assert!(frame["connected"].is_object() && is_in == rooms.len(), "{frames:?}");
    (key, peer)
}

/// The code of the error and the close code.
fn refused(frames: &[Got]) -> (String, u16) {
    let [Got::Json(error), Got::Close(code, _)] = frames else { panic!("{frames:?}") };
    (error["error"]["code"].as_str().expect("an error").to_owned(), *code)
}

fn answer(peer: &Peer) -> Value {
    let answers = peer.frames().into_iter().rev().find_map(|frame| match frame {
        Got::Json(frame) if frame.get("id").is_some() => Some(frame),
        _ => None,
    });
    answers.expect("an answer")
}

#[test]
fn a_client_is_who_its_token_says() {
    let mut node = node();
    let good = token(&json!({"sub": "u1", "app": "shop", "exp": BEGIN + 600}));
    let (_, _, frames) = connect(&mut node, &json!({"token": good}));
    assert!(matches!(&frames[0], Got::Json(frame) if frame["connected"]["user_id"] == "u1"), "{frames:?}");
    for connect_as in
        [json!({"user_id": "u2"}), json!({"app": "other"}), json!({"user_id": "u1", "app": "x"})]
    {
        let mut asked = connect_as;
        asked["token"] = json!(good);
        let (_, _, frames) = connect(&mut node, &asked);
        assert_eq!(refused(&frames), ("permission_denied".to_owned(), 4501), "{asked}");
    }
    let (_, _, frames) = connect(&mut node, &json!({"token": good, "user_id": "u1", "app": "shop"}));
    assert!(matches!(&frames[0], Got::Json(frame) if frame["connected"].is_object()), "{frames:?}");
}

#[test]
fn whoever_has_no_good_token_learns_why_and_nothing_else() {
    let mut node = node();
    let other = encode(
        &Header::default(),
        &json!({"sub": "u1", "exp": BEGIN + 600}),
        &secret(b"another secret that is long enough"),
    );
    let late = token(&json!({"sub": "u1", "exp": BEGIN + 900, "nbf": BEGIN + 300}));
    let bad = [
        String::new(),
        "not.a.token".to_owned(),
        "x".repeat(64 << 10),
        other.expect("it is JSON"),
        token(&json!({"sub": "u1", "exp": BEGIN - 60})),
        token(&json!({"exp": BEGIN + 600})),
        token(&json!({"sub": "u1"})),
        late,
    ];
    for token in bad {
        let (key, peer, frames) = connect(&mut node, &json!({"token": token, "rooms": ["r1"]}));
        assert_eq!(refused(&frames), ("unauthenticated".to_owned(), 4501), "{token:.40}");
        node.push_to_room("r1", b"for members");
        node.deliver();
        say(&mut node, key, &json!({"id": 2, "join": {"rooms": ["r1"]}}));
        assert_eq!(peer.frames(), [], "{token:.40}");
    }
    assert!(node.recipients().iter().all(|recipients| *recipients == 0));
}

#[test]
fn a_token_that_came_with_the_upgrade_counts_if_the_frame_has_none() {
    let mut node = node();
    let (key, peer) = node.open(Format::Json);
    node.shard.bring_token(key, ending_in(600, "u1", &[]));
    say(&mut node, key, &json!({"id": 1, "connect": {}}));
    assert_eq!(answer(&peer)["connected"]["user_id"], "u1");
    let (key, peer) = node.open(Format::Json);
    node.shard.bring_token(key, ending_in(600, "u1", &[]));
    say(&mut node, key, &json!({"id": 1, "connect": {"token": ending_in(600, "u2", &[])}}));
    assert_eq!(answer(&peer)["connected"]["user_id"], "u2");
}

#[test]
fn rooms_outside_the_claim_are_refused_all_or_nothing() {
    let mut node = node();
    let allowed = ending_in(600, "u1", &["lobby", "team-7-*"]);
    let (key, peer) = client(&mut node, &allowed, &["lobby", "team-7-chat"]);
    for rooms in [&["lobby", "team-8-chat"][..], &["lobb"], &["lobby2"], &["team-7"], &["*"]] {
        say(&mut node, key, &json!({"id": 2, "join": {"rooms": rooms}}));
        assert_eq!(answer(&peer)["error"]["code"], "permission_denied", "{rooms:?}");
        let (_, _, frames) = connect(&mut node, &json!({"token": allowed, "rooms": rooms}));
        assert_eq!(refused(&frames), ("permission_denied".to_owned(), 4501), "{rooms:?}");
    }
    say(&mut node, key, &json!({"id": 3, "join": {"rooms": ["team-7-", "team-7-voice"]}}));
    assert_eq!(answer(&peer)["ok"]["rooms"], json!(["lobby", "team-7-", "team-7-chat", "team-7-voice"]));
    for none in [token(&json!({"sub": "u2", "exp": BEGIN + 600})), ending_in(600, "u2", &[])] {
        let (_, _, frames) = connect(&mut node, &json!({"token": none, "rooms": ["lobby"]}));
        assert_eq!(refused(&frames), ("permission_denied".to_owned(), 4501));
        client(&mut node, &none, &[]);
    }
}

#[test]
fn a_client_is_warned_and_then_ended_on_time_unless_it_renews() {
    let mut node = node();
    let (idle_key, idle) = client(&mut node, &ending_in(300, "u1", &[]), &[]);
    let (key, renewing) = client(&mut node, &ending_in(300, "u2", &["r1"]), &["r1"]);
    let end = 300_000 + LEEWAY;
    let mut warned = None;
    while node.millis < end - 1_000 {
        node.pass(1_000);
        for key in [idle_key, key] {
            node.text(key, r#"{"pong":{}}"#);
        }
        let warning = idle.frames().into_iter().find_map(|frame| match frame {
            Got::Json(frame) => frame["token_expiring"]["in_ms"].as_u64(),
            Got::Close(..) => panic!("ended at {}", node.millis),
            _ => None,
        });
        if let Some(in_ms) = warning {
            assert!(warned.replace(node.millis).is_none(), "warned twice");
            assert!(in_ms.abs_diff(end - node.millis) <= 1_000, "{in_ms} at {}", node.millis);
            say(&mut node, key, &json!({"id": 7, "renew": {"token": ending_in(900, "u2", &["r1", "r2"])}}));
            assert_eq!(answer(&renewing)["ok"]["rooms"], json!(["r1"]), "rooms are kept");
        }
    }
    let warned = warned.expect("it was warned");
    assert!(warned.abs_diff(end - WARNING) <= 1_000, "warned at {warned}");
    node.pass(1_100);
    assert_eq!(idle.close_code(), Some(4502));
    say(&mut node, key, &json!({"id": 8, "join": {"rooms": ["r2"]}}));
    assert_eq!(answer(&renewing)["ok"]["rooms"], json!(["r1", "r2"]), "the newer token counts");
}

#[test]
fn whoever_shows_the_same_token_again_is_not_warned_again() {
    let mut node = node();
    let token = ending_in(30, "u1", &[]);
    let (key, peer) = client(&mut node, &token, &[]);
    let warnings = |peer: &Peer| {
        let warns = |frame: &Got| matches!(frame, Got::Json(frame) if frame["token_expiring"].is_object());
        peer.frames().iter().filter(|frame| warns(frame)).count()
    };
    // Half of its life, which is shorter than the time a warning should come before.
    node.pass(20_000 - 100);
    assert_eq!(warnings(&peer), 0);
    node.pass(200);
    assert_eq!(warnings(&peer), 1);
    say(&mut node, key, &json!({"id": 2, "renew": {"token": token}}));
    assert!(answer(&peer)["ok"].is_object());
    node.pass(19_000);
    assert_eq!(warnings(&peer), 0);
    node.pass(1_000);
    assert_eq!(peer.close_code(), Some(4502));
}

#[test]
fn a_token_of_the_upgrade_is_not_kept() {
    let mut node = node();
    let (key, peer) = node.open(Format::Json);
    node.shard.bring_token(key, ending_in(600, "u1", &[]));
    say(&mut node, key, &json!({"id": 1, "connect": {"token": ending_in(600, "u2", &[])}}));
    assert_eq!(answer(&peer)["connected"]["user_id"], "u2");
    let kept = format!("{:?}", node.shard);
    assert!(kept.contains("grant: Some"), "what is kept is shown");
    assert!(!kept.contains("eyJ"), "a token is kept");
}

#[test]
fn a_renewal_for_somebody_else_or_with_a_bad_token_changes_nothing() {
    let mut node = node();
    let (key, peer) = client(&mut node, &ending_in(30, "u1", &["r1"]), &["r1"]);
    let other_app = token(&json!({"sub": "u1", "app": "x", "exp": BEGIN + 900}));
    for (token, code) in [
        (ending_in(900, "u2", &["r9"]), "permission_denied"),
        (other_app, "permission_denied"),
        ("nonsense".to_owned(), "unauthenticated"),
        (String::new(), "unauthenticated"),
        (token(&json!({"sub": "u1", "exp": BEGIN - 60})), "unauthenticated"),
    ] {
        say(&mut node, key, &json!({"id": 2, "renew": {"token": token}}));
        assert_eq!(answer(&peer)["error"]["code"], code);
    }
    say(&mut node, key, &json!({"id": 3, "join": {"rooms": ["r9"]}}));
    assert_eq!(answer(&peer)["error"]["code"], "permission_denied");
    node.pass(30_000 + LEEWAY + 100);
    assert_eq!(peer.close_code(), Some(4502));
}

#[test]
fn a_ticket_must_agree_with_the_token() {
    let mut node = node();
    let (_, peer, frames) =
        connect(&mut node, &json!({"token": ending_in(600, "u1", &["r1"]), "rooms": ["r1"]}));
    let ticket = frames.iter().find_map(|frame| match frame {
        Got::Json(frame) => frame["ticket"]["ticket"].as_str().map(str::to_owned),
        _ => None,
    });
    let ticket = ticket.expect("a ticket follows");
    drop(peer);
    node.beat();
    let resume = |user: &str, rooms: &[&str], ticket: &str| {
        json!({"token": ending_in(600, user, rooms), "rooms": ["r1", "r2"],
               "resume": {"ticket": ticket, "attempt": 3}})
    };
    let connected = |frames: &[Got]| match &frames[0] {
        Got::Json(frame) => (frame["connected"]["recovered"].clone(), frame["connected"]["rooms"].clone()),
        other => panic!("{other:?}"),
    };
    let (_, _, frames) = connect(&mut node, &resume("u2", &["r2"], &ticket));
    assert_eq!(connected(&frames), (json!(false), json!(["r2"])), "another user: only what its token allows");
    let (_, _, frames) = connect(&mut node, &resume("u1", &["r2"], "cut"));
    assert_eq!(connected(&frames), (json!(false), json!(["r2"])), "no ticket: rooms are authorised anew");
    let (_, _, frames) = connect(&mut node, &json!({"token": "", "resume": {"ticket": ticket}}));
    assert_eq!(refused(&frames), ("unauthenticated".to_owned(), 4501), "a ticket alone is not enough");
    let (_, _, frames) = connect(&mut node, &resume("u1", &[], &ticket));
    assert_eq!(connected(&frames), (json!(true), json!(["r1"])), "rooms are the ticket's");
}

#[test]
fn a_key_that_may_be_there_soon_is_worth_another_try_once() {
    let jwks =
        json!({"keys": [{"kty": "oct", "kid": "old", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]});
    let keys = KeySet::from_file(jwks.to_string().as_bytes()).expect("a JWKS");
    let jwt = Jwt::new(keys, Expected::default(), true);
    let auth = ClientAuth::Jwt(Arc::new(jwt));
    let mut node = Node::with_auth(IngestSettings::default(), TicketKeys::default(), auth);
    let signed_with = |kid: &str| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::default() };
        let claims = json!({"sub": "u1", "exp": BEGIN + 600});
        encode(&header, &claims, &secret(SECRET)).expect("it is JSON")
    };
    client(&mut node, &signed_with("old"), &[]);
    let (_, _, frames) = connect(&mut node, &json!({"token": signed_with("new")}));
    assert_eq!(refused(&frames), ("unavailable".to_owned(), 1013), "the node asks for keys meanwhile");
}
