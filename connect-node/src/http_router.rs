//! What a node answers over HTTP besides WebSockets.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{Router, http::StatusCode};
use pushcast_common::{
    clock::now_micros,
    registry::{Snapshot, State},
    telemetry,
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    ingest::Ingest,
    readiness::{Admission, missing_managers},
};

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
    registered: watch::Receiver<Snapshot>,
    addresses: Addresses,
) -> Router {
    telemetry::router(move || {
        let state = admission.state();
        let ready = state == State::Ready;
        let managers = ingest.managers();
        let links = managers.iter().filter(|manager| manager.linked).count();
        let missing = missing_managers(&ingest, &registered.borrow().clone());
        let body = json!({
            "ready": ready,
            "state": state.as_str(),
            "node_id": node_id,
            "links": links,
            "missing_managers": missing,
            "complete_since": complete_since(&ingest),
            "grpc_addr": addresses.grpc,
            "http_addr": addresses.http,
            "ws_addr": addresses.ws,
        });
        (ready, body)
    })
}

/// Since when the node has everything, RFC 3339.
fn complete_since(ingest: &Ingest) -> String {
    let since = UNIX_EPOCH + Duration::from_micros(ingest.levels(now_micros()).complete_since);
    humantime::format_rfc3339_millis(since).to_string()
}

/// What the WebSocket port answers to everything but `/ws`.
pub(crate) fn clients() -> Router {
    Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "Clients connect at /ws.\n") })
}
