//! The page and its feed, as routes beside the manager's own.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use pushcast_common::shutdown::Shutdown;
use serde_json::json;

use super::{
    feed::Feed,
    nodes::{Nodes, Order, Refusal, Standing},
};

/// Everything the page consists of, in this binary: file name, media type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("answer.js", SCRIPT, include_bytes!("../../../page/answer.js")),
    ("charts.js", SCRIPT, include_bytes!("../../../page/charts.js")),
    ("commands.js", SCRIPT, include_bytes!("../../../page/commands.js")),
    ("favicon.svg", SVG, include_bytes!("../../../page/favicon.svg")),
    ("feed.js", SCRIPT, include_bytes!("../../../page/feed.js")),
    ("fleet.js", SCRIPT, include_bytes!("../../../page/fleet.js")),
    ("flights.js", SCRIPT, include_bytes!("../../../page/flights.js")),
    ("frames.js", SCRIPT, include_bytes!("../../../page/frames.js")),
    ("ghosts.js", SCRIPT, include_bytes!("../../../page/ghosts.js")),
    ("index.html", HTML, include_bytes!("../../../page/index.html")),
    ("join_form.js", SCRIPT, include_bytes!("../../../page/join_form.js")),
    ("keyed.js", SCRIPT, include_bytes!("../../../page/keyed.js")),
    ("line.js", SCRIPT, include_bytes!("../../../page/line.js")),
    ("main.js", SCRIPT, include_bytes!("../../../page/main.js")),
    ("messages.js", SCRIPT, include_bytes!("../../../page/messages.js")),
    ("node_card.js", SCRIPT, include_bytes!("../../../page/node_card.js")),
    ("node_orders.js", SCRIPT, include_bytes!("../../../page/node_orders.js")),
    ("orders.js", SCRIPT, include_bytes!("../../../page/orders.js")),
    ("paint.js", SCRIPT, include_bytes!("../../../page/paint.js")),
    ("panels.css", CSS, include_bytes!("../../../page/panels.css")),
    ("people.js", SCRIPT, include_bytes!("../../../page/people.js")),
    ("person.js", SCRIPT, include_bytes!("../../../page/person.js")),
    ("person_dialog.js", SCRIPT, include_bytes!("../../../page/person_dialog.js")),
    ("pulse.js", SCRIPT, include_bytes!("../../../page/pulse.js")),
    ("push.js", SCRIPT, include_bytes!("../../../page/push.js")),
    ("push_form.js", SCRIPT, include_bytes!("../../../page/push_form.js")),
    ("reconnect.js", SCRIPT, include_bytes!("../../../page/reconnect.js")),
    ("resume.js", SCRIPT, include_bytes!("../../../page/resume.js")),
    ("routes.js", SCRIPT, include_bytes!("../../../page/routes.js")),
    ("sampling.js", SCRIPT, include_bytes!("../../../page/sampling.js")),
    ("seen.js", SCRIPT, include_bytes!("../../../page/seen.js")),
    ("stage.css", CSS, include_bytes!("../../../page/stage.css")),
    ("stage.js", SCRIPT, include_bytes!("../../../page/stage.js")),
    ("style.css", CSS, include_bytes!("../../../page/style.css")),
    ("theme.js", SCRIPT, include_bytes!("../../../page/theme.js")),
    ("whereto.js", SCRIPT, include_bytes!("../../../page/whereto.js")),
    ("words.js", SCRIPT, include_bytes!("../../../page/words.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Nothing from elsewhere, and nothing inline; sockets only to the nodes, which are on this machine.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws:; img-src 'self' data:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

pub(super) fn router(feed: Feed, nodes: Nodes, shutdown: Shutdown) -> Router {
    let orders = Router::new()
        .route("/page/nodes/{id}/drain", ordering(Order::Drain))
        .route("/page/nodes/{id}/kill", ordering(Order::Kill))
        .route("/page/nodes/{id}/start", ordering(Order::Start))
        .with_state(nodes);
    Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/page/feed", get(move |State(feed): State<Feed>| async move { feed.open(shutdown.clone()) }))
        .route("/page/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
        .with_state(feed)
        .merge(orders)
}

fn ordering(order: Order) -> MethodRouter<Nodes> {
    post(move |State(nodes): State<Nodes>, Path(id): Path<String>| async move {
        match nodes.order(id.clone(), order).await {
            Ok(standing) => Json(json!({ "node_id": id, "state": state(standing) })).into_response(),
            Err(refusal) => refused(&refusal),
        }
    })
}

/// What a node that was just given an order is; one that is up has just been started.
fn state(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "starting",
        Standing::Draining => "draining",
        Standing::Stopped => "stopped",
    }
}

/// As the manager's own routes refuse.
fn refused(refusal: &Refusal) -> Response {
    let (status, code) = match refusal {
        Refusal::Unknown(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Refusal::NotNow(_) => (StatusCode::CONFLICT, "FAILED_PRECONDITION"),
        Refusal::CannotStart(_) | Refusal::Ending => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    };
    let error = json!({ "code": code, "message": refusal.to_string(), "details": [] });
    (status, Json(json!({ "error": error }))).into_response()
}

fn file(name: &str) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return (StatusCode::NOT_FOUND, format!("the page has no file {name:?}\n")).into_response();
    };
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Another build has another page at the same place.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, *content).into_response()
}
