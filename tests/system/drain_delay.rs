//! A manager that has been asked to stop, and still takes pushes from those who have not heard of it.

use std::time::{Duration, Instant};

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Manager, Plan},
    http,
    raw::exchange_bytes,
};
use pushctl::push::Push;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Longer than what is looked at meanwhile takes on a busy machine.
const DELAY: Duration = Duration::from_secs(10);

/// The delay and a stop, doubled.
const WITHIN: Duration = Duration::from_secs(50);

async fn says_that_it_leaves(manager: &Manager) {
    eventually("the manager says that it will stop", WITHIN, async || {
        let answer = http::get(&manager.addr.http, "/readyz").await?;
        check(answer.status == 503 && answer.json()["state"] == "draining", || answer.text())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_are_taken_until_everybody_has_heard_of_the_stop() {
    let mut fleet =
        Fleet::of(Plan { nodes: 1, manager_flags: &[("--drain-delay", "10s")], ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let manager = &mut fleet.managers[0];
    let client = manager.client();
    let (stream, mut results) = client.stream(10).await.unwrap();
    let url = format!("http://{}", manager.addr.grpc);
    let mut health = HealthClient::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap());
    let begun = Instant::now();
    manager.process.terminate();
    says_that_it_leaves(manager).await;

    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    stream.send(0, Push::to_room("r", "by stream")).await.unwrap();
    assert_eq!(results.next().await.unwrap().unwrap().1.unwrap().recipients, 1);
    // A connection that could be kept is ended with the answer: the next one goes elsewhere.
    let request = b"POST /v1/rooms/r/push HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nby HTTP";
    let answer = exchange_bytes(&manager.addr.http, request).await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    // Whoever comes only now is taken, too.
    manager.client().push(Push::to_room("r", "newly come"), None).await.unwrap();
    // Whoever makes one call after the other is never told that the manager is stopping: it is told to connect elsewhere
    // before, and finds that there is nobody.
    let mut pushed = 0;
    let refused = loop {
        match client.push(Push::to_room("r", pushed.to_string()), None).await {
            Ok(answer) => assert_eq!(answer.recipients, 1),
            Err(status) => break status,
        }
        pushed += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(begun.elapsed() >= DELAY, "{refused} after {:?}", begun.elapsed());
    assert!(!refused.message().contains("stopping"), "{refused}");
    // A stream is told by name.
    let refused = results.next().await.unwrap_err();
    assert!(refused.code() == Code::Unavailable && refused.message().contains("stopping"), "{refused}");

    let status = manager.process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0), "{status}\n{}", manager.process.log());
    let expected: Vec<String> = ["by stream", "by HTTP", "newly come"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..pushed).map(|n| n.to_string()))
        .collect();
    for content in expected {
        assert_eq!(listener.next_text().await, content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_delay_at_once() {
    let mut manager = Manager::start("m1", &[("--nodes", "127.0.0.1:9"), ("--drain-delay", "10m")]).await;
    manager.ready().await;
    manager.process.terminate();
    says_that_it_leaves(&manager).await;
    manager.process.terminate();
    let status = manager.process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(1), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_no_pushes_yet_has_nobody_to_wait_for() {
    // Without etcd it knows no nodes, and never becomes ready.
    let flags = [("--etcd-endpoints", "127.0.0.1:9"), ("--drain-delay", "10m")];
    let mut manager = Manager::start("m1", &flags).await;
    manager.process.terminate();
    let status = manager.process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0), "{status}");
}
