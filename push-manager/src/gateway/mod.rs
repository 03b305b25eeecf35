//! The same pushes and controls over HTTP and JSON, for curl and for scripts.

mod body;
mod controls;
mod credentials;
mod error;
mod json_line;
mod query;

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use pushcast_common::local_page::is_local;
use pushcast_proto::pushmanager::v1::{BroadcastRequest, PushToRoomRequest, PushToUserRequest};
use serde::Serialize;
use tonic::Status;

use self::{credentials::Credentials, error::HttpError, json_line::JsonLine, query::Query};
use crate::{
    api::Api,
    api_auth::method::Method,
    push_service::PushService,
    responses::{broadcast_response, room_response, user_response, users_response},
    validate,
};

/// What a push over HTTP is answered with.
type Answer = Result<Response, HttpError>;

/// The routes under `/v1`.
pub(crate) fn router(service: PushService) -> Router {
    Router::new()
        .route("/v1/rooms/{room}/push", post(push_to_room))
        .route("/v1/users/{user}/push", post(push_to_user))
        .route("/v1/push-to-users", post(push_to_users))
        .route("/v1/broadcast", post(broadcast))
        .route("/v1/rooms/{room}/join", post(controls::join_room))
        .route("/v1/rooms/{room}/leave", post(controls::leave_room))
        .route("/v1/users/{user}/kick", post(controls::kick))
        .route("/v1/nodes", get(nodes))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(service)
}

async fn push_to_room(
    State(service): State<PushService>,
    who: Credentials,
    room: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let caller = who.admit(&service, Api::PushToRoom)?;
    let room_id = path_id("room_id", room)?;
    let Query { app, uri, request_id, ack, timeout, .. } = Query::of_push(query.as_deref(), &[])?;
    let content = body::content(body, service.max_content()).await?;
    let request = PushToRoomRequest { app, room_id, content, uri, request_id, ack };
    let push = validate::room(request, service.max_content());
    json(room_response(service.push(&caller, Api::PushToRoom, push, timeout).await?))
}

async fn push_to_user(
    State(service): State<PushService>,
    who: Credentials,
    user: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let caller = who.admit(&service, Api::PushToUser)?;
    let user_id = path_id("user_id", user)?;
    let Query { app, uri, request_id, ack, timeout, .. } = Query::of_push(query.as_deref(), &[])?;
    let content = body::content(body, service.max_content()).await?;
    let request = PushToUserRequest { app, user_id, content, uri, request_id, ack };
    let push = validate::user(request, service.max_content());
    json(user_response(service.push(&caller, Api::PushToUser, push, timeout).await?))
}

async fn push_to_users(
    State(service): State<PushService>,
    who: Credentials,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let caller = who.admit(&service, Api::PushToUsers)?;
    let Query { ack, timeout, .. } = Query::of_json(query.as_deref())?;
    let mut request = body::users(body, service.max_content()).await?;
    request.ack = ack;
    let push = validate::users(request, service.max_content());
    json(users_response(service.push(&caller, Api::PushToUsers, push, timeout).await?))
}

async fn broadcast(
    State(service): State<PushService>,
    who: Credentials,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let caller = who.admit(&service, Api::Broadcast)?;
    let query = Query::of_push(query.as_deref(), &["all_apps"])?;
    let Query { app, uri, request_id, ack, timeout, all_apps, .. } = query;
    let content = body::content(body, service.max_content()).await?;
    let request = BroadcastRequest { app, all_apps, content, uri, request_id, ack };
    let push = validate::broadcast(request, service.max_content());
    json(broadcast_response(service.push(&caller, Api::Broadcast, push, timeout).await?))
}

async fn nodes(State(service): State<PushService>, who: Credentials, RawQuery(query): RawQuery) -> Answer {
    who.admit(&service, Method::ListNodes)?;
    Query::none(query.as_deref())?;
    json(service.nodes().await)
}

/// Lets through what this machine asks for itself.
pub(crate) async fn only_local_pages(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        return next.run(request).await;
    }
    HttpError::from(Status::permission_denied("this manager is for its own machine alone")).into_response()
}

async fn not_found() -> HttpError {
    HttpError::from(Status::not_found("there is nothing at this path"))
}

async fn method_not_allowed() -> HttpError {
    HttpError::with_http(
        StatusCode::METHOD_NOT_ALLOWED,
        Status::unimplemented("this path has another method"),
    )
}

fn path_id(field: &'static str, id: Result<Path<String>, PathRejection>) -> Result<String, HttpError> {
    match id {
        Ok(Path(id)) => Ok(id),
        Err(rejection) => Err(HttpError::bad_field(field, rejection.body_text())),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "callers pass what they have just made")]
fn json(answer: impl Serialize) -> Answer {
    Ok(JsonLine::new(&answer).into_response())
}
