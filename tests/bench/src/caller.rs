//! A business server that pushes as fast as answers come, request by request of a PushStream.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use pushcast_proto::pushmanager::v1::{
    PushItem, PushStreamRequest, PushStreamResponse, PushToRoomRequest, push_item,
    push_manager_service_client::PushManagerServiceClient, push_result::Outcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::scenarios::CONTENT;

/// Requests of one stream that may be unanswered.
const QUEUE: usize = 64;

/// How much is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Pushes in one request.
    pub(crate) items: usize,
    /// Requests unanswered.
    pub(crate) requests: usize,
}

pub(crate) struct Caller {
    requests: mpsc::Sender<PushStreamRequest>,
    answers: Streaming<PushStreamResponse>,
    content: Bytes,
}

impl Caller {
    /// Opens a stream to the manager at this address.
    pub(crate) async fn open(manager: &str) -> anyhow::Result<Self> {
        let mut client = connect(manager).await?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let answers = client.push_stream(ReceiverStream::new(queue)).await?.into_inner();
        Ok(Self { requests, answers, content: Bytes::from(vec![b'x'; CONTENT]) })
    }

    /// Pushes for `each` to rooms that `room` names, and waits for all answers. Returns how many pushes were answered.
    pub(crate) async fn push(
        &mut self,
        pace: Pace,
        each: Duration,
        room: impl Fn(u64) -> String,
    ) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let (mut sent, mut answered) = (0, 0);
        let most = (pace.items * pace.requests) as u64;
        loop {
            while sent - answered + pace.items as u64 <= most && begun.elapsed() < each {
                let items = (sent..).take(pace.items).map(|n| self.item(room(n))).collect();
                sent += pace.items as u64;
                self.requests.send(PushStreamRequest { items }).await.context("the push stream has ended")?;
            }
            if sent == answered {
                return Ok(answered);
            }
            let response = self.answers.message().await?.context("the manager ended the stream")?;
            answered += check(&response)?;
        }
    }

    fn item(&self, room_id: String) -> PushItem {
        let request =
            PushToRoomRequest { room_id, content: self.content.clone(), ..PushToRoomRequest::default() };
        PushItem { tag: 0, push: Some(push_item::Push::ToRoom(request)) }
    }
}

/// To the manager at this address.
pub(crate) async fn connect(manager: &str) -> anyhow::Result<PushManagerServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{manager}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    Ok(PushManagerServiceClient::new(endpoint.connect().await?))
}

/// How many pushes it answers; an error if one was refused.
pub(crate) fn check(response: &PushStreamResponse) -> anyhow::Result<u64> {
    for result in &response.results {
        if let Some(Outcome::Error(error)) = &result.outcome {
            bail!("a push was refused: {}", error.message);
        }
    }
    Ok(response.results.len() as u64)
}
