//! The node's side of one link as a state machine: what a manager may say when, and what the node answers.
//!
//! Owns the order of the conversation; does no I/O and reads no clock. Everything a stranger says badly ends
//! this link with a reason and touches nothing else.

use bytes::Bytes;
use pushcast_proto::connectnode::v1::{
    Fill, Gap, Heartbeat, Hello, LinkRequest, LinkResponse, NodeHeartbeat, Start, link_request::Frame,
    link_response, start,
};

use crate::{
    batch::{BadBatch, Batch},
    ingest::{Ingest, IngestError, Owner, TakenOver},
    key::Keys,
};

/// Seqs stay below this, so that none can overflow: at a million a second they last 290,000 years.
const MAX_SEQ: u64 = 1 << 63;

/// Managers one heartbeat may name; a fleet has tens.
const MAX_NAMED: usize = 1024;

/// Why a link has to end.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A frame came out of turn.
    #[error("{got} where {expected} was due")]
    OutOfTurn {
        /// What came.
        got: &'static str,
        /// What may come.
        expected: &'static str,
    },
    /// Not one byte came for 3 s, or no Hello.
    #[error("nothing came from the manager for 3 s")]
    Silent,
    /// A frame without content, or of a kind this version does not know.
    #[error("a frame of no known kind")]
    UnknownFrame,
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// Not a batch.
    #[error(transparent)]
    Batch(#[from] BadBatch),
    /// Refused by ingest.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// What a frame led to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and the large one once per link")]
pub enum Outcome {
    /// Nothing to tell anyone.
    Nothing,
    /// The manager said hello: answer with this.
    Started {
        /// The answer.
        answer: LinkResponse,
        /// What ingest handed over.
        taken_over: TakenOver,
        /// Last seq held of this manager, if any was.
        received: Option<u64>,
    },
    /// New messages arrived.
    Received {
        /// How many.
        messages: usize,
        /// How many had arrived before.
        duplicates: usize,
        /// How many of the new ones nobody gets because their request_id was known.
        repeats: usize,
    },
    /// Messages are lost for this node.
    Lost {
        /// How many.
        messages: u64,
    },
    /// The manager ended cleanly; the stream may end now.
    Closed,
}

/// One link, from its Hello to its end.
#[derive(Debug)]
pub struct LinkState {
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Hello,
    Fill(Owner),
    Open(Owner),
    Closed,
}

/// Who answers a Hello.
#[derive(Debug, Clone, Copy)]
pub struct Me<'a> {
    /// The node's id.
    pub node_id: &'a str,
    /// Random id of this process start.
    pub instance: &'a str,
}

impl Default for LinkState {
    fn default() -> Self {
        Self { phase: Phase::Hello }
    }
}

impl LinkState {
    /// Takes the next frame of the manager. `now` in microseconds. After an error the link has to end.
    pub fn on_frame(
        &mut self,
        request: LinkRequest,
        ingest: &Ingest,
        keys: &Keys,
        me: Me<'_>,
        now: u64,
    ) -> Result<Outcome, LinkError> {
        let frame = request.frame.ok_or(LinkError::UnknownFrame)?;
        match (self.phase, frame) {
            (Phase::Hello, Frame::Hello(hello)) => self.on_hello(&hello, ingest, me, now),
            (Phase::Hello, other) => Err(out_of_turn(&other, "Hello")),
            (Phase::Fill(owner), Frame::Fill(fill)) => self.on_fill(owner, &fill, ingest, now),
            (Phase::Fill(_), other) => Err(out_of_turn(&other, "Fill")),
            (Phase::Open(owner), Frame::Batch(batch)) => on_batch(owner, &batch, ingest, keys, now),
            (Phase::Open(owner), Frame::Heartbeat(beat)) => on_heartbeat(owner, &beat, ingest, now),
            (Phase::Open(owner), Frame::Gap(gap)) => on_gap(owner, gap, ingest, now),
            (Phase::Open(owner), Frame::Controls(controls)) => {
                ingest.controls(owner, &Batch::decode_controls(controls.batch, keys)?)?;
                Ok(Outcome::Nothing)
            }
            (Phase::Open(owner), Frame::Close(close)) => self.on_close(owner, close.newest_seq, ingest),
            (Phase::Open(_), other) => Err(out_of_turn(&other, "a batch, Controls, Heartbeat, Gap or Close")),
            (Phase::Closed, other) => Err(out_of_turn(&other, "nothing after Close")),
        }
    }

    fn on_hello(
        &mut self,
        hello: &Hello,
        ingest: &Ingest,
        me: Me<'_>,
        now: u64,
    ) -> Result<Outcome, LinkError> {
        if hello.manager_id == 0 {
            return Err(LinkError::Invalid("Hello with manager_id 0"));
        }
        if hello.newest_seq >= MAX_SEQ {
            return Err(LinkError::Invalid("Hello with a seq of 2^63 or more"));
        }
        if hello.oldest_seq > hello.newest_seq.saturating_add(1) {
            return Err(LinkError::Invalid("Hello with oldest_seq beyond newest_seq"));
        }
        let taken_over = ingest.take_over(hello, now);
        let received = taken_over.received;
        let (phase, from) = match received {
            Some(seq) => (Phase::Open(taken_over.owner), start::From::AfterSeq(seq)),
            None => (Phase::Fill(taken_over.owner), start::From::FillBytes(taken_over.fill_bytes)),
        };
        self.phase = phase;
        let start = Start {
            node_id: me.node_id.to_owned(),
            instance: me.instance.to_owned(),
            from: Some(from),
            sent_at: now,
        };
        let answer = LinkResponse { frame: Some(link_response::Frame::Start(start)) };
        Ok(Outcome::Started { answer, taken_over, received })
    }

    fn on_fill(
        &mut self,
        owner: Owner,
        fill: &Fill,
        ingest: &Ingest,
        now: u64,
    ) -> Result<Outcome, LinkError> {
        if !(1..=MAX_SEQ).contains(&fill.first_seq) || fill.last_seq.saturating_add(1) < fill.first_seq {
            return Err(LinkError::Invalid("Fill with a range that cannot be"));
        }
        ingest.fill(owner, fill, now)?;
        self.phase = Phase::Open(owner);
        Ok(Outcome::Nothing)
    }

    fn on_close(&mut self, owner: Owner, newest: u64, ingest: &Ingest) -> Result<Outcome, LinkError> {
        let received = ingest.progress(owner)?.received;
        if newest != received {
            return Err(IngestError::Hole { expected: received + 1, got: newest.saturating_add(1) }.into());
        }
        ingest.close(owner)?;
        self.phase = Phase::Closed;
        Ok(Outcome::Closed)
    }
}

/// What the node says every second on a link that said hello.
pub fn heartbeat(owner: Owner, ingest: &Ingest, now: u64) -> Result<LinkResponse, IngestError> {
    let progress = ingest.progress(owner)?;
    let beat = NodeHeartbeat { received_seq: progress.received, placed_seq: progress.placed, sent_at: now };
    Ok(LinkResponse { frame: Some(link_response::Frame::Heartbeat(beat)) })
}

fn on_batch(
    owner: Owner,
    bytes: &Bytes,
    ingest: &Ingest,
    keys: &Keys,
    now: u64,
) -> Result<Outcome, LinkError> {
    // The window keeps it for minutes: copied, it keeps nothing else alive of what gRPC read with it.
    let batch = Batch::decode(Bytes::copy_from_slice(bytes), keys)?;
    if batch.first_seq() == 0 || batch.last_seq() >= MAX_SEQ {
        return Err(LinkError::Invalid("a message with seq 0, or of 2^63 or more"));
    }
    let all = batch.len();
    let offered = ingest.offer(owner, batch, now)?;
    Ok(Outcome::Received { messages: offered.new, duplicates: all - offered.new, repeats: offered.repeats })
}

fn on_heartbeat(owner: Owner, beat: &Heartbeat, ingest: &Ingest, now: u64) -> Result<Outcome, LinkError> {
    if beat.managers.contains(&0) {
        return Err(LinkError::Invalid("Heartbeat naming manager 0"));
    }
    if beat.managers.len() > MAX_NAMED {
        return Err(LinkError::Invalid("Heartbeat naming more than 1024 managers"));
    }
    ingest.heartbeat(owner, beat, now)?;
    Ok(Outcome::Nothing)
}

fn on_gap(owner: Owner, gap: Gap, ingest: &Ingest, now: u64) -> Result<Outcome, LinkError> {
    let expected = ingest.progress(owner)?.received + 1;
    if gap.from > expected {
        return Err(IngestError::Hole { expected, got: gap.from }.into());
    }
    if gap.from == 0 || gap.to < gap.from || gap.to >= MAX_SEQ {
        return Err(LinkError::Invalid("Gap with a range that cannot be"));
    }
    Ok(Outcome::Lost { messages: ingest.gap(owner, gap.to, now)? })
}

fn out_of_turn(frame: &Frame, expected: &'static str) -> LinkError {
    let got = match frame {
        Frame::Hello(_) => "Hello",
        Frame::Fill(_) => "Fill",
        Frame::Batch(_) => "a batch",
        Frame::Heartbeat(_) => "Heartbeat",
        Frame::Gap(_) => "Gap",
        Frame::Close(_) => "Close",
        Frame::Controls(_) => "Controls",
    };
    LinkError::OutOfTurn { got, expected }
}
