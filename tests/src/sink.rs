//! A node's gRPC side without anything behind it: speaks Link well and cheaply, or wrongly on purpose.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::Stream;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Ack, Hello, LinkRequest, LinkResponse, MessageBatch, NodeHeartbeat, PushMessageBatchRequest,
    PushMessageBatchResponse, QueryRequest, QueryResponse, Start, UserCounts,
    connect_node_service_server::{ConnectNodeService, ConnectNodeServiceServer},
    link_request, link_response, message, start,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};

/// What a sink does with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manners {
    /// As the contract says.
    #[default]
    Good,
    /// Never answers hello.
    NeverStarts,
    /// Says it has more than the manager ever accepted.
    StartsInTheFuture,
    /// Answers hello twice.
    StartsTwice,
    /// Acknowledges before it answers hello.
    AcksFirst,
    /// Acknowledges what was not sent yet.
    AcksAhead,
    /// Acknowledges everything twice.
    AcksTwice,
    /// Answers hello with a frame that is none.
    SendsNothingInAFrame,
    /// Ends the stream after hello.
    EndsAtOnce,
    /// Refuses the call.
    Refuses,
}

/// What a sink has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Links opened.
    pub links: u64,
    /// Batches received.
    pub batches: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages that were not the one after the message before.
    pub out_of_order: u64,
    /// Managers that said goodbye.
    pub closes: u64,
    /// Last seq received of each manager.
    pub last: HashMap<u64, u64>,
}

#[derive(Debug)]
struct State {
    node_id: String,
    instance: String,
    recipients: u32,
    manners: Manners,
    seen: Mutex<Seen>,
    lagging: watch::Sender<bool>,
    links: Mutex<JoinSet<()>>,
}

impl State {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that managers take for a node. Ends when dropped.
#[derive(Debug)]
pub struct Sink {
    addr: String,
    state: Arc<State>,
    _server: JoinSet<()>,
}

impl Sink {
    /// Starts one that says every message has `recipients` connections.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(node_id: &str, recipients: u32, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(State {
            node_id: node_id.to_owned(),
            instance: format!("instance-of-{node_id}-{addr}"),
            recipients,
            manners,
            seen: Mutex::default(),
            lagging: watch::Sender::new(false),
            links: Mutex::default(),
        });
        let service =
            ConnectNodeServiceServer::new(Service(Arc::clone(&state))).max_decoding_message_size(16 << 20);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let served = tonic::transport::Server::builder()
                .tcp_nodelay(true)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .add_service(service)
                .serve_with_incoming(incoming)
                .await;
            served.expect("a bound listener serves until it is dropped");
        });
        Self { addr, state, _server: server }
    }

    /// Where managers find it.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Keeps acknowledgements back (true), or sends them all and goes on (false).
    pub fn lag(&self, lagging: bool) {
        self.state.lagging.send_replace(lagging);
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.state.seen().clone()
    }
}

#[derive(Debug)]
struct Service(Arc<State>);

type Responses = Pin<Box<dyn Stream<Item = Result<LinkResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ConnectNodeService for Service {
    type LinkStream = Responses;

    async fn link(&self, request: Request<Streaming<LinkRequest>>) -> Result<Response<Responses>, Status> {
        if self.0.manners == Manners::Refuses {
            return Err(Status::new(Code::PermissionDenied, "This sink refuses."));
        }
        let (sender, responses) = mpsc::channel(64);
        let link = Link {
            state: Arc::clone(&self.0),
            sender,
            manager: 0,
            received: 0,
            acked: 0,
            owed: Owed::default(),
        };
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        while links.try_join_next().is_some() {}
        links.spawn(link.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn query(&self, _request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let node_id = self.0.node_id.clone();
        Ok(Response::new(QueryResponse { node_id, state: "ready".to_owned(), ..QueryResponse::default() }))
    }

    async fn push_message_batch(
        &self,
        _request: Request<PushMessageBatchRequest>,
    ) -> Result<Response<PushMessageBatchResponse>, Status> {
        Ok(Response::new(PushMessageBatchResponse { recipients: self.0.recipients }))
    }
}

/// What is received and not acknowledged.
#[derive(Debug, Default)]
struct Owed {
    recipients: Vec<u32>,
    by_user: Vec<UserCounts>,
}

struct Link {
    state: Arc<State>,
    sender: mpsc::Sender<Result<LinkResponse, Status>>,
    manager: u64,
    received: u64,
    acked: u64,
    owed: Owed,
}

/// The manager is gone.
struct Gone;

impl Link {
    async fn run(mut self, mut requests: Streaming<LinkRequest>) {
        let mut lagging = self.state.lagging.subscribe();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            let outcome = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(LinkRequest { frame: Some(frame) })) => self.take(frame).await,
                    _ => return,
                },
                _ = second.tick(), if self.manager != 0 => self.heartbeat().await,
                changed = lagging.changed() => match changed {
                    Ok(()) => self.acknowledge().await,
                    Err(_) => return,
                },
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, frame: link_request::Frame) -> Result<(), Gone> {
        match frame {
            link_request::Frame::Hello(hello) => self.answer(&hello).await,
            link_request::Frame::Fill(fill) => {
                self.skip_to(fill.first_seq.saturating_sub(1));
                Ok(())
            }
            link_request::Frame::Batch(batch) => {
                let Ok(batch) = MessageBatch::decode(batch) else { return Err(Gone) };
                self.receive(&batch);
                self.acknowledge().await
            }
            link_request::Frame::Gap(gap) => {
                self.acknowledge().await?;
                self.skip_to(gap.to);
                Ok(())
            }
            link_request::Frame::Close(_) => {
                self.state.seen().closes += 1;
                Ok(())
            }
            link_request::Frame::Controls(_) | link_request::Frame::Heartbeat(_) => Ok(()),
        }
    }

    fn skip_to(&mut self, seq: u64) {
        self.received = seq;
        self.acked = seq;
        self.state.seen().last.insert(self.manager, seq);
    }

    async fn answer(&mut self, hello: &Hello) -> Result<(), Gone> {
        let known = {
            let mut seen = self.state.seen();
            seen.links += 1;
            seen.last.get(&hello.manager_id).copied()
        };
        self.manager = hello.manager_id;
        self.received = known.unwrap_or(0);
        self.acked = self.received;
        let from = match (self.state.manners, known) {
            (Manners::StartsInTheFuture, _) => start::From::AfterSeq(hello.newest_seq + 1_000),
            (_, Some(seq)) => start::From::AfterSeq(seq),
            (_, None) => start::From::FillBytes(64 << 20),
        };
        let start = link_response::Frame::Start(Start {
            node_id: self.state.node_id.clone(),
            instance: self.state.instance.clone(),
            from: Some(from),
            sent_at: hello.sent_at,
        });
        match self.state.manners {
            Manners::NeverStarts => Ok(()),
            Manners::EndsAtOnce => Err(Gone),
            Manners::SendsNothingInAFrame => {
                self.sender.send(Ok(LinkResponse { frame: None })).await.map_err(|_closed| Gone)
            }
            Manners::AcksFirst => {
                self.send(ack(1, Owed { recipients: vec![1], by_user: Vec::new() })).await?;
                self.send(start).await
            }
            Manners::StartsTwice => {
                self.send(start.clone()).await?;
                self.send(start).await
            }
            _ => self.send(start).await,
        }
    }

    fn receive(&mut self, batch: &MessageBatch) {
        let mut seen = self.state.seen();
        seen.batches += 1;
        for message in &batch.messages {
            seen.messages += 1;
            seen.out_of_order += u64::from(message.seq != self.received + 1);
            self.received = message.seq;
            self.owed.recipients.push(self.state.recipients);
            if let Some(message::Target::UserIds(users)) = &message.target {
                let recipients = vec![self.state.recipients; users.ids.len()];
                self.owed.by_user.push(UserCounts { seq: message.seq, recipients });
            }
        }
        seen.last.insert(self.manager, self.received);
    }

    async fn acknowledge(&mut self) -> Result<(), Gone> {
        let lagging = *self.state.lagging.borrow();
        if lagging || self.owed.recipients.is_empty() {
            return Ok(());
        }
        let first = self.acked + 1;
        self.acked = self.received;
        let mut owed = std::mem::take(&mut self.owed);
        match self.state.manners {
            Manners::AcksAhead => {
                owed.recipients.extend([1; 1_000]);
                self.send(ack(first, owed)).await
            }
            Manners::AcksTwice => {
                let again = Owed { recipients: owed.recipients.clone(), by_user: Vec::new() };
                self.send(ack(first, owed)).await?;
                self.send(ack(first, again)).await
            }
            _ => self.send(ack(first, owed)).await,
        }
    }

    async fn heartbeat(&mut self) -> Result<(), Gone> {
        if self.state.manners == Manners::NeverStarts {
            return Ok(());
        }
        let heartbeat = NodeHeartbeat { received_seq: self.received, placed_seq: self.acked, sent_at: 1 };
        self.send(link_response::Frame::Heartbeat(heartbeat)).await
    }

    async fn send(&mut self, frame: link_response::Frame) -> Result<(), Gone> {
        self.sender.send(Ok(LinkResponse { frame: Some(frame) })).await.map_err(|_closed| Gone)
    }
}

fn ack(first_seq: u64, owed: Owed) -> link_response::Frame {
    link_response::Frame::Ack(Ack {
        first_seq,
        recipients: owed.recipients,
        by_user: owed.by_user,
        ..Ack::default()
    })
}
