//! Start, readiness, stop.

use push_manager::{Config, RunError};
use pushcast_common::registry::{Kind, Record, Registry, State};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    harness::{Manager, record, until},
    http::{get, post},
    sink::{Mood, Sink},
};

async fn health(manager: &Manager) -> i32 {
    let mut client = HealthClient::new(manager.channel().await);
    let service = "pushmanager.v1.PushManagerService".to_owned();
    client.check(HealthCheckRequest { service }).await.unwrap().into_inner().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_is_ready_when_its_nodes_answered() {
    let registry = Registry::memory();
    let mut a = Sink::start("a");
    a.cut();
    let _a = registry.register(Kind::Node, record("a", &a)).await.unwrap();
    let manager = Manager::start(Config::default(), registry.clone());
    let mut managers = registry.watch(Kind::Manager);
    managers.wait_for(|set| set.records.len() == 1).await.unwrap();
    let early = get(manager.http_addr, "/readyz").await.unwrap();
    assert_eq!((early.status, &early.json()["state"]), (503, &"starting".into()));
    assert_eq!(health(&manager).await, 2);
    let status = manager.push("r").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_READY");

    let refused = post(manager.http_addr, "/v1/broadcast", b"x").await;
    assert_eq!((refused.status, refused.head.contains("retry-after: 1")), (503, true), "{}", refused.head);

    a.back().await;
    manager.ready().await;
    let ready = get(manager.http_addr, "/readyz").await.unwrap().json();
    assert_eq!((&ready["ready"], &ready["links"]), (&true.into(), &1.into()));
    assert_eq!(ready["grpc_addr"], manager.grpc_addr.to_string());
    assert_eq!(health(&manager).await, 1);
    let is_ready = |record: &Record| record.state == State::Ready;
    managers.wait_for(|set| set.records.values().all(is_ready)).await.unwrap();
    assert_eq!(manager.push("r").await.unwrap().acked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_last_acknowledgement_and_says_close() {
    let registry = Registry::memory();
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    let mut registrations = Vec::new();
    for (id, sink) in [("a", &a), ("b", &b)] {
        registrations.push(registry.register(Kind::Node, record(id, sink)).await.unwrap());
    }
    let manager = Manager::start(Config::default(), registry.clone());
    manager.ready().await;
    manager.push("r").await.unwrap();
    b.mood(Mood::Holds);
    manager.push("r").await.unwrap();

    let mut managers = registry.watch(Kind::Manager);
    manager.shutdown.begin();
    let is_draining = |record: &Record| record.state == State::Draining;
    managers.wait_for(|set| set.records.values().any(is_draining)).await.unwrap();
    let status = manager.push("r").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(get(manager.http_addr, "/readyz").await.unwrap().status, 503);
    assert_eq!(a.see(|seen| seen.closed_at), None);

    b.mood(Mood::Acks);
    manager.ended().await.unwrap();
    assert_eq!((a.see(|seen| seen.closed_at), b.see(|seen| seen.closed_at)), (Some(2), Some(2)));
    assert!(managers.borrow().records.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_started_while_etcd_is_down_works_from_its_nodes() {
    let flags = [
        "push-manager",
        "--api-auth=none",
        "--fleet-auth=none",
        "--insecure",
        "--etcd-endpoints=127.0.0.1:1",
    ];
    let a = Sink::start("a");
    let nodes = format!("--nodes={}", a.addr);
    let config = Config::from_args(flags.iter().copied().chain([&*nodes]).map(Into::into)).unwrap();
    let registry = config.registry();
    let manager = Manager::start(config, registry);
    manager.ready().await;
    assert_eq!(manager.push("r").await.unwrap().acked, 1);
    manager.stop().await.unwrap();
    assert_eq!(a.see(|seen| seen.closed_at), Some(1));

    // Without such nodes it knows nobody and says so.
    let config = Config::from_args(flags.map(Into::into)).unwrap();
    let registry = config.registry();
    let manager = Manager::start(config, registry);
    until("it answers", async || get(manager.http_addr, "/readyz").await.is_some()).await;
    assert_eq!(get(manager.http_addr, "/readyz").await.unwrap().status, 503);
    manager.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    a.mood(Mood::Holds);
    manager.push("r").await.unwrap();
    manager.shutdown.begin();
    until("it drains", async || {
        get(manager.http_addr, "/readyz").await.is_some_and(|answer| answer.status == 503)
    })
    .await;
    manager.shutdown.force_now();
    assert!(matches!(manager.ended().await, Err(RunError::Forced)));
    assert_eq!(a.see(|seen| seen.closed_at), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    let manager = Manager::start(Config::default(), Registry::memory());
    manager.ready().await;
    let mut client = ServerReflectionClient::new(manager.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut responses =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let response = responses.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = response else { panic!("{response:?}") };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "pushmanager.v1.PushManagerService"];
    assert_eq!(names, expected);
}
