//! The gRPC service for business servers, and the one way both gRPC and HTTP take a push.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use pushcast_common::{fleet_auth::FleetAuth, tls::accept::Peer};
use pushcast_proto::pushmanager::v1::{
    BroadcastRequest, BroadcastResponse, JoinRoomRequest, JoinRoomResponse, KickRequest, KickResponse,
    LeaveRoomRequest, LeaveRoomResponse, ListNodesRequest, ListNodesResponse, PushAnswer, PushStreamRequest,
    PushToRoomRequest, PushToRoomResponse, PushToUserRequest, PushToUserResponse, PushToUsersRequest,
    PushToUsersResponse, push_manager_service_server::PushManagerService,
};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    answers::{Answer, End},
    api::{Api, Rpc},
    api_auth::{
        callers::{Caller, Callers},
        method::Method,
    },
    clock::micros,
    deadline,
    hub::{Hub, Ticket},
    listing::Listing,
    push::{Mark, accepted_answer, full_answer, message_id},
    push_stream::PushStream,
    refusal,
    responses::{
        broadcast_response, join_response, kick_response, leave_response, room_response, user_response,
        users_response,
    },
    validate::{self, Checked},
};

/// What answers business servers, over gRPC and over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct PushService {
    hub: Arc<Hub>,
    listing: Listing,
    callers: Callers,
    max_content: usize,
}

impl PushService {
    pub(crate) fn new(hub: Arc<Hub>, callers: Callers, max_content: usize, fleet_auth: FleetAuth) -> Self {
        Self { listing: Listing::new(Arc::clone(&hub), fleet_auth), hub, callers, max_content }
    }

    pub(crate) fn max_content(&self) -> usize {
        self.max_content
    }

    /// Whether callers have to prove who they are.
    pub(crate) fn needs_proof(&self) -> bool {
        self.callers.need_proof()
    }

    /// Lets in who may call this, before anything of the request is read.
    pub(crate) fn admit(
        &self,
        method: Method,
        authorization: Option<&HeaderValue>,
        peer: Option<Peer>,
    ) -> Result<Caller, Status> {
        let admitted = self.callers.admit(method, authorization, peer);
        if let (Err(status), Some(rpc)) = (&admitted, method.rpc()) {
            self.hub.metrics.request(rpc, status.code());
        }
        admitted
    }

    /// Who called, as the door found.
    fn caller<T>(&self, request: &Request<T>, method: impl Into<Method>) -> Result<Caller, Status> {
        self.callers.admitted(request.extensions(), method.into())
    }

    /// Takes a checked push or control, if its caller may, and waits for its answer, for as long as the caller waits.
    pub(crate) async fn push(
        &self,
        caller: &Caller,
        rpc: impl Into<Rpc>,
        push: Checked,
        timeout: Option<Duration>,
    ) -> Result<PushAnswer, Status> {
        let rpc = rpc.into();
        let push = caller.judge(rpc, push, || self.hub.clock().mono());
        let result = self.try_push(push, timeout).await;
        if let Ok(answer) = &result {
            self.hub.metrics.answered_with_pending(rpc, answer.pending_nodes.len());
        }
        self.hub.metrics.request(rpc, result.as_ref().map_or_else(Status::code, |_| Code::Ok));
        result
    }

    async fn try_push(&self, push: Checked, timeout: Option<Duration>) -> Result<PushAnswer, Status> {
        let push = push.map_err(|status| *status)?;
        let rpc = push.rpc;
        let now = self.hub.clock().mono();
        let deadline = timeout.map(|timeout| now.saturating_add(micros(deadline::wait_for(timeout))));
        let Ticket { seq, mark, answer } = self.hub.push(push, deadline).map_err(refusal::refused)?;
        let Some(answer) = answer else {
            return Ok(accepted_answer(self.hub.id, seq, mark));
        };
        let answer = answer.await.map_err(|_| refusal::ended_while_waiting())?;
        let waited = self.hub.clock().mono().saturating_sub(answer.accepted_at);
        self.hub.metrics.answered_after(rpc, waited);
        self.outcome(answer, mark)
    }

    fn outcome(&self, answer: Answer, mark: Option<Box<Mark>>) -> Result<PushAnswer, Status> {
        if answer.conflict {
            let message_id = message_id(self.hub.id, answer.seq, Mark::hash(mark.as_deref()));
            return Err(refusal::request_id_conflict(message_id));
        }
        if answer.end == End::CallerDeadline && answer.acked == 0 {
            let message_id = message_id(self.hub.id, answer.seq, Mark::hash(mark.as_deref()));
            return Err(refusal::nothing_acknowledged(message_id));
        }
        Ok(full_answer(self.hub.id, answer, mark))
    }

    pub(crate) async fn nodes(&self) -> ListNodesResponse {
        self.listing.nodes().await
    }
}

#[tonic::async_trait]
impl PushManagerService for PushService {
    async fn push_to_room(
        &self,
        request: Request<PushToRoomRequest>,
    ) -> Result<Response<PushToRoomResponse>, Status> {
        let caller = self.caller(&request, Api::PushToRoom)?;
        let timeout = deadline::of_grpc(request.metadata());
        let push = validate::room(request.into_inner(), self.max_content);
        Ok(Response::new(room_response(self.push(&caller, Api::PushToRoom, push, timeout).await?)))
    }

    async fn push_to_user(
        &self,
        request: Request<PushToUserRequest>,
    ) -> Result<Response<PushToUserResponse>, Status> {
        let caller = self.caller(&request, Api::PushToUser)?;
        let timeout = deadline::of_grpc(request.metadata());
        let push = validate::user(request.into_inner(), self.max_content);
        Ok(Response::new(user_response(self.push(&caller, Api::PushToUser, push, timeout).await?)))
    }

    async fn push_to_users(
        &self,
        request: Request<PushToUsersRequest>,
    ) -> Result<Response<PushToUsersResponse>, Status> {
        let caller = self.caller(&request, Api::PushToUsers)?;
        let timeout = deadline::of_grpc(request.metadata());
        let push = validate::users(request.into_inner(), self.max_content);
        Ok(Response::new(users_response(self.push(&caller, Api::PushToUsers, push, timeout).await?)))
    }

    async fn broadcast(
        &self,
        request: Request<BroadcastRequest>,
    ) -> Result<Response<BroadcastResponse>, Status> {
        let caller = self.caller(&request, Api::Broadcast)?;
        let timeout = deadline::of_grpc(request.metadata());
        let push = validate::broadcast(request.into_inner(), self.max_content);
        Ok(Response::new(broadcast_response(self.push(&caller, Api::Broadcast, push, timeout).await?)))
    }

    type PushStreamStream = PushStream;

    async fn push_stream(
        &self,
        request: Request<Streaming<PushStreamRequest>>,
    ) -> Result<Response<PushStream>, Status> {
        let caller = self.caller(&request, Method::PushStream)?;
        let stream = PushStream::new(Arc::clone(&self.hub), caller, self.max_content, request.into_inner());
        Ok(Response::new(stream))
    }

    async fn join_room(
        &self,
        request: Request<JoinRoomRequest>,
    ) -> Result<Response<JoinRoomResponse>, Status> {
        let caller = self.caller(&request, Rpc::JoinRoom)?;
        let timeout = deadline::of_grpc(request.metadata());
        let control = validate::join_room(request.into_inner());
        Ok(Response::new(join_response(self.push(&caller, Rpc::JoinRoom, control, timeout).await?)))
    }

    async fn leave_room(
        &self,
        request: Request<LeaveRoomRequest>,
    ) -> Result<Response<LeaveRoomResponse>, Status> {
        let caller = self.caller(&request, Rpc::LeaveRoom)?;
        let timeout = deadline::of_grpc(request.metadata());
        let control = validate::leave_room(request.into_inner());
        Ok(Response::new(leave_response(self.push(&caller, Rpc::LeaveRoom, control, timeout).await?)))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        let caller = self.caller(&request, Rpc::Kick)?;
        let timeout = deadline::of_grpc(request.metadata());
        let control = validate::kick(request.into_inner());
        Ok(Response::new(kick_response(self.push(&caller, Rpc::Kick, control, timeout).await?)))
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        self.caller(&request, Method::ListNodes)?;
        Ok(Response::new(self.nodes().await))
    }
}
