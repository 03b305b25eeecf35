//! The gRPC service of a node: links, queries, and pushes to this node alone.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use metrics::counter;
use prost::Message as _;
use pushcast_common::fleet_auth::BytesRead;
use pushcast_common::id::{check_app, check_id};
use pushcast_proto::connectnode::v1::{
    Everyone, LinkRequest, LinkResponse, Message, MessageBatch, PushMessageBatchRequest,
    PushMessageBatchResponse, QueryRequest, QueryResponse, UserIds, connect_node_service_server,
    message::Target, query_request::About,
};
use tokio::sync::{Notify, Semaphore};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    batch::Batch,
    link_service::{Link, LinkShared},
    readiness::Admission,
    shard::thread::ShardHandle,
};

/// Pushes to this node alone that may wait for the shards at once: with the largest content 64 MiB.
const MAX_DIRECT_PUSHES: usize = 64;

/// Largest content of a push to this node alone, as large as a manager may be set to take.
const MAX_CONTENT: usize = 1 << 20;

/// Most users of a push to this node alone, and most connections in an answer.
const MAX_USERS: usize = 1000;

pub(crate) struct NodeService {
    links: Arc<LinkShared>,
    shards: Vec<ShardHandle>,
    admission: Arc<Admission>,
    direct: Semaphore,
}

impl NodeService {
    pub(crate) fn new(links: Arc<LinkShared>, shards: Vec<ShardHandle>, admission: Arc<Admission>) -> Self {
        Self { links, shards, admission, direct: Semaphore::new(MAX_DIRECT_PUSHES) }
    }
}

#[tonic::async_trait]
impl connect_node_service_server::ConnectNodeService for NodeService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<LinkResponse, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<LinkRequest>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let read = request.extensions().get::<BytesRead>().cloned().unwrap_or_default();
        let link = Link::new(Arc::clone(&self.links), request.into_inner(), read);
        let responses = stream::unfold(link, |mut link| async move {
            link.next_response().await.map(|response| (response, link))
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let query = request.into_inner();
        check_query(&query)?;
        let limit = match query.limit {
            0 => MAX_USERS,
            limit => MAX_USERS.min(limit as usize),
        };
        let mut answer = QueryResponse {
            node_id: self.links.node_id.clone(),
            state: self.admission.state().as_str().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..QueryResponse::default()
        };
        for shard in &self.shards {
            let found = shard
                .query(query.clone())
                .await
                .ok_or_else(|| Status::unavailable("this node is stopping"))?;
            answer.connections += found.connections;
            answer.rooms += found.rooms;
            answer.users += found.users;
            answer.found += found.found;
            answer.matches.extend(found.matches);
        }
        answer.matches.truncate(limit);
        Ok(Response::new(answer))
    }

    async fn push_message_batch(
        &self,
        request: Request<PushMessageBatchRequest>,
    ) -> Result<Response<PushMessageBatchResponse>, Status> {
        let message = direct_message(request.into_inner())?;
        let batch = MessageBatch { messages: vec![message] }.encode_to_vec();
        let batch = Batch::decode(Bytes::from(batch), &self.links.keys)
            .map_err(|error| Status::internal(error.to_string()))?;
        let _turn = self.direct.acquire().await.map_err(|error| Status::internal(error.to_string()))?;
        let placed = Arc::new(Notify::new());
        let placement = self.links.ingest.offer_direct(batch, Arc::clone(&placed));
        while !placement.is_placed() {
            placed.notified().await;
        }
        let recipients = placement.recipients(0);
        let has_users = if recipients > 0 { "true" } else { "false" };
        counter!("connect_node_push_received_total", "has_users" => has_users).increment(1);
        Ok(Response::new(PushMessageBatchResponse { recipients }))
    }
}

fn check_query(query: &QueryRequest) -> Result<(), Status> {
    check_app(&query.app).map_err(invalid)?;
    match &query.about {
        Some(About::RoomId(room)) => check_id("room_id", room).map_err(invalid),
        Some(About::UserId(user)) => check_id("user_id", user).map_err(invalid),
        Some(About::Anyone(_)) | None => Ok(()),
    }
}

fn direct_message(request: PushMessageBatchRequest) -> Result<Message, Status> {
    check_app(&request.app).map_err(invalid)?;
    if request.content.len() > MAX_CONTENT {
        return Err(Status::invalid_argument(format!(
            "content: {} bytes, more than {MAX_CONTENT}",
            request.content.len()
        )));
    }
    let mut ids = request.user_ids;
    if ids.len() > MAX_USERS {
        return Err(Status::invalid_argument(format!("user_ids: {} ids, more than {MAX_USERS}", ids.len())));
    }
    ids.iter().try_for_each(|id| check_id("user_ids", id)).map_err(invalid)?;
    ids.sort_unstable();
    ids.dedup();
    let target = if !ids.is_empty() {
        Target::UserIds(UserIds { ids })
    } else if !request.room_id.is_empty() {
        check_id("room_id", &request.room_id).map_err(invalid)?;
        Target::RoomId(request.room_id)
    } else {
        Target::Everyone(Everyone { all_apps: false })
    };
    Ok(Message {
        app: request.app,
        target: Some(target),
        content: request.content,
        uri: request.uri,
        ..Message::default()
    })
}

#[allow(clippy::needless_pass_by_value)]
fn invalid(error: pushcast_common::id::InvalidId) -> Status {
    Status::invalid_argument(error.to_string())
}
