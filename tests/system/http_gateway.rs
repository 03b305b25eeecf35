//! The same pushes over HTTP, for curl.

use pushcast_tests::{
    fleet::{Fleet, Plan},
    http,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_pushes_and_gets_the_same_answer() {
    let fleet = Fleet::of(Plan { nodes: 2, ..Plan::default() }).await;
    let addr = &fleet.managers[0].addr.http;
    let mut listener = fleet.nodes[0].listen("u/1 ü", &["r/1"]).await;

    let answer = http::post(addr, "/v1/rooms/r%2F1/push?uri=chat%2FMessage", "to the room").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["nodes"], 2);
    assert_eq!(body["acked"], 2);
    assert_eq!(body["delivered_nodes"], 1);
    assert_eq!(body["recipients"], 1);
    assert_eq!(body["pending_nodes"], json!([]));
    let push = listener.next_push().await;
    assert_eq!((push.uri.as_str(), push.room_id.as_str()), ("chat/Message", "r/1"));
    assert_eq!(body["message_id"], push.message_id);

    let binary = vec![0_u8, 0xff, 10, 34];
    let answer =
        http::post(addr, "/v1/users/u%2F1%20%C3%BC/push?ack=accepted", binary.clone()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    // Zeros are printed.
    assert_eq!((&body["nodes"], &body["recipients"]), (&json!(0), &json!(0)));
    assert_eq!(listener.next_push().await.content, binary);

    let answer = http::post(addr, "/v1/broadcast?timeout=2s", "to all").await.unwrap();
    assert_eq!((answer.status, &answer.json()["recipients"]), (200, &json!(1)), "{}", answer.text());
    assert_eq!(listener.next_text().await, "to all");

    let nodes = http::get(addr, "/v1/nodes").await.unwrap();
    assert_eq!(nodes.status, 200);
    let ids: Vec<_> =
        nodes.json()["nodes"].as_array().unwrap().iter().map(|n| n["node_id"].clone()).collect();
    assert_eq!(ids, ["n1", "n2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_users_are_pushed_to_over_http() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let addr = &fleet.managers[0].addr.http;
    let mut listener = fleet.nodes[0].listen("u1", &[]).await;
    // The request in JSON; its content in base64, as everywhere in protobuf's JSON.
    let request = json!({"user_ids": ["u1", "u2"], "content": "dG8gc29tZQ=="});
    let answer = http::post(addr, "/v1/push-to-users", request.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["recipients_by_user"], json!({"u1": 1, "u2": 0}));
    assert_eq!(listener.next_text().await, "to some");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_over_http_are_told_in_json() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let addr = &fleet.managers[0].addr.http;
    let long = "x".repeat(129);
    for (path, body, status, code) in [
        (format!("/v1/rooms/{long}/push"), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/v1/rooms/a%0Ab/push".to_owned(), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/v1/rooms/%ff/push".to_owned(), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/v1/rooms/r/push?ack=perhaps".to_owned(), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/v1/rooms/r/push?timeout=soon".to_owned(), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        (format!("/v1/rooms/r/push?request_id={}", "x".repeat(65)), "x".to_owned(), 400, "INVALID_ARGUMENT"),
        ("/v1/rooms/r/push".to_owned(), "x".repeat((64 << 10) + 1), 400, "INVALID_ARGUMENT"),
        ("/v1/no/such/thing".to_owned(), String::new(), 404, "NOT_FOUND"),
    ] {
        let answer = http::post(addr, &path, body).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{path}: {}", answer.text());
        assert!(!error["message"].as_str().unwrap().is_empty(), "{path}");
    }
    let wrong_method = http::get(addr, "/v1/rooms/r/push").await.unwrap();
    assert_eq!(wrong_method.status, 405, "{}", wrong_method.text());
}
