//! Joins, leaves and kicks over HTTP. All is in the path and the query; a body is not looked at.

use axum::extract::{Path, RawQuery, State, rejection::PathRejection};
use pushcast_proto::pushmanager::v1::{
    JoinRoomRequest, KickRequest, LeaveRoomRequest, join_room_request, kick_request, leave_room_request,
};

use super::{Answer, credentials::Credentials, json, path_id, query::Query};
use crate::{
    api::Rpc,
    push_service::PushService,
    responses::{join_response, kick_response, leave_response},
    validate,
};

const WHOSE: [&str; 2] = ["user_id", "connection_id"];

pub(super) async fn join_room(
    State(service): State<PushService>,
    who: Credentials,
    room: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answer {
    let caller = who.admit(&service, Rpc::JoinRoom)?;
    use join_room_request::Whose;

    let room_id = path_id("room_id", room)?;
    let query = Query::of_control(query.as_deref(), &WHOSE)?;
    let Query { app, request_id, ack, timeout, user_id, connection_id, .. } = query;
    let whose = user_id.map(Whose::UserId).or(connection_id.map(Whose::ConnectionId));
    let control = validate::join_room(JoinRoomRequest { app, whose, room_id, request_id, ack });
    json(join_response(service.push(&caller, Rpc::JoinRoom, control, timeout).await?))
}

pub(super) async fn leave_room(
    State(service): State<PushService>,
    who: Credentials,
    room: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answer {
    let caller = who.admit(&service, Rpc::LeaveRoom)?;
    use leave_room_request::Whose;

    let room_id = path_id("room_id", room)?;
    let query = Query::of_control(query.as_deref(), &WHOSE)?;
    let Query { app, request_id, ack, timeout, user_id, connection_id, .. } = query;
    let whose = user_id.map(Whose::UserId).or(connection_id.map(Whose::ConnectionId));
    let control = validate::leave_room(LeaveRoomRequest { app, whose, room_id, request_id, ack });
    json(leave_response(service.push(&caller, Rpc::LeaveRoom, control, timeout).await?))
}

pub(super) async fn kick(
    State(service): State<PushService>,
    who: Credentials,
    user: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answer {
    let caller = who.admit(&service, Rpc::Kick)?;
    let whose = Some(kick_request::Whose::UserId(path_id("user_id", user)?));
    let query = Query::of_control(query.as_deref(), &["reason", "reconnect"])?;
    let Query { app, request_id, ack, timeout, reason, reconnect, .. } = query;
    let control = validate::kick(KickRequest { app, whose, reason, request_id, ack, reconnect });
    json(kick_response(service.push(&caller, Rpc::Kick, control, timeout).await?))
}
