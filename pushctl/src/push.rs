//! Pushing through a push-manager.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use pushcast_common::tls::{self, MaybeTls};
use pushcast_proto::pushmanager::v1::{
    self as wire, Ack, ListNodesRequest, ListNodesResponse, PushAnswer, PushItem, push_item,
    push_manager_service_client::PushManagerServiceClient,
};
use rustls::ClientConfig;
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use crate::{
    address::{Address, H2},
    api_key::{ApiKey, Bearer},
    pipeline::{PushResults, PushSender},
};

/// The generated client, with the caller's key in every call.
pub(crate) type Calls = PushManagerServiceClient<InterceptedService<Channel, Bearer>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A manager gives its nodes 1 s to answer; one that takes this long hangs.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom a push is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everybody in a room.
    Room(String),
    /// Every connection of a user.
    User(String),
    /// Every connection of several users, at most 1000.
    Users(Vec<String>),
    /// Every connection of the push's app.
    Everyone,
    /// Every connection of every app; the push's app must be empty.
    EveryoneOfAllApps,
}

/// A push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Whom it is for.
    pub target: Target,
    /// What is delivered, as it is.
    pub content: Bytes,
    /// Tenant; empty is the default one.
    pub app: String,
    /// `Service/NotifyType`, delivered as it is; may be empty.
    pub uri: String,
    /// The caller's own id; retries with the same one are the same message.
    pub request_id: String,
    /// When it is answered.
    pub ack: Ack,
}

impl Push {
    /// A push in the default app, answered by the nodes, without uri and request id.
    pub fn new(target: Target, content: impl Into<Bytes>) -> Self {
        Self {
            target,
            content: content.into(),
            app: String::new(),
            uri: String::new(),
            request_id: String::new(),
            ack: Ack::Nodes,
        }
    }

    /// To everybody in a room.
    pub fn to_room(room: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::new(Target::Room(room.into()), content)
    }

    /// To every connection of a user.
    pub fn to_user(user: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::new(Target::User(user.into()), content)
    }

    /// To every connection of several users.
    pub fn to_users(users: &[&str], content: impl Into<Bytes>) -> Self {
        Self::new(Target::Users(users.iter().map(|&user| user.to_owned()).collect()), content)
    }

    /// To every connection.
    pub fn to_everyone(content: impl Into<Bytes>) -> Self {
        Self::new(Target::Everyone, content)
    }

    /// The same push as an item of a stream.
    pub fn into_item(self, tag: u64) -> PushItem {
        let Self { target, content, app, uri, request_id, ack } = self;
        let ack = ack.into();
        let push = match target {
            Target::Room(room_id) => push_item::Push::ToRoom(wire::PushToRoomRequest {
                app,
                room_id,
                content,
                uri,
                request_id,
                ack,
            }),
            Target::User(user_id) => push_item::Push::ToUser(wire::PushToUserRequest {
                app,
                user_id,
                content,
                uri,
                request_id,
                ack,
            }),
            Target::Users(user_ids) => push_item::Push::ToUsers(wire::PushToUsersRequest {
                app,
                user_ids,
                content,
                uri,
                request_id,
                ack,
            }),
            Target::Everyone | Target::EveryoneOfAllApps => {
                push_item::Push::Broadcast(wire::BroadcastRequest {
                    app,
                    all_apps: target == Target::EveryoneOfAllApps,
                    content,
                    uri,
                    request_id,
                    ack,
                })
            }
        };
        PushItem { tag, push: Some(push) }
    }
}

/// A push-manager's address that is none.
#[derive(Debug, thiserror::Error)]
#[error("{address}: not the address of a push-manager ({reason}); give one like http://host:9000")]
pub struct BadAddress {
    address: String,
    reason: String,
}

/// The fields that the answers of all four pushes have.
macro_rules! answer {
    ($response:expr) => {{
        let response = $response;
        PushAnswer {
            message_id: response.message_id,
            nodes: response.nodes,
            acked: response.acked,
            delivered_nodes: response.delivered_nodes,
            recipients: response.recipients,
            pending_nodes: response.pending_nodes,
            ..PushAnswer::default()
        }
    }};
}

/// A connection to one push-manager, shared by its clones. It is made at the first call, and again when it
/// broke.
#[derive(Debug, Clone)]
pub struct PushClient {
    channel: Channel,
    inner: Calls,
}

impl PushClient {
    /// A client of the manager at `http://host:port`, `https://host:port` or `host:port`; with TLS its certificate is
    /// checked against those of this machine.
    pub fn new(address: &str) -> Result<Self, BadAddress> {
        Self::with_trust(address, || tls::client::trusting(None, None).map(Arc::new))
    }

    /// The same, and with TLS this says what the manager's certificate is checked against, and what is shown to it.
    pub fn with_tls(address: &str, tls: Arc<ClientConfig>) -> Result<Self, BadAddress> {
        Self::with_trust(address, || Ok(tls))
    }

    fn with_trust(
        text: &str,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
    ) -> Result<Self, BadAddress> {
        let bad = |reason: String| BadAddress { address: text.to_owned(), reason };
        let address = Address::parse(text).map_err(bad)?;
        let tls = address.is_tls().then(trust).transpose().map_err(bad)?;
        let scheme = if address.is_tls() { "https" } else { "http" };
        let uri = |scheme| format!("{scheme}://{}", address.as_str()).parse::<Uri>();
        let unusable = |error: http::uri::InvalidUri| bad(error.to_string());
        // TLS, where it is spoken, is the connector's affair; what the manager is told is the origin.
        let endpoint = Endpoint::from(uri("http").map_err(unusable)?)
            .origin(uri(scheme).map_err(unusable)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        let channel = endpoint.connect_with_connector_lazy(Connector { address, tls });
        Ok(Self::over(channel, Bearer::default()))
    }

    /// The same client with a key, for a manager that asks for one.
    #[must_use]
    pub fn with_key(self, key: ApiKey) -> Self {
        Self::over(self.channel, Bearer(Some(key)))
    }

    fn over(channel: Channel, bearer: Bearer) -> Self {
        Self { inner: PushManagerServiceClient::with_interceptor(channel.clone(), bearer), channel }
    }

    /// Sends a push and waits for its answer, at most for `timeout` (none: the manager's own bound).
    pub async fn push(&self, push: Push, timeout: Option<Duration>) -> Result<PushAnswer, Status> {
        self.send(push, timeout).await.map_err(|status| match timeout {
            Some(timeout) if is_local_timeout(&status) => {
                Status::deadline_exceeded(format!("no answer within {}", humantime::format_duration(timeout)))
            }
            _ => status,
        })
    }

    async fn send(&self, push: Push, timeout: Option<Duration>) -> Result<PushAnswer, Status> {
        let mut client = self.inner.clone();
        Ok(match push.into_item(0).push.expect("into_item always sets it") {
            push_item::Push::ToRoom(request) => {
                answer!(client.push_to_room(within(request, timeout)).await?.into_inner())
            }
            push_item::Push::ToUser(request) => {
                answer!(client.push_to_user(within(request, timeout)).await?.into_inner())
            }
            push_item::Push::ToUsers(request) => {
                let mut response = client.push_to_users(within(request, timeout)).await?.into_inner();
                let recipients_by_user = std::mem::take(&mut response.recipients_by_user);
                PushAnswer { recipients_by_user, ..answer!(response) }
            }
            push_item::Push::Broadcast(request) => {
                answer!(client.broadcast(within(request, timeout)).await?.into_inner())
            }
        })
    }

    /// The nodes this manager knows.
    pub async fn nodes(&self) -> Result<ListNodesResponse, Status> {
        let request = within(ListNodesRequest {}, Some(LIST_TIMEOUT));
        Ok(self.inner.clone().list_nodes(request).await?.into_inner())
    }

    /// Opens a stream with at most `in_flight` unanswered pushes on it (at least 1).
    pub async fn stream(&self, in_flight: usize) -> Result<(PushSender, PushResults), Status> {
        crate::pipeline::open(self.inner.clone(), in_flight.max(1)).await
    }
}

/// Connects to the one address, whatever is asked for.
#[derive(Debug, Clone)]
struct Connector {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<MaybeTls>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, tls } = self.clone();
        Box::pin(async move { address.connect(tls.as_ref(), H2).await.map(TokioIo::new) })
    }
}

/// tonic's own timer ran out, which it calls CANCELLED; the manager may never have been reached.
fn is_local_timeout(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == tonic::TimeoutExpired(()).to_string()
}

fn within<T>(message: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// The name a code has in gRPC's specification.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
