//! What the HTTP port says of the manager itself: `/healthz`, `/readyz`, `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{HeaderValue, header::CONNECTION};
use pushcast_common::telemetry;
use serde_json::json;

use crate::hub::{Gate, Hub};

pub(crate) fn router(hub: Arc<Hub>, grpc_addr: SocketAddr, http_addr: SocketAddr) -> Router {
    let asked = Arc::clone(&hub);
    let ready = move || {
        let (ready, state) = match asked.gate() {
            Gate::Starting => (false, "starting"),
            Gate::Open => (true, "ready"),
            Gate::Leaving | Gate::Draining => (false, "draining"),
        };
        let body = json!({
            "ready": ready,
            "state": state,
            "links": asked.n_linked(),
            "manager_id": asked.id.to_string(),
            "grpc_addr": grpc_addr.to_string(),
            "http_addr": http_addr.to_string(),
        });
        (ready, body)
    };
    telemetry::router(ready).layer(from_fn_with_state(hub, refresh))
}

/// Gauges are worked out when they are asked for, not while pushes go through.
async fn refresh(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/metrics" {
        hub.refresh_gauges();
    }
    next.run(request).await
}

/// Connections that are kept open are ended with their next answer once the manager is about to stop: those who push
/// meanwhile connect elsewhere next.
pub(crate) async fn end_connections(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if matches!(hub.gate(), Gate::Leaving | Gate::Draining) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
