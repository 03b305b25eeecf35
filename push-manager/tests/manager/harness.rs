//! A manager of its own for each test.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use push_manager::{Config, Listeners, RunError, run};
use pushcast_common::{
    registry::{Record, Registry},
    shutdown::Shutdown,
};
use pushcast_proto::pushmanager::v1::{
    PushToRoomRequest, PushToRoomResponse, push_manager_service_client::PushManagerServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::sink::Sink;

/// Longer than anything takes that is right; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Manager {
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) http_addr: SocketAddr,
    pub(crate) shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
}

impl Manager {
    /// A manager of these nodes, ready.
    pub(crate) async fn of(sinks: &[&Sink]) -> Self {
        Self::with(sinks, Config::default()).await
    }

    pub(crate) async fn with(sinks: &[&Sink], config: Config) -> Self {
        let nodes = sinks.iter().map(|sink| sink.addr.to_string()).collect();
        let config = Config { nodes, ..config };
        let registry = config.registry();
        let manager = Self::start(config, registry);
        manager.ready().await;
        manager
    }

    pub(crate) fn start(config: Config, registry: Registry) -> Self {
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            (listener.local_addr().unwrap(), listener)
        };
        let ((grpc_addr, grpc), (http_addr, http)) = (listen(), listen());
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(config, Listeners { grpc, http }, registry, shutdown.clone()));
        Self { grpc_addr, http_addr, shutdown, task }
    }

    pub(crate) async fn ready(&self) {
        until("the manager is ready", async || {
            crate::http::get(self.http_addr, "/readyz").await.is_some_and(|answer| answer.status == 200)
        })
        .await;
    }

    pub(crate) async fn linked(&self, n: usize) {
        until("the links are up", async || self.links().await == Some(n as u64)).await;
    }

    pub(crate) async fn links(&self) -> Option<u64> {
        crate::http::get(self.http_addr, "/readyz").await?.json()["links"].as_u64()
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.grpc_addr)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> PushManagerServiceClient<Channel> {
        PushManagerServiceClient::new(self.channel().await)
    }

    pub(crate) async fn push(&self, room: &str) -> Result<PushToRoomResponse, Status> {
        let answer = self.client().await.push_to_room(to_room(room)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.shutdown.begin();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(LONG, self.task).await.expect("it ends").unwrap()
    }
}

pub(crate) fn to_room(room: &str) -> PushToRoomRequest {
    PushToRoomRequest { room_id: room.into(), content: "hello".into(), ..PushToRoomRequest::default() }
}

/// What a node would register.
pub(crate) fn record(id: &str, sink: &Sink) -> Record {
    Record { id: id.into(), instance: id.into(), grpc_addr: sink.addr.to_string(), ..Record::default() }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LONG, "not so in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
