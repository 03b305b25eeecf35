//! The life of a manager: it starts, takes pushes, and stops without losing one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pushcast_common::{
    http_server,
    id::ManagerId,
    open_doors,
    registry::{Record, Registry, State},
    shutdown::Shutdown,
    telemetry,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    api_auth::callers::Callers,
    clock::micros,
    config::Config,
    fleet::Fleet,
    gateway,
    grpc_server::{self, Health},
    hub::{Gate, Hub},
    log::LogLimits,
    membership::{Membership, MembershipError},
    metrics,
    push_service::PushService,
    readiness,
    trace::Tracer,
};

/// With nodes given by hand the registry is waited for only this long.
const REGISTRY_HEAD_START: Duration = Duration::from_secs(1);

/// Listed nodes have this long to answer Hello before the first push.
const HELLO_WITHIN: Duration = Duration::from_secs(3);

/// At the end, linked nodes have this long to acknowledge everything …
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// … and nodes without a link this long to come back for what they lack.
const COME_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Links have this long to end after Close.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Callers' connections have this long to end.
const SERVERS_WITHIN: Duration = Duration::from_secs(2);

/// The sockets a manager listens on, non-blocking.
#[derive(Debug)]
pub struct Listeners {
    /// For business servers.
    pub grpc: std::net::TcpListener,
    /// For health, metrics and the gateway.
    pub http: std::net::TcpListener,
}

/// What a program that runs a manager within itself may add to it.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Routes beside the manager's own on its HTTP port.
    pub pages: axum::Router,
    /// Refuse HTTP requests of another machine, and of foreign pages in a browser on this one.
    pub local_pages_only: bool,
    /// To watch its pushes with.
    pub tracer: Option<Tracer>,
}

/// Why a manager ended otherwise than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener cannot be used.
    #[error("cannot use a listener: {0}")]
    Listener(#[from] io::Error),
    /// TLS cannot be spoken.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed: {0}")]
    Grpc(String),
    /// It cannot be registered, or lost its registration to another.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// It was asked a second time.
    #[error("stopped at once, by a second signal")]
    Forced,
    /// A part of it ended by itself that never should.
    #[error("{0} ended by itself")]
    EndedEarly(&'static str),
    /// A part of it panicked.
    #[error("a task failed: {0}")]
    Task(#[from] JoinError),
}

/// Runs a manager until `shutdown` begins and everything it accepted is acknowledged, or the bounds of
/// patience are over. Its record is gone when this returns; closing `registry` is the caller's.
pub async fn run(
    config: Config,
    listeners: Listeners,
    registry: Registry,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    run_with(config, listeners, registry, shutdown, Extras::default()).await
}

/// As [`run`], with additions.
pub async fn run_with(
    config: Config,
    listeners: Listeners,
    registry: Registry,
    shutdown: Shutdown,
    extras: Extras,
) -> Result<(), RunError> {
    let mut manager = Manager::start(&config, listeners, &registry, extras).await?;
    let result = tokio::select! {
        // A forced stop beats all that could go on.
        biased;
        () = shutdown.forced() => Err(RunError::Forced),
        result = manager.live(&shutdown) => result,
    };
    manager.abort().await;
    if result.is_ok() {
        info!("Stopped.");
    }
    result
}

struct Manager {
    hub: Arc<Hub>,
    health: Health,
    state: watch::Sender<State>,
    joined: watch::Receiver<bool>,
    with_fixed_nodes: bool,
    fleet: JoinHandle<()>,
    membership: JoinHandle<Result<(), MembershipError>>,
    grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    http: JoinHandle<io::Result<()>>,
    /// What never ends by itself.
    background: JoinSet<()>,
    stops: Stops,
}

/// What each part is stopped by, in the order of stopping.
#[derive(Default)]
struct Stops {
    fleet: CancellationToken,
    links: CancellationToken,
    membership: CancellationToken,
    servers: CancellationToken,
}

impl Manager {
    async fn start(
        config: &Config,
        listeners: Listeners,
        registry: &Registry,
        extras: Extras,
    ) -> Result<Self, RunError> {
        telemetry::recorder();
        let grpc_listener = TcpListener::from_std(listeners.grpc)?;
        let (grpc_addr, http_addr) = (grpc_listener.local_addr()?, listeners.http.local_addr()?);

        let limits = LogLimits { bytes: config.log_bytes, age: micros(config.log_age) };
        let hub = Arc::new(Hub::new(ManagerId::random(), limits, micros(config.max_deadline)));
        if let Some(tracer) = extras.tracer {
            hub.trace(tracer);
        }
        info!(manager = %hub.id, "Starting.");
        let stops = Stops::default();
        let mut background = JoinSet::new();
        let callers = match &config.api_keys {
            None => Callers::default(),
            Some(keys) => {
                metrics::describe_api_keys();
                let (callers, following) =
                    Callers::with_keys(keys.clone(), hub.metrics.refused_calls.clone());
                background.spawn(following);
                callers
            }
        };
        let (tls_of_grpc, tls_of_http) = (config.tls_for(b"h2")?, config.tls_for(b"http/1.1")?);
        if let Some(tls) = config.tls.clone() {
            metrics::describe_tls();
            background.spawn(tls.follow());
        }
        if let Some(ca) = config.client_ca.clone() {
            metrics::describe_client_ca();
            background.spawn(ca.follow());
        }
        let service =
            PushService::new(Arc::clone(&hub), callers, config.max_content, config.fleet_auth.clone());

        let (health, serving) =
            grpc_server::build(grpc_listener, tls_of_grpc, service.clone(), stops.servers.clone())
                .await
                .map_err(|error| RunError::Grpc(error.to_string()))?;
        let router = gateway::router(service)
            .merge(readiness::router(Arc::clone(&hub), grpc_addr, http_addr))
            .merge(extras.pages);
        let router = match extras.local_pages_only {
            true => router.layer(axum::middleware::from_fn(gateway::only_local_pages)),
            false => router,
        };
        // It outlasts the gRPC server, so that whoever asks hears that the manager is stopping.
        let http =
            tokio::spawn(http_server::serve(listeners.http, tls_of_http, router, stops.servers.clone()));

        let (state, state_changes) = watch::channel(State::Starting);
        let (joined_sender, joined) = watch::channel(false);
        let membership = Membership {
            hub: Arc::clone(&hub),
            registry: registry.clone(),
            record: own_record(&hub, grpc_addr),
            fixed: config.nodes.clone(),
            state: state_changes,
            joined: joined_sender,
        };
        let fleet = Fleet::new(Arc::clone(&hub), config.fleet_auth.clone());
        background.spawn(config.fleet_auth.clone().follow());
        background.spawn(telemetry::upkeep());
        if !config.open_doors.is_empty() {
            background.spawn(open_doors::keep_warning(config.open_doors.clone()));
        }
        let timekeeper = Arc::clone(&hub);
        background.spawn(async move { timekeeper.keep_time().await });
        Ok(Self {
            health,
            state,
            joined,
            with_fixed_nodes: !config.nodes.is_empty(),
            fleet: tokio::spawn(fleet.run(stops.fleet.clone(), stops.links.clone())),
            membership: tokio::spawn(membership.keep(stops.membership.clone())),
            grpc: tokio::spawn(serving),
            http,
            background,
            stops,
            hub,
        })
    }

    /// Serves until asked to stop, then stops.
    async fn live(&mut self, shutdown: &Shutdown) -> Result<(), RunError> {
        self.serve(shutdown).await?;
        info!("Stopping: no more pushes are taken.");
        self.hub.set_gate(Gate::Draining);
        self.state.send_replace(State::Draining);
        self.health.set(false).await;
        self.settle().await;
        self.close_links().await?;
        self.stops.membership.cancel();
        (&mut self.membership).await??;
        self.stop_servers().await
    }

    /// Becomes ready and goes on until asked to stop; fails if a part fails.
    async fn serve(&mut self, shutdown: &Shutdown) -> Result<(), RunError> {
        let starting = become_ready(
            Arc::clone(&self.hub),
            self.joined.clone(),
            self.with_fixed_nodes,
            self.health.clone(),
            self.state.clone(),
        );
        tokio::pin!(starting);
        let mut is_ready = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => return Ok(()),
                () = &mut starting, if !is_ready => is_ready = true,
                ended = &mut self.membership => {
                    ended??;
                    return Err(RunError::EndedEarly("the registration"));
                }
                ended = &mut self.grpc => return Err(grpc_failure(ended)),
                ended = &mut self.fleet => return Err(ended_early("the links", ended)),
                ended = &mut self.http => {
                    ended??;
                    return Err(RunError::EndedEarly("the HTTP server"));
                }
                Some(ended) = self.background.join_next() => return Err(ended_early("a clock", ended)),
            }
        }
    }

    /// Waits until every node has acknowledged everything, within bounds.
    async fn settle(&self) {
        let begun = Instant::now();
        let (give_up, lonely) = (begun + SETTLE_WITHIN, begun + COME_BACK_WITHIN);
        loop {
            let (linked, others) = self.hub.unsettled();
            let bound = if linked > 0 { give_up } else { lonely };
            if linked + others == 0 {
                return;
            }
            if Instant::now() >= bound {
                warn!(
                    linked,
                    without_link = others,
                    "Stopping before every node has acknowledged everything."
                );
                return;
            }
            tokio::select! {
                () = self.hub.progress() => {}
                () = sleep_until(bound) => {}
            }
        }
    }

    async fn close_links(&mut self) -> Result<(), RunError> {
        self.stops.fleet.cancel();
        self.hub.close_links();
        let begun = Instant::now();
        while !self.fleet.is_finished() && self.hub.n_linked() > 0 && begun.elapsed() < CLOSE_WITHIN {
            tokio::select! {
                () = self.hub.progress() => {}
                () = sleep_until(begun + CLOSE_WITHIN) => {}
            }
        }
        self.stops.links.cancel();
        Ok((&mut self.fleet).await?)
    }

    async fn stop_servers(&mut self) -> Result<(), RunError> {
        self.stops.servers.cancel();
        match timeout(SERVERS_WITHIN, &mut self.grpc).await {
            Ok(Ok(Ok(()))) => {}
            Ok(ended) => return Err(grpc_failure(ended)),
            // A caller that keeps a stream open does not keep the manager.
            Err(_) => self.grpc.abort(),
        }
        Ok((&mut self.http).await??)
    }

    /// Ends what is still running, whatever it is doing.
    async fn abort(mut self) {
        end_now(self.fleet).await;
        end_now(self.membership).await;
        end_now(self.grpc).await;
        end_now(self.http).await;
        self.background.shutdown().await;
    }
}

async fn end_now<T>(task: JoinHandle<T>) {
    // One that has finished may have been waited for already.
    if !task.is_finished() {
        task.abort();
        let _cancelled = task.await;
    }
}

fn grpc_failure(ended: Result<Result<(), tonic::transport::Error>, JoinError>) -> RunError {
    match ended {
        Ok(Ok(())) => RunError::EndedEarly("the gRPC server"),
        Ok(Err(error)) => RunError::Grpc(error.to_string()),
        Err(error) => RunError::Task(error),
    }
}

fn ended_early(part: &'static str, ended: Result<(), JoinError>) -> RunError {
    match ended {
        Ok(()) => RunError::EndedEarly(part),
        Err(error) => RunError::Task(error),
    }
}

async fn become_ready(
    hub: Arc<Hub>,
    mut joined: watch::Receiver<bool>,
    with_fixed_nodes: bool,
    health: Health,
    state: watch::Sender<State>,
) {
    let join = joined.wait_for(|joined| *joined);
    if with_fixed_nodes {
        let _goes_on_without = timeout(REGISTRY_HEAD_START, join).await;
    } else if join.await.is_err() {
        // The membership has failed, and with it the manager.
        return std::future::pending().await;
    }
    let _some_are_late = timeout(HELLO_WITHIN, async {
        while !hub.all_listed_have_linked() {
            hub.progress().await;
        }
    })
    .await;
    hub.set_gate(Gate::Open);
    health.set(true).await;
    state.send_replace(State::Ready);
    info!(links = hub.n_linked(), "Ready.");
}

fn own_record(hub: &Hub, grpc_addr: SocketAddr) -> Record {
    let started_at = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    Record {
        id: hub.id.to_string(),
        instance: Record::random_instance(),
        grpc_addr: grpc_addr.to_string(),
        state: State::Starting,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: started_at.to_string(),
        ..Record::default()
    }
}
