//! The page and its feed, as routes beside the manager's own.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use pushcast_common::shutdown::Shutdown;

use super::feed::Feed;

/// Everything the page consists of, in this binary: file name, media type, content.
const FILES: &[(&str, &str, &[u8])] = &[
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Nothing from elsewhere, and nothing inline; sockets only to the nodes, which are on this machine.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws:; img-src 'self' data:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

pub(super) fn router(feed: Feed, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/page/feed", get(move |State(feed): State<Feed>| async move { feed.open(shutdown.clone()) }))
        .route("/page/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
        .with_state(feed)
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
