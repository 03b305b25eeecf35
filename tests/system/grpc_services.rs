//! What every gRPC tool expects of a server: health and reflection.

use std::time::Duration;

use pushcast_tests::{
    eventually::{equal, eventually},
    fleet::{Fleet, Plan},
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const WITHIN: Duration = Duration::from_secs(20);

async fn channel(addr: &str) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

async fn is_serving(addr: &str, service: &str) {
    let mut client = HealthClient::new(channel(addr).await);
    eventually("the health service says serving", WITHIN, async || {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = client.check(request).await.map_err(|status| status.to_string())?;
        equal(answer.into_inner().status(), ServingStatus::Serving)
    })
    .await;
}

async fn reflected(addr: &str) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(addr).await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_are_on() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let manager = &fleet.managers[0].addr.grpc;
    is_serving(manager, "").await;
    is_serving(manager, "pushmanager.v1.PushManagerService").await;
    let services = reflected(manager).await;
    assert!(services.contains(&"pushmanager.v1.PushManagerService".to_owned()), "{services:?}");
}
