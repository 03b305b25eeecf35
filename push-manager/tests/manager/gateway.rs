//! Pushes with curl.

use push_manager::Config;
use pushcast_common::registry::Registry;
use pushcast_proto::connectnode::v1::message::Target;
use serde_json::{Value, json};

use crate::{
    harness::{Manager, until},
    http::{get, post, request},
    sink::{Mood, Options, Sink},
};

pub(crate) fn fields(answer: &Value) -> Vec<&str> {
    let violations = answer["error"]["details"][0]["field_violations"].as_array().unwrap();
    violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_push_has_a_path() {
    let rooms = vec![("a/b c", 2), ("u", 1), ("*", 3)];
    let a = Sink::with("a", Options { rooms, ..Options::default() });
    let manager = Manager::of(&[&a]).await;
    let http = manager.http_addr;

    let answer = post(http, "/v1/rooms/a%2Fb%20c/push?app=x%26y&uri=chat/Message", b"hi\0").await;
    assert_eq!(answer.status, 200);
    let mut body = answer.json();
    assert!(body["message_id"].take().as_str().unwrap().ends_with("-1"));
    let expected = json!({
        "message_id": null, "nodes": 1, "acked": 1, "delivered_nodes": 1, "recipients": 2, "pending_nodes": [],
    });
    assert_eq!(body, expected);
    let message = a.see(|seen| seen.messages[0].clone());
    assert_eq!(message.target, Some(Target::RoomId("a/b c".into())));
    assert_eq!((message.app.as_str(), message.uri.as_str()), ("x&y", "chat/Message"));
    assert_eq!(message.content, "hi\0");

    assert_eq!(post(http, "/v1/users/u/push", b"x").await.json()["recipients"], 1);
    assert_eq!(post(http, "/v1/broadcast?all_apps=true", b"x").await.json()["recipients"], 3);
    let users = json!({ "user_ids": ["u", "v"], "text": "hé" }).to_string();
    let answer = post(http, "/v1/push-to-users", users.as_bytes()).await.json();
    assert_eq!(answer["recipients_by_user"], json!({ "u": 1, "v": 0 }));
    let users = json!({ "user_ids": ["u"], "content": "aMOp", "app": "t" }).to_string();
    post(http, "/v1/push-to-users?ack=accepted", users.as_bytes()).await;
    until("the last one arrives", async || a.seqs().len() == 5).await;
    let contents = a.see(|seen| seen.messages.iter().map(|m| m.content.clone()).collect::<Vec<_>>());
    assert_eq!(contents[3..], ["hé", "hé"]);

    let nodes = get(http, "/v1/nodes").await.unwrap().json();
    assert_eq!(nodes["nodes"][0]["node_id"], "a");
    assert_eq!(nodes["nodes"][0]["link"], "linked");
    assert_eq!(nodes["newest_seq"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_and_say_what_is_wrong() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let http = manager.http_addr;
    let too_long = vec![b'x'; (64 << 10) + 1];
    let long_id = format!("/v1/rooms/{}/push", "x".repeat(129));
    let cases: [(&str, &[u8], &[&str]); 9] = [
        ("/v1/rooms/r/push?bogus=1&app=a&aap=2", b"", &["bogus", "aap"]),
        ("/v1/rooms/r/push?timeout=soon&ack=no", b"", &["timeout", "ack"]),
        ("/v1/rooms/r/push", &too_long, &["content"]),
        (&long_id, b"", &["room_id"]),
        ("/v1/rooms/%ff/push", b"", &["room_id"]),
        ("/v1/broadcast?all_apps=true&app=a", b"", &["app"]),
        ("/v1/push-to-users", b"{", &["body"]),
        ("/v1/push-to-users", b"{\"user_ids\":[]}", &["user_ids"]),
        ("/v1/push-to-users", b"{\"user_ids\":[\"u\"],\"content\":\"!\"}", &["content"]),
    ];
    for (path, body, expected) in cases {
        let answer = post(http, path, body).await;
        assert_eq!(answer.status, 400, "{path} {}", answer.body);
        let json = answer.json();
        assert_eq!(json["error"]["code"], "INVALID_ARGUMENT", "{path}");
        assert_eq!(fields(&json), expected, "{path}");
    }
    assert_eq!(get(http, "/v1/bogus").await.unwrap().json()["error"]["code"], "NOT_FOUND");
    assert_eq!(request(http, "GET", "/v1/broadcast", b"").await.unwrap().status, 405);
    assert_eq!(a.seqs(), [0; 0]);

    a.mood(Mood::Holds);
    let answer = post(http, "/v1/rooms/r/push?timeout=100ms", b"x").await;
    assert_eq!(answer.status, 504);
    let error = answer.json()["error"].take();
    assert_eq!(error["code"], "DEADLINE_EXCEEDED");
    assert!(error["details"][0]["metadata"]["message_id"].as_str().unwrap().ends_with("-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nodes_it_is_unavailable() {
    let manager = Manager::start(Config::default(), Registry::memory());
    manager.ready().await;
    let answer = post(manager.http_addr, "/v1/rooms/r/push", b"x").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "NO_CONNECT_NODES");
}
