//! Many pushes on one stream, without waiting for one answer after the other.

use std::{collections::VecDeque, sync::Arc};

use futures::StreamExt as _;
use pushcast_proto::pushmanager::v1::{
    PushAnswer, PushItem, PushResult, PushStreamRequest, PushStreamResponse, push_result,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::push::{Calls, Push};

/// Items put into one request at most, when that many are at hand.
const ITEMS_PER_REQUEST: usize = 256;

/// Opens a stream with at most `in_flight` unanswered pushes on it.
pub(crate) async fn open(mut client: Calls, in_flight: usize) -> Result<(PushSender, PushResults), Status> {
    let (items, queue) = mpsc::channel(in_flight);
    let requests =
        ReceiverStream::new(queue).ready_chunks(ITEMS_PER_REQUEST).map(|items| PushStreamRequest { items });
    let responses = client.push_stream(requests).await?.into_inner();
    let permits = Arc::new(Semaphore::new(in_flight));
    let sender = PushSender { items, permits: Arc::clone(&permits) };
    Ok((sender, PushResults { responses, ready: VecDeque::new(), permits }))
}

/// The stream ended; [`PushResults`] says why.
#[derive(Debug, thiserror::Error)]
#[error("the push stream has ended")]
pub struct StreamEnded;

/// The sending side; the stream's pushes end when it is dropped.
#[derive(Debug)]
pub struct PushSender {
    items: mpsc::Sender<PushItem>,
    permits: Arc<Semaphore>,
}

impl PushSender {
    /// Sends a push, waiting while too many are unanswered. Pushes reach every connection in the order of
    /// these calls.
    pub async fn send(&self, tag: u64, push: Push) -> Result<(), StreamEnded> {
        let permit = self.permits.acquire().await.map_err(|_closed| StreamEnded)?;
        self.items.send(push.into_item(tag)).await.map_err(|_closed| StreamEnded)?;
        // The result gives it back.
        permit.forget();
        Ok(())
    }
}

/// The results, in the order of acceptance. Dropping it ends the stream for the sender, too.
#[derive(Debug)]
pub struct PushResults {
    responses: Streaming<PushStreamResponse>,
    ready: VecDeque<PushResult>,
    permits: Arc<Semaphore>,
}

impl PushResults {
    /// The next push's tag and what became of it. `Ok(None)` after the last one of a finished sender; an
    /// error is the end of the stream, and what became of the pushes not answered yet is unknown.
    pub async fn next(&mut self) -> Result<Option<(u64, Result<PushAnswer, Status>)>, Status> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                self.permits.add_permits(1);
                return Ok(Some((result.tag, outcome(result.outcome))));
            }
            match self.responses.message().await {
                Ok(Some(response)) => self.ready.extend(response.results),
                // No result will come any more to let a waiting sender go on.
                ended => {
                    self.permits.close();
                    return ended.map(|_none| None);
                }
            }
        }
    }
}

impl Drop for PushResults {
    fn drop(&mut self) {
        self.permits.close();
    }
}

fn outcome(outcome: Option<push_result::Outcome>) -> Result<PushAnswer, Status> {
    match outcome {
        Some(push_result::Outcome::Answer(answer)) => Ok(answer),
        Some(push_result::Outcome::Error(error)) => Err(Status::with_details(
            Code::from_i32(error.code),
            error.message.clone(),
            prost::Message::encode_to_vec(&error).into(),
        )),
        None => Err(Status::internal("the manager sent a result without an outcome")),
    }
}
