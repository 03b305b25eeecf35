//! A node from its start to its end.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use futures::stream;
use pushcast_common::{
    clock::now_micros,
    fleet_auth::incoming::Incoming,
    http_server, open_doors,
    registry::{Kind, Record, RegisterError, Registration, Registry, Snapshot, State, Taken},
    shutdown::Shutdown,
    telemetry,
    tls::ServerTls,
};
use pushcast_proto::connectnode::v1::connect_node_service_server::ConnectNodeServiceServer;
use rustls::ServerConfig;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    acceptor,
    auth::{self, ClientAuth},
    config::Config,
    drain,
    http_router::{self, Addresses},
    inbox::Inbox,
    ingest::{Ingest, IngestSettings},
    key::Keys,
    link_service::LinkShared,
    managers, metrics,
    node_service::NodeService,
    readiness::{self, Admission},
    shard::{
        doors::UpgradeDoors,
        state::ShardSettings,
        thread::{ShardHandle, ShardParts, ShardThread},
    },
    tickets,
};

/// How long a record outlives its process where the registry is this process's memory.
const MEMORY_LEASE: Duration = Duration::from_secs(2);

/// How long links and HTTP requests may take to end once everything else has.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// HTTP/2 frames and windows of links: a batch is up to 256 KiB, and one stalled link may hold 1 MiB.
const HTTP2_FRAME: u32 = 1 << 20;
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;

/// Largest frame on a link: a message of 1 MiB of content to a thousand users of 128 bytes, and what is
/// around it.
const MAX_LINK_FRAME: usize = 2 << 20;

/// The bound sockets of a node, non-blocking.
#[derive(Debug)]
pub struct Listeners {
    /// WebSocket.
    pub ws: TcpListener,
    /// gRPC.
    pub grpc: TcpListener,
    /// Operations.
    pub http: TcpListener,
}

/// Why a node ended that should not have.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A socket or thread could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It could not take its place in the registry.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Another process took its place in the registry.
    #[error("{0}")]
    Taken(Taken),
}

/// Runs a node until `shutdown` is begun and every client is gone, or until it is forced. Closing `registry`
/// is the caller's.
pub async fn run(
    config: Config,
    listeners: Listeners,
    registry: Registry,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    telemetry::build_info("connect_node", env!("CARGO_PKG_VERSION"));
    metrics::describe();
    let addresses = Addresses {
        grpc: listeners.grpc.local_addr()?.to_string(),
        http: listeners.http.local_addr()?.to_string(),
        ws: listeners.ws.local_addr()?.to_string(),
    };
    let started_at = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let (grpc_port, ws_port) = (listeners.grpc.local_addr()?.port(), listeners.ws.local_addr()?.port());
    let record = config.record(grpc_port, ws_port, started_at);

    let keys = Keys::default();
    let inboxes: Vec<Arc<Inbox>> = (0..config.shards).map(|_| Arc::default()).collect();
    let wakes: Vec<Arc<Notify>> = (0..config.shards).map(|_| Arc::default()).collect();
    let lease = config.etcd.as_ref().map_or(MEMORY_LEASE, |etcd| etcd.lease);
    let settings = IngestSettings {
        registry: registry.is_dynamic(),
        lease: lease.as_micros() as u64,
        window: config.window,
    };
    let ingest = Arc::new(Ingest::new(inboxes.clone(), wakes.clone(), keys.clone(), settings));
    // Until it is registered nobody links to it; without a registry it has seen nothing before.
    ingest.watches_since(now_micros());
    if !config.ticket_keys.is_some() {
        warn!("No --ticket-key-file: clients get no tickets, and none resumes here.");
    }
    metrics::connections_limit(config.max_connections);
    let admission = Arc::new(Admission::new(config.max_connections, config.limits.clone()));
    let stop = CancellationToken::new();
    let parts = ShardParts {
        settings: ShardSettings {
            node_id: record.id.clone(),
            heartbeat: config.heartbeat.as_millis() as u64,
            outbox_bytes: config.outbox_bytes,
            ticket_keys: config.ticket_keys.clone(),
            auth: config.auth.clone(),
            token_warning: config.token_warning.as_millis() as u64,
            limits: config.limits.of_clients(),
        },
        doors: UpgradeDoors {
            local_pages_only: config.local_pages_only,
            allowed_origins: config.allowed_origins.clone(),
            auth_cookie: config.auth_cookie.clone(),
        },
        tls: config.tls.as_ref().map(tls_config).transpose()?,
        keys: keys.clone(),
        ingest: Arc::clone(&ingest),
        admission: Arc::clone(&admission),
        router: http_router::clients(),
        stop: stop.clone(),
    };
    let threads = inboxes
        .into_iter()
        .zip(wakes)
        .enumerate()
        .map(|(index, (inbox, wake))| ShardThread::start(index, parts.clone(), inbox, wake))
        .collect::<io::Result<Vec<_>>>();
    let threads = threads.inspect_err(|_| stop.cancel())?;
    let shards: Vec<ShardHandle> = threads.iter().map(|thread| thread.handle.clone()).collect();

    let node = Node { config, keys, ingest, admission, stop: stop.clone(), shards, record, addresses };
    let result = if let [only] = node.shards.as_slice() {
        // With one shard everything shares its runtime: handing over costs a tenth of what a wake-up of
        // another thread does.
        let runtime = only.runtime.clone();
        let front = runtime.spawn(node.serve(listeners, registry, shutdown));
        front.await.map_err(io::Error::other)?
    } else {
        node.serve(listeners, registry, shutdown).await
    };
    stop.cancel();
    for thread in threads {
        tokio::task::spawn_blocking(move || thread.join()).await.map_err(io::Error::other)??;
    }
    result
}

/// How the shards speak TLS with clients, who speak HTTP/1.1 in it: a WebSocket in HTTP/2 would be somebody else's stream.
fn tls_config(tls: &ServerTls) -> io::Result<Arc<ServerConfig>> {
    tls.config(&[b"http/1.1"]).map_err(io::Error::other)
}

/// Everything of a node that is not a shard.
struct Node {
    config: Config,
    keys: Keys,
    ingest: Arc<Ingest>,
    admission: Arc<Admission>,
    stop: CancellationToken,
    shards: Vec<ShardHandle>,
    record: Record,
    addresses: Addresses,
}

impl Node {
    async fn serve(
        self,
        listeners: Listeners,
        registry: Registry,
        shutdown: Shutdown,
    ) -> Result<(), RunError> {
        let Listeners { ws, grpc, http } = listeners;
        let mut servers = JoinSet::new();
        let ending = CancellationToken::new();
        servers.spawn(self.serve_grpc(grpc, ending.clone())?);
        servers.spawn(self.serve_http(http, registry.watch(Kind::Manager), ending.clone()));
        let mut helpers = JoinSet::new();
        helpers.spawn(acceptor::run(ws, self.shards.clone(), Arc::clone(&self.admission))?);
        helpers.spawn(managers::follow(registry.watch(Kind::Manager), Arc::clone(&self.ingest)));
        helpers.spawn(telemetry::upkeep());
        if let Some(file) = self.config.ticket_key_file.clone() {
            helpers.spawn(tickets::follow(file, self.config.ticket_keys.clone()));
        }
        if let (ClientAuth::Jwt(jwt), Some(source)) = (&self.config.auth, &self.config.token_keys) {
            helpers.spawn(auth::follow(source.clone(), Arc::clone(jwt)));
        }
        if let Some(tls) = self.config.tls.clone() {
            metrics::describe_tls();
            helpers.spawn(tls.follow());
        }
        helpers.spawn(self.config.fleet_auth.clone().follow());
        helpers.spawn(open_doors::keep_warning(self.config.open_doors.clone()));

        let result = self.live(&registry, &shutdown).await;
        // Last of all the record: managers count on this node until its sockets are gone.
        if let Ok(Some(registration)) = &result {
            registration.set_state(State::Draining);
        }
        self.admission.drain();
        drain::run(&self.shards, &self.admission, self.config.drain_spread, &shutdown).await;
        let result = match result {
            Ok(Some(registration)) => {
                registration.revoke().await;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.end(servers, helpers, &ending).await;
        info!("Stopped.");
        result
    }

    /// From registering to the request to stop. Returns the registration, if it came to that.
    async fn live(&self, registry: &Registry, shutdown: &Shutdown) -> Result<Option<Registration>, RunError> {
        let registration = if registry.is_dynamic() {
            let registered = tokio::select! {
                registered = registry.register(Kind::Node, self.record.clone()) => registered?,
                () = shutdown.begun() => return Ok(None),
            };
            info!(node = %self.record.id, grpc_addr = %self.record.grpc_addr, "Registered.");
            Some(registered)
        } else {
            info!("No registry: this node is static and waits for managers that have it under --nodes.");
            None
        };
        self.ingest.watches_since(now_micros());
        let managers: watch::Receiver<_> = registry.watch(Kind::Manager);
        tokio::select! {
            () = self.ready(&managers) => {}
            () = shutdown.begun() => return Ok(registration),
        }
        self.ingest.open(now_micros());
        if self.admission.open()
            && let Some(registration) = &registration
        {
            registration.set_state(State::Ready);
        }
        let taken = async {
            match &registration {
                Some(registration) => registration.taken().await,
                None => std::future::pending().await,
            }
        };
        let lost = async {
            let Some(registration) = &registration else { return std::future::pending().await };
            let mut written = registration.written();
            while written.changed().await.is_ok() {
                self.ingest.record_is_back(now_micros());
            }
            std::future::pending().await
        };
        tokio::select! {
            () = shutdown.begun() => Ok(registration),
            () = lost => Ok(registration),
            taken = taken => {
                error!(%taken, "Another process took this node's place; draining.");
                Err(RunError::Taken(taken))
            }
        }
    }

    /// Resolves when this node may take clients.
    async fn ready(&self, managers: &watch::Receiver<Snapshot>) {
        let link_wait = self.config.link_wait;
        readiness::wait_until_ready(&self.ingest, managers, link_wait).await;
        if let ClientAuth::Jwt(jwt) = &self.config.auth
            && tokio::time::timeout(link_wait, jwt.until_there_are_keys()).await.is_err()
        {
            warn!("Ready without a key for tokens: nobody is let in until there is one.");
        }
    }

    fn serve_grpc(
        &self,
        listener: TcpListener,
        ending: CancellationToken,
    ) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let links = LinkShared {
            ingest: Arc::clone(&self.ingest),
            keys: self.keys.clone(),
            node_id: self.record.id.clone(),
            instance: self.record.instance.clone(),
            stop: ending.clone(),
        };
        let service = NodeService::new(Arc::new(links), self.shards.clone(), Arc::clone(&self.admission));
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pushcast_proto::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(io::Error::other)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let incoming =
            Incoming::new(listener, self.config.fleet_auth.clone(), "connect_node_fleet_refused_total");
        let connections = stream::unfold(incoming, |mut incoming| async {
            let next = incoming.next().await;
            Some((next, incoming))
        });
        // It is put in its place once and for all.
        let connections = Box::pin(connections);
        let server = tonic::transport::Server::builder()
            .max_frame_size(HTTP2_FRAME)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .add_service(
                ConnectNodeServiceServer::new(service)
                    .max_decoding_message_size(MAX_LINK_FRAME)
                    .max_encoding_message_size(MAX_LINK_FRAME),
            )
            .add_service(reflection)
            .serve_with_incoming_shutdown(connections, ending.cancelled_owned());
        Ok(async move {
            if let Err(error) = server.await {
                error!(%error, "The gRPC server ended.");
            }
        })
    }

    fn serve_http(
        &self,
        listener: TcpListener,
        managers: watch::Receiver<Snapshot>,
        ending: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let router = http_router::operations(
            self.record.id.clone(),
            Arc::clone(&self.admission),
            Arc::clone(&self.ingest),
            managers,
            self.addresses.clone(),
        );
        async move {
            if let Err(error) = http_server::serve(listener, None, router, ending).await {
                error!(%error, "The HTTP server ended.");
            }
        }
    }

    async fn end(self, mut servers: JoinSet<()>, mut helpers: JoinSet<()>, ending: &CancellationToken) {
        helpers.shutdown().await;
        ending.cancel();
        let all = async { while servers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            servers.shutdown().await;
        }
        self.stop.cancel();
    }
}
