//! Many nodes that are none: they speak Link and acknowledge batches without looking into a message. All of them run
//! on one runtime, without a task or a channel per batch.

use std::{
    cell::Cell,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use pushcast_proto::connectnode::v1::{
    Ack, LinkRequest, LinkResponse, NodeHeartbeat, PushMessageBatchRequest, PushMessageBatchResponse,
    QueryRequest, QueryResponse, Start,
    connect_node_service_server::{ConnectNodeService, ConnectNodeServiceServer},
    link_request, link_response, start,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// As the nodes have them.
const FRAME: u32 = 1 << 20;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const LARGEST_MESSAGE: usize = 2 << 20;

/// What all of them received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    batches: AtomicU64,
    messages: AtomicU64,
}

impl Received {
    /// Batches and messages so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.batches.load(Ordering::Relaxed), self.messages.load(Ordering::Relaxed))
    }
}

/// Running sinks; they end with this value.
pub(crate) struct Sinks {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) received: Arc<Received>,
    _servers: JoinSet<()>,
}

impl Sinks {
    /// Starts so many on the current runtime.
    pub(crate) async fn start(count: usize) -> anyhow::Result<Self> {
        let received = Arc::new(Received::default());
        let mut servers = JoinSet::new();
        let mut addresses = Vec::with_capacity(count);
        for n in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            let sink = Sink { name: format!("sink-{n}"), received: Arc::clone(&received) };
            let service = ConnectNodeServiceServer::new(sink).max_decoding_message_size(LARGEST_MESSAGE);
            let server = tonic::transport::Server::builder()
                .max_frame_size(FRAME)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .add_service(service);
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            servers.spawn(async move {
                // A manager without its node is what the measurement then fails with.
                let _ended = server.serve_with_incoming(incoming).await;
            });
        }
        Ok(Self { addresses, received, _servers: servers })
    }
}

struct Sink {
    name: String,
    received: Arc<Received>,
}

#[tonic::async_trait]
impl ConnectNodeService for Sink {
    type LinkStream = Link;

    async fn link(&self, request: Request<Streaming<LinkRequest>>) -> Result<Response<Link>, Status> {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Response::new(Link {
            name: self.name.clone(),
            requests: request.into_inner(),
            second,
            received: Arc::clone(&self.received),
            next_seq: Cell::new(0),
        }))
    }

    async fn query(&self, _request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let (node_id, state) = (self.name.clone(), "ready".to_owned());
        Ok(Response::new(QueryResponse { node_id, state, ..QueryResponse::default() }))
    }

    async fn push_message_batch(
        &self,
        _request: Request<PushMessageBatchRequest>,
    ) -> Result<Response<PushMessageBatchResponse>, Status> {
        Ok(Response::new(PushMessageBatchResponse { recipients: 1 }))
    }
}

/// One link: the answers are made where the requests are read.
struct Link {
    name: String,
    requests: Streaming<LinkRequest>,
    second: Interval,
    received: Arc<Received>,
    /// The first seq that is not acknowledged; 0 before Hello.
    next_seq: Cell<u64>,
}

impl Link {
    /// What a frame is answered with, if it is.
    fn answer(&self, frame: link_request::Frame) -> Result<Option<link_response::Frame>, Status> {
        match frame {
            link_request::Frame::Hello(hello) => {
                self.next_seq.set(1);
                Ok(Some(link_response::Frame::Start(Start {
                    node_id: self.name.clone(),
                    instance: format!("instance-of-{}", self.name),
                    from: Some(start::From::FillBytes(64 << 20)),
                    sent_at: hello.sent_at,
                })))
            }
            link_request::Frame::Fill(fill) => {
                self.next_seq.set(fill.first_seq);
                Ok(None)
            }
            link_request::Frame::Batch(batch) => {
                let messages =
                    count_records(&batch).ok_or_else(|| Status::invalid_argument("a bad batch"))?;
                self.received.batches.fetch_add(1, Ordering::Relaxed);
                self.received.messages.fetch_add(messages as u64, Ordering::Relaxed);
                let first_seq = self.next_seq.replace(self.next_seq.get() + messages as u64);
                let recipients = vec![1; messages];
                Ok(Some(link_response::Frame::Ack(Ack { first_seq, recipients, ..Ack::default() })))
            }
            link_request::Frame::Gap(gap) => {
                self.next_seq.set(gap.to + 1);
                Ok(None)
            }
            link_request::Frame::Heartbeat(_)
            | link_request::Frame::Close(_)
            | link_request::Frame::Controls(_) => Ok(None),
        }
    }
}

impl Stream for Link {
    type Item = Result<LinkResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Poll::Ready(request) = Pin::new(&mut self.requests).poll_next(cx) {
            let Some(request) = request.transpose()? else { return Poll::Ready(None) };
            let Some(frame) = request.frame else {
                return Poll::Ready(Some(Err(Status::invalid_argument("a frame without anything in it"))));
            };
            if let Some(frame) = self.answer(frame)? {
                return Poll::Ready(Some(Ok(LinkResponse { frame: Some(frame) })));
            }
        }
        loop {
            ready!(self.second.poll_tick(cx));
            let next_seq = self.next_seq.get();
            if next_seq > 0 {
                let last = next_seq - 1;
                let beat = NodeHeartbeat { received_seq: last, placed_seq: last, sent_at: 1 };
                let frame = Some(link_response::Frame::Heartbeat(beat));
                return Poll::Ready(Some(Ok(LinkResponse { frame })));
            }
        }
    }
}

/// How many messages a serialised MessageBatch holds, by their lengths alone; none if it is not one.
fn count_records(mut batch: &[u8]) -> Option<usize> {
    let mut records = 0;
    while !batch.is_empty() {
        let (key, after) = varint(batch)?;
        let (len, after) = varint(after)?;
        // Field 1, length-delimited, is all there is.
        if key != 0x0a {
            return None;
        }
        batch = after.get(usize::try_from(len).ok()?..)?;
        records += 1;
    }
    Some(records)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;
    use pushcast_proto::connectnode::v1::{Message, MessageBatch, message::Target};

    use super::*;

    #[test]
    fn messages_are_counted_without_decoding_them() {
        let message = |seq, len| Message {
            seq,
            target: Some(Target::RoomId("r".to_owned())),
            content: Bytes::from(vec![0xff; len]),
            ..Message::default()
        };
        let messages = vec![message(1, 0), message(2, 100), message(3, 300), message(4, 70_000)];
        let batch = MessageBatch { messages }.encode_to_vec();
        assert_eq!(count_records(&batch), Some(4));
        assert_eq!(count_records(&[]), Some(0));
        assert_eq!(count_records(&batch[..batch.len() - 1]), None, "cut");
        assert_eq!(count_records(&[0x12, 0]), None, "another field");
        assert_eq!(count_records(&[0xff; 20]), None, "no varint");
    }
}
