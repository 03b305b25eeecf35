//! A node that speaks Link and keeps what it gets: no clients, no rooms.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Ack, Control, Fill, HandUp, LinkRequest, LinkResponse, Message, MessageBatch, NodeHeartbeat,
    PushMessageBatchRequest, PushMessageBatchResponse, QueryRequest, QueryResponse, Start, UserCounts,
    connect_node_service_server::{ConnectNodeService, ConnectNodeServiceServer},
    control::Whose,
    link_request, link_response,
    message::Target,
    start,
};
use tokio::{
    net::TcpSocket,
    runtime::Runtime,
    sync::{broadcast, mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// What the node does about what it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Acks,
    /// Takes everything, acknowledges nothing, goes on with heartbeats.
    Holds,
    /// Says nothing any more.
    Silent,
}

/// What a stranger answers to Hello, and then to the first batch.
pub(crate) type Script = Arc<dyn Fn(&link_request::Frame) -> Vec<link_response::Frame> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<Message>,
    pub(crate) frames: Vec<&'static str>,
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) closed_at: Option<u64>,
    pub(crate) hellos: u64,
    pub(crate) managers: Vec<u64>,
    pub(crate) fill: Option<Fill>,
    /// What came beside fills.
    pub(crate) old_controls: Vec<Message>,
    /// Request hashes by request key.
    requests: BTreeMap<Bytes, Bytes>,
    received: BTreeMap<u64, Progress>,
}

/// What the node has of one manager.
#[derive(Clone, Default)]
struct Progress {
    last: u64,
    placed: BTreeMap<u64, Placed>,
}

/// What became of one message.
#[derive(Clone)]
struct Placed {
    recipients: u32,
    by_user: Option<UserCounts>,
    conflict: bool,
}

struct Shared {
    id: String,
    instance: String,
    rooms: BTreeMap<String, u32>,
    fill_bytes: u64,
    mood: watch::Sender<Mood>,
    hand_ups: broadcast::Sender<Message>,
    script: Option<Script>,
    seen: Mutex<Seen>,
}

/// The node; dropping it cuts its connections without a word.
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    /// Bound and never listening: while the sink is cut off, nobody else gets its port. Free, it may become the
    /// local port of any connection, even of the manager's own attempt to reach it, which then meets itself.
    _reserved: TcpSocket,
}

pub(crate) struct Options {
    pub(crate) rooms: Vec<(&'static str, u32)>,
    pub(crate) fill_bytes: u64,
    pub(crate) script: Option<Script>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rooms: vec![("r", 1)], fill_bytes: 1 << 20, script: None }
    }
}

impl Sink {
    pub(crate) fn start(id: &str) -> Self {
        Self::with(id, Options::default())
    }

    /// `rooms` are also taken for users, and `*` for everyone.
    pub(crate) fn with(id: &str, options: Options) -> Self {
        let shared = Arc::new(Shared {
            id: id.to_owned(),
            instance: format!("{:x}", rand::random::<u64>()),
            rooms: options.rooms.into_iter().map(|(room, n)| (room.to_owned(), n)).collect(),
            fill_bytes: options.fill_bytes,
            mood: watch::Sender::new(Mood::Acks),
            hand_ups: broadcast::Sender::new(16),
            script: options.script,
            seen: Mutex::default(),
        });
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.set_reuseaddr(true).unwrap();
        reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = reserved.local_addr().unwrap();
        let listener = TcpListener::bind(addr).unwrap();
        let mut sink = Self { addr, shared, runtime: None, _reserved: reserved };
        sink.serve(listener);
        sink
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service =
            ConnectNodeServiceServer::new(Node(Arc::clone(&self.shared))).max_decoding_message_size(16 << 20);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Cuts every connection and stops listening. What the node has, it keeps.
    pub(crate) fn cut(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn back(&mut self) {
        // On a busy machine what listened before ends late.
        for _ in 0..1_000 {
            if let Ok(listener) = TcpListener::bind(self.addr) {
                return self.serve(listener);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} is still in use", self.addr);
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Hands this up on every present link, once.
    pub(crate) fn hand_up(&self, message: Message) {
        self.shared.hand_ups.send(message).unwrap();
    }

    pub(crate) fn see<R>(&self, look: impl FnOnce(&Seen) -> R) -> R {
        look(&self.shared.seen.lock().unwrap())
    }

    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.see(|seen| seen.messages.iter().map(|message| message.seq).collect())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.cut();
    }
}

struct Node(Arc<Shared>);

type Responses = Pin<Box<dyn Stream<Item = Result<LinkResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ConnectNodeService for Node {
    type LinkStream = Responses;

    async fn link(&self, request: Request<Streaming<LinkRequest>>) -> Result<Response<Responses>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let link = Link { shared: Arc::clone(&self.0), sender, manager: 0, acked: 0 };
        tokio::spawn(link.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }

    async fn query(&self, _: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        if *self.0.mood.borrow() == Mood::Silent {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(QueryResponse {
            node_id: self.0.id.clone(),
            state: "ready".into(),
            connections: 7,
            ..QueryResponse::default()
        }))
    }

    async fn push_message_batch(
        &self,
        _: Request<PushMessageBatchRequest>,
    ) -> Result<Response<PushMessageBatchResponse>, Status> {
        Err(Status::unimplemented("this is a sink"))
    }
}

struct Link {
    shared: Arc<Shared>,
    sender: mpsc::Sender<LinkResponse>,
    manager: u64,
    acked: u64,
}

impl Link {
    async fn run(mut self, mut requests: Streaming<LinkRequest>) -> Option<()> {
        let mut mood = self.shared.mood.subscribe();
        let mut hand_ups = self.shared.hand_ups.subscribe();
        let mut beats = tokio::time::interval(Duration::from_secs(1));
        loop {
            let silent = *mood.borrow_and_update() == Mood::Silent;
            tokio::select! {
                frame = requests.message(), if !silent => {
                    let frame = frame.ok()??.frame?;
                    match self.shared.script.clone() {
                        Some(script) => {
                            for answer in script(&frame) {
                                self.say(answer).await?;
                            }
                        }
                        None => self.hear(frame).await?,
                    }
                }
                _ = mood.changed() => {}
                message = hand_ups.recv() => {
                    let hand_up = HandUp { message: Some(message.ok()?) };
                    self.say(link_response::Frame::HandUp(hand_up)).await?;
                }
                _ = beats.tick(), if !silent && self.manager != 0 => {
                    self.say(link_response::Frame::Heartbeat(NodeHeartbeat::default())).await?;
                }
            }
            self.acknowledge().await?;
        }
    }

    async fn say(&self, frame: link_response::Frame) -> Option<()> {
        self.sender.send(LinkResponse { frame: Some(frame) }).await.ok()
    }

    async fn hear(&mut self, frame: link_request::Frame) -> Option<()> {
        let mut answer = None;
        {
            let mut seen = self.shared.seen.lock().unwrap();
            let seen = &mut *seen;
            let name = match frame {
                link_request::Frame::Hello(hello) => {
                    seen.hellos += 1;
                    self.manager = hello.manager_id;
                    self.acked = hello.acked_seq;
                    let from = match seen.received.get(&self.manager) {
                        Some(progress) => start::From::AfterSeq(progress.last),
                        None => start::From::FillBytes(self.shared.fill_bytes),
                    };
                    answer = Some(Start {
                        node_id: self.shared.id.clone(),
                        instance: self.shared.instance.clone(),
                        from: Some(from),
                        sent_at: 0,
                    });
                    "hello"
                }
                link_request::Frame::Fill(fill) => {
                    let last = fill.first_seq - 1;
                    seen.fill = Some(fill);
                    self.acked = last;
                    seen.received.insert(self.manager, Progress { last, ..Progress::default() });
                    "fill"
                }
                link_request::Frame::Batch(records) => {
                    let progress = seen.received.get_mut(&self.manager).unwrap();
                    for message in MessageBatch::decode(records).unwrap().messages {
                        assert_eq!(message.seq, progress.last + 1, "a hole");
                        progress.last = message.seq;
                        let conflict = is_conflict(&mut seen.requests, &message);
                        progress.placed.insert(message.seq, self.shared.place(&message, conflict));
                        seen.messages.push(message);
                    }
                    "batch"
                }
                link_request::Frame::Controls(controls) => {
                    assert!(matches!(seen.frames.last(), Some(&("fill" | "controls"))), "not after Fill");
                    seen.old_controls.extend(MessageBatch::decode(controls.batch).unwrap().messages);
                    "controls"
                }
                link_request::Frame::Gap(gap) => {
                    let progress = seen.received.get_mut(&self.manager).unwrap();
                    assert_eq!(gap.from, progress.last + 1, "a hole before a gap");
                    progress.last = gap.to;
                    seen.gaps.push((gap.from, gap.to));
                    "gap"
                }
                link_request::Frame::Heartbeat(beat) => {
                    seen.managers = beat.managers;
                    "heartbeat"
                }
                link_request::Frame::Close(close) => {
                    seen.closed_at = Some(close.newest_seq);
                    seen.frames.push("close");
                    return None;
                }
            };
            seen.frames.push(name);
        }
        match answer {
            Some(start) => self.say(link_response::Frame::Start(start)).await,
            None => Some(()),
        }
    }

    async fn acknowledge(&mut self) -> Option<()> {
        if *self.shared.mood.borrow() != Mood::Acks || self.manager == 0 {
            return Some(());
        }
        loop {
            let ack = {
                let seen = self.shared.seen.lock().unwrap();
                seen.received.get(&self.manager).and_then(|progress| progress.ack_after(self.acked))
            };
            let Some(ack) = ack else { return Some(()) };
            self.acked = ack.first_seq + ack.recipients.len() as u64 - 1;
            self.say(link_response::Frame::Ack(ack)).await?;
        }
    }
}

impl Progress {
    /// The next acknowledgement: a run of placed messages, or the end of a Gap.
    fn ack_after(&self, acked: u64) -> Option<Ack> {
        if acked >= self.last {
            return None;
        }
        let first_seq = self.placed.range(acked + 1..).next().map_or(self.last + 1, |(&seq, _)| seq);
        let mut ack = Ack { first_seq, ..Ack::default() };
        for (seq, placed) in (first_seq..).map_while(|seq| Some((seq, self.placed.get(&seq)?))) {
            ack.recipients.push(placed.recipients);
            ack.by_user.extend(placed.by_user.clone());
            ack.conflicts.extend(placed.conflict.then_some(seq));
        }
        Some(ack)
    }
}

/// Whether this is known under its request id as something else.
fn is_conflict(requests: &mut BTreeMap<Bytes, Bytes>, message: &Message) -> bool {
    let Message { request_key: key, request_hash: hash, .. } = message;
    !key.is_empty() && requests.entry(key.clone()).or_insert_with(|| hash.clone()) != hash
}

impl Shared {
    fn place(&self, message: &Message, conflict: bool) -> Placed {
        let n = |name: &str| if conflict { 0 } else { self.rooms.get(name).copied().unwrap_or(0) };
        let mut by_user = None;
        let recipients = match message.target.as_ref().unwrap() {
            Target::RoomId(id) | Target::UserId(id) => n(id),
            Target::Everyone(_) => n("*"),
            Target::UserIds(users) => {
                let recipients: Vec<u32> = users.ids.iter().map(|id| n(id)).collect();
                by_user = Some(UserCounts { seq: message.seq, recipients: recipients.clone() });
                recipients.iter().sum()
            }
            Target::Control(Control { whose: Some(Whose::UserId(id)), .. }) => n(id),
            Target::Control(_) => 0,
        };
        Placed { recipients, by_user, conflict }
    }
}
