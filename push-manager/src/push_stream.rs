//! The fast path: one stream of pushes in, one stream of results out, and nothing in between.
//!
//! The response stream polls the request stream itself, so a push of a stream costs no task, no channel
//! and no wake of its own; results of many pushes travel together.

use std::{
    cell::OnceCell,
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use prost::Message as _;
use pushcast_proto::pushmanager::v1::{
    PushItem, PushResult, PushStreamRequest, PushStreamResponse, push_result,
};
use tonic::{Code, Status, Streaming};

use crate::{
    api::Rpc,
    api_auth::{
        callers::{Caller, Revoked},
        method::Method,
    },
    hub::{Hub, Outcome, Refused, Turn, Verdict},
    push::{Mark, Push, accepted_answer, full_answer, message_id},
    refusal, validate,
};

/// At most this much of one stream waits for answers; then its requests are left to HTTP/2.
const MAX_IN_FLIGHT: usize = 8192;
const MAX_IN_FLIGHT_BYTES: usize = 8 << 20;

/// Items taken in one turn, and their bytes: whoever sends them all in one request must not keep the links and
/// the other callers waiting. 256 small ones take about 0.2 ms.
const MAX_ITEMS_A_TURN: usize = 256;
const MAX_BYTES_A_TURN: usize = 1 << 20;

/// What an item costs beside its bytes, about: its place here, its waiter and its tally.
const ITEM_BYTES: usize = 256;

/// Roughly what one response may hold; callers' libraries refuse more than 4 MiB by default.
const RESPONSE_BYTES: usize = 1 << 20;

/// The response side of a PushStream.
#[derive(Debug)]
pub(crate) struct PushStream {
    hub: Arc<Hub>,
    key: u64,
    caller: Caller,
    /// None where nobody can be locked out, or where that has happened.
    revoked: Option<Revoked>,
    max_content: usize,
    requests: Streaming<PushStreamRequest>,
    /// What of the last request is not taken yet.
    backlog: VecDeque<PushItem>,
    /// Why no more requests are read, once that is so.
    ended: Option<Result<(), Status>>,
    /// One for each item without a result, in the order of acceptance.
    slots: VecDeque<Slot>,
    outcomes: VecDeque<Outcome>,
    in_flight_bytes: usize,
}

#[derive(Debug)]
enum Slot {
    /// Refused, or not waited for: rarer than what waits, and bigger.
    Ready {
        result: Box<PushResult>,
        bytes: usize,
    },
    Waiting {
        tag: u64,
        rpc: Rpc,
        bytes: usize,
    },
}

/// What one turn of reading brought.
#[derive(Default)]
struct Read {
    /// A slot for every item; those of pushes are for the verdict to fill.
    items: Vec<Item>,
    pushes: Vec<Push>,
    /// The time of this turn, looked at once, if a key's rate asks for it.
    now: OnceCell<u64>,
    /// There may be more to read.
    more: bool,
}

enum Item {
    Refused { result: PushResult, bytes: usize },
    Push { tag: u64, rpc: Rpc, bytes: usize },
}

impl PushStream {
    pub(crate) fn new(
        hub: Arc<Hub>,
        caller: Caller,
        max_content: usize,
        requests: Streaming<PushStreamRequest>,
    ) -> Self {
        Self {
            key: hub.open_stream(),
            hub,
            revoked: caller.revoked(),
            caller,
            max_content,
            requests,
            backlog: VecDeque::new(),
            ended: None,
            slots: VecDeque::new(),
            outcomes: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Read {
        let mut read = Read::default();
        let mut bytes = 0;
        while read.items.len() < MAX_ITEMS_A_TURN && bytes < MAX_BYTES_A_TURN {
            let full = self.slots.len() + read.items.len() >= MAX_IN_FLIGHT
                || self.in_flight_bytes + bytes >= MAX_IN_FLIGHT_BYTES;
            if full {
                return read;
            }
            if let Some(item) = self.backlog.pop_front() {
                bytes += self.check(item, &mut read);
                continue;
            }
            if self.ended.is_some() {
                return read;
            }
            match Pin::new(&mut self.requests).poll_next(cx) {
                Poll::Pending => return read,
                Poll::Ready(None) => self.ended = Some(Ok(())),
                Poll::Ready(Some(Err(status))) => self.ended = Some(Err(status)),
                Poll::Ready(Some(Ok(request))) => self.backlog = request.items.into(),
            }
        }
        read.more = true;
        read
    }

    /// Returns the bytes the item holds while it is in flight.
    fn check(&self, item: PushItem, read: &mut Read) -> usize {
        let tag = item.tag;
        let (api, push) = validate::item(item, self.max_content);
        let push = match api {
            Some(api) => {
                let now = || *read.now.get_or_init(|| self.hub.clock().mono());
                self.caller.judge(api.into(), push, now)
            }
            None => push,
        };
        match push {
            Ok(push) => {
                let bytes = push.message.encoded_len() + ITEM_BYTES;
                read.items.push(Item::Push { tag, rpc: push.rpc, bytes });
                read.pushes.push(push);
                bytes
            }
            Err(status) => {
                if let Some(api) = api {
                    self.hub.metrics.request(api, status.code());
                }
                let result = error_result(tag, &status);
                let bytes = result.encoded_len() + ITEM_BYTES;
                read.items.push(Item::Refused { result, bytes });
                bytes
            }
        }
    }

    /// A caller that lost its key is read no more: what was accepted is answered, then the stream ends.
    fn see_revoked(&mut self, cx: &mut Context<'_>) {
        let is_revoked = self.revoked.as_mut().is_some_and(|revoked| revoked.as_mut().poll(cx).is_ready());
        if is_revoked {
            self.revoked = None;
            self.backlog.clear();
            let caller = &self.caller;
            self.ended.get_or_insert_with(|| Err(caller.lock_out(Method::PushStream)));
        }
    }

    fn take_turn(&mut self, cx: &Context<'_>, read: Read) {
        let Turn { verdicts, outcomes, draining } = self.hub.stream_turn(self.key, read.pushes, cx.waker());
        self.outcomes.extend(outcomes);
        if draining {
            self.backlog.clear();
            self.ended.get_or_insert_with(|| Err(refusal::refused(Refused::Draining)));
        }
        let mut verdicts = verdicts.into_iter();
        for item in read.items {
            let slot = match item {
                Item::Refused { result, bytes } => {
                    self.in_flight_bytes += bytes;
                    Slot::Ready { result: Box::new(result), bytes }
                }
                Item::Push { tag, rpc, bytes } => {
                    let Some(verdict) = verdicts.next() else { break };
                    self.slot(tag, rpc, bytes, verdict)
                }
            };
            self.slots.push_back(slot);
        }
    }

    fn slot(&mut self, tag: u64, rpc: Rpc, bytes: usize, verdict: Verdict) -> Slot {
        match verdict {
            Verdict::Waiting => {
                self.in_flight_bytes += bytes;
                Slot::Waiting { tag, rpc, bytes }
            }
            Verdict::Accepted { seq, mark } => {
                self.hub.metrics.request(rpc, Code::Ok);
                let answer = accepted_answer(self.hub.id, seq, mark);
                ready(PushResult { tag, outcome: Some(push_result::Outcome::Answer(answer)) })
            }
            Verdict::Refused(refused) => {
                let status = refusal::refused(refused);
                self.hub.metrics.request(rpc, status.code());
                ready(error_result(tag, &status))
            }
        }
    }

    /// Results that are ready, in order, as many as one response should hold.
    fn results(&mut self) -> Vec<PushResult> {
        let mut results = Vec::new();
        let mut bytes = 0;
        let mut oldest = None;
        while bytes < RESPONSE_BYTES {
            let result = match self.slots.front() {
                None => break,
                Some(&Slot::Waiting { tag, rpc, bytes: content }) => {
                    let Some(outcome) = self.outcomes.pop_front() else { break };
                    oldest.get_or_insert((rpc, outcome.answer.accepted_at));
                    self.in_flight_bytes -= content;
                    self.slots.pop_front();
                    self.result(tag, rpc, outcome)
                }
                Some(Slot::Ready { .. }) => match self.slots.pop_front() {
                    Some(Slot::Ready { result, bytes: held }) => {
                        self.in_flight_bytes -= held;
                        *result
                    }
                    _ => break,
                },
            };
            bytes += result.encoded_len();
            results.push(result);
        }
        if let Some((rpc, accepted_at)) = oldest {
            let waited = self.hub.clock().mono().saturating_sub(accepted_at);
            self.hub.metrics.answered_after(rpc, waited);
        }
        results
    }

    /// The result of a push that was waited for.
    fn result(&self, tag: u64, rpc: Rpc, outcome: Outcome) -> PushResult {
        let Outcome { answer, mark } = outcome;
        if answer.conflict {
            let message_id = message_id(self.hub.id, answer.seq, Mark::hash(mark.as_deref()));
            let status = refusal::request_id_conflict(message_id);
            self.hub.metrics.request(rpc, status.code());
            return error_result(tag, &status);
        }
        self.hub.metrics.request(rpc, Code::Ok);
        self.hub.metrics.answered_with_pending(rpc, answer.pending.len());
        let answer = full_answer(self.hub.id, answer, mark);
        PushResult { tag, outcome: Some(push_result::Outcome::Answer(answer)) }
    }
}

impl Stream for PushStream {
    type Item = Result<PushStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.see_revoked(cx);
        let read = this.read(cx);
        let more = read.more;
        this.take_turn(cx, read);
        let results = this.results();
        if !results.is_empty() {
            return Poll::Ready(Some(Ok(PushStreamResponse { results })));
        }
        if this.slots.is_empty() && this.backlog.is_empty() {
            match this.ended.replace(Ok(())) {
                None => this.ended = None,
                Some(Ok(())) => return Poll::Ready(None),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
            }
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for PushStream {
    fn drop(&mut self) {
        self.hub.close_stream(self.key);
    }
}

/// A result that is there at once and holds no more than its place.
fn ready(result: PushResult) -> Slot {
    Slot::Ready { result: Box::new(result), bytes: 0 }
}

fn error_result(tag: u64, status: &Status) -> PushResult {
    // The details of our own statuses are a serialised google.rpc.Status.
    let mut error = tonic_types::Status::decode(status.details()).unwrap_or_default();
    error.code = status.code() as i32;
    status.message().clone_into(&mut error.message);
    PushResult { tag, outcome: Some(push_result::Outcome::Error(error)) }
}
