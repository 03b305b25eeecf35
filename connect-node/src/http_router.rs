//! What a node answers over HTTP besides WebSockets.

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use pushcast_common::{registry::State, telemetry};
use serde_json::json;

use crate::{ingest::Ingest, readiness::Admission};

/// Where a node can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) ws: String,
}

/// `/healthz`, `/readyz` and `/metrics`.
pub(crate) fn operations(
    node_id: String,
    admission: Arc<Admission>,
    ingest: Arc<Ingest>,
    addresses: Addresses,
) -> Router {
    telemetry::router(move || {
        let state = admission.state();
        let ready = state == State::Ready;
        let managers = ingest.managers();
        let links = managers.iter().filter(|manager| manager.linked).count();
        let body = json!({
            "ready": ready,
            "state": state.as_str(),
            "node_id": node_id,
            "links": links,
            "grpc_addr": addresses.grpc,
            "http_addr": addresses.http,
            "ws_addr": addresses.ws,
        });
        (ready, body)
    })
}

/// What the WebSocket port answers to everything but `/ws`.
pub(crate) fn clients() -> Router {
    Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "Clients connect at /ws.\n") })
}
