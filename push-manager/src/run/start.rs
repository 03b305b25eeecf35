//! How a manager starts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::middleware::{from_fn, from_fn_with_state};
use pushcast_common::{
    http_server,
    id::ManagerId,
    open_doors,
    registry::{Record, Registry, State},
    telemetry,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tracing::info;

use super::{Extras, Listeners, Manager, RunError, Stops};
use crate::{
    api_auth::callers::Callers,
    clock::micros,
    config::Config,
    fleet::Fleet,
    gateway,
    grpc_server::{self, Health},
    hub::{Gate, Hub},
    log::LogLimits,
    membership::Membership,
    metrics,
    push_service::PushService,
    readiness,
};

/// With nodes given by hand the registry is waited for only this long.
const REGISTRY_HEAD_START: Duration = Duration::from_secs(1);

/// Listed nodes have this long to answer Hello before the first push.
const HELLO_WITHIN: Duration = Duration::from_secs(3);

impl Manager {
    pub(super) async fn start(
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
            grpc_server::build(grpc_listener, tls_of_grpc, service.clone(), stops.calls.clone())
                .await
                .map_err(|error| RunError::Grpc(error.to_string()))?;
        let router = gateway::router(service)
            .merge(readiness::router(Arc::clone(&hub), grpc_addr, http_addr))
            .merge(extras.pages)
            .layer(from_fn_with_state(Arc::clone(&hub), readiness::end_connections));
        let router = match extras.local_pages_only {
            true => router.layer(from_fn(gateway::only_local_pages)),
            false => router,
        };
        // It goes on until everything is settled, so that whoever asks hears that the manager is stopping.
        let http = tokio::spawn(http_server::serve(listeners.http, tls_of_http, router, stops.http.clone()));

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
}

pub(super) async fn become_ready(
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
