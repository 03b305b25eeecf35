//! The life of a manager: it starts, takes pushes, and stops without losing one.

mod start;
mod stop;

use std::{io, sync::Arc, time::Duration};

use pushcast_common::{
    registry::{Registry, State},
    shutdown::Shutdown,
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, grpc_server::Health, hub::Hub, membership::MembershipError, trace::Tracer};

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
        result = manager.live(&shutdown, config.drain_delay) => result,
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

/// What each part is stopped by.
#[derive(Default)]
struct Stops {
    /// No more calls over gRPC; those that are open end by themselves.
    calls: CancellationToken,
    fleet: CancellationToken,
    links: CancellationToken,
    membership: CancellationToken,
    http: CancellationToken,
}

impl Manager {
    /// Serves until asked to stop, then stops.
    async fn live(&mut self, shutdown: &Shutdown, drain_delay: Duration) -> Result<(), RunError> {
        self.serve(shutdown).await?;
        self.step_aside(drain_delay).await?;
        self.stop().await
    }

    /// Becomes ready and goes on until asked to stop; fails if a part fails.
    async fn serve(&mut self, shutdown: &Shutdown) -> Result<(), RunError> {
        let starting = start::become_ready(
            Arc::clone(&self.hub),
            self.joined.clone(),
            self.with_fixed_nodes,
            self.health.clone(),
            self.state.clone(),
        );
        let started = async {
            starting.await;
            std::future::pending().await
        };
        self.go_on(async {
            tokio::select! {
                biased;
                () = shutdown.begun() => {}
                () = started => {}
            }
        })
        .await
    }

    /// Goes on for so long; fails if a part fails.
    async fn go_on(&mut self, until: impl Future<Output = ()>) -> Result<(), RunError> {
        // Once it has been told to, it may end.
        let calls_wanted = !self.stops.calls.is_cancelled();
        tokio::select! {
            biased;
            () = until => Ok(()),
            ended = &mut self.membership => {
                ended??;
                Err(RunError::EndedEarly("the registration"))
            }
            ended = &mut self.grpc, if calls_wanted => Err(grpc_failure(ended)),
            ended = &mut self.fleet => Err(ended_early("the links", ended)),
            ended = &mut self.http => {
                ended??;
                Err(RunError::EndedEarly("the HTTP server"))
            }
            Some(ended) = self.background.join_next() => Err(ended_early("a clock", ended)),
        }
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
