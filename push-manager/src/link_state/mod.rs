//! What one link says next and how it takes what the node says: the manager's half of the link's
//! conversation, without I/O. One value per node; it outlives the connections of the link.

mod error;
mod event;
mod hand_up;
mod process;

use std::collections::VecDeque;

use bytes::Bytes;
use pushcast_proto::connectnode::v1::{
    Close, Controls, Fill, Gap, Heartbeat, Hello, LinkResponse, NodeHeartbeat, Start, link_request::Frame,
    link_response, start::From,
};

pub use self::{
    error::LinkError,
    event::{Acked, Counted, Event, Started},
};

pub(crate) use self::hand_up::MAX_REASON_BYTES;

use self::process::Process;
use crate::{
    clock::{Now, SECOND},
    log::{BATCH_BYTES, Log, Range},
};

/// A link says something at least this often, in microseconds.
pub const HEARTBEAT_EVERY: u64 = SECOND;

/// Longest node or instance id in bytes, as for every id.
const MAX_ID_BYTES: usize = 128;

/// What a manager says about itself and its peers on every link.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Random number of this process start, never 0.
    pub manager_id: u64,
    /// Version of the program.
    pub version: String,
    /// The other managers known to be registered.
    pub managers: Vec<u64>,
    /// When a manager was last seen to go; this manager's start if none was. Microseconds since 1970.
    pub manager_gone_at: u64,
}

/// What a link does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Sends this frame.
    Frame(Frame),
    /// Nothing, until the log grows, the node answers, or (if given) the monotonic clock is here.
    Wait(Option<u64>),
    /// The manager's side of the stream ends.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Hello,
    AwaitStart { newest: u64 },
    Fill(Fill),
    Controls,
    Open,
    Closed,
}

/// The manager's half of one link.
#[derive(Debug)]
pub struct LinkState {
    phase: Phase,
    process: Process,
    /// What follows a Fill. Taken with it, so that none is dropped before it is sent.
    controls: VecDeque<Bytes>,
    heartbeat_at: u64,
    closing: bool,
    /// The furthest the node's clock was from ours, on the present connection.
    clock_offset: u64,
}

impl Default for LinkState {
    fn default() -> Self {
        Self::new()
    }
}

impl LinkState {
    /// A node that never linked.
    pub fn new() -> Self {
        Self {
            phase: Phase::Down,
            process: Process::default(),
            controls: VecDeque::new(),
            heartbeat_at: 0,
            closing: false,
            clock_offset: 0,
        }
    }

    /// A connection to the node stands; the conversation begins anew.
    pub fn opened(&mut self) {
        self.phase = Phase::Hello;
        self.clock_offset = 0;
    }

    /// The connection is gone.
    pub fn closed(&mut self) {
        self.phase = Phase::Down;
        self.controls = VecDeque::new();
    }

    /// After everything was sent and acknowledged, say Close and end.
    pub fn close_when_done(&mut self) {
        self.closing = true;
    }

    /// Whether the node has answered Hello on the present connection.
    pub fn is_linked(&self) -> bool {
        matches!(self.phase, Phase::Fill(_) | Phase::Controls | Phase::Open | Phase::Closed)
    }

    /// Whether it is to say Close when all is acknowledged.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether Close was said on the present connection.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the node ever answered Hello.
    pub fn has_linked(&self) -> bool {
        self.process.is_known()
    }

    /// Last seq the node's present process acknowledged, or was not asked to.
    pub fn acked(&self) -> u64 {
        self.process.acked()
    }

    /// Last seq sent in a batch or a Gap.
    pub fn sent(&self) -> u64 {
        self.process.sent()
    }

    /// The furthest the node's clock was from ours on the present or last connection, in microseconds,
    /// what its frames took on their way included.
    pub fn clock_offset(&self) -> u64 {
        self.clock_offset
    }

    /// The next frame to send, if one is due.
    pub fn next_frame(&mut self, log: &mut Log, identity: &Identity, now: Now) -> Next {
        match self.phase {
            Phase::Down | Phase::Closed => Next::End,
            Phase::AwaitStart { .. } => Next::Wait(None),
            Phase::Hello => {
                self.phase = Phase::AwaitStart { newest: log.newest() };
                Next::Frame(Frame::Hello(self.hello(log, identity, now)))
            }
            Phase::Fill(fill) => {
                self.phase = Phase::Controls;
                Next::Frame(Frame::Fill(fill))
            }
            Phase::Controls => match self.controls.pop_front() {
                Some(batch) => Next::Frame(Frame::Controls(Controls { batch })),
                None => {
                    self.phase = Phase::Open;
                    self.next_of_open(log, identity, now)
                }
            },
            Phase::Open => self.next_of_open(log, identity, now),
        }
    }

    fn next_of_open(&mut self, log: &mut Log, identity: &Identity, now: Now) -> Next {
        let next = self.process.next();
        let heartbeat_due = now.mono >= self.heartbeat_at;
        match log.range(next, BATCH_BYTES) {
            Range::Gap { from, to } => {
                self.process.sent_gap(from, to);
                Next::Frame(Frame::Gap(Gap { from, to }))
            }
            _ if heartbeat_due => {
                self.heartbeat_at = now.mono + HEARTBEAT_EVERY;
                Next::Frame(Frame::Heartbeat(self.heartbeat(log, identity, now)))
            }
            Range::Batch(batch) => {
                self.process.sent_batch(batch.last, log.apis(batch.first, batch.last));
                Next::Frame(Frame::Batch(batch.records))
            }
            Range::UpToDate if self.closing && self.process.acked() == log.newest() => {
                self.phase = Phase::Closed;
                Next::Frame(Frame::Close(Close { newest_seq: log.newest() }))
            }
            Range::UpToDate => Next::Wait(Some(self.heartbeat_at)),
        }
    }

    fn hello(&self, log: &Log, identity: &Identity, now: Now) -> Hello {
        Hello {
            manager_id: identity.manager_id,
            oldest_seq: log.oldest(),
            newest_seq: log.newest(),
            acked_seq: self.process.held(),
            manager_gone_at: identity.manager_gone_at,
            sent_at: now.wall,
            version: identity.version.clone(),
        }
    }

    fn heartbeat(&self, log: &mut Log, identity: &Identity, now: Now) -> Heartbeat {
        // What is not sent yet was accepted after everything that was.
        let through = match log.accepted_at(self.process.next()) {
            Some(unsent) => unsent - 1,
            None => log.through(now),
        };
        Heartbeat {
            newest_seq: log.newest(),
            sent_seq: self.process.sent(),
            through,
            acked_seq: self.process.held(),
            managers: identity.managers.clone(),
            manager_gone_at: identity.manager_gone_at,
            sent_at: now.wall,
        }
    }

    /// Takes a frame of the node. An error ends the link; what was known before it stays.
    pub fn received(&mut self, frame: LinkResponse, log: &Log, now: Now) -> Result<Event, LinkError> {
        let Some(frame) = frame.frame else {
            // A kind of frame that a later version knows.
            return Ok(Event::Nothing);
        };
        match (frame, self.phase) {
            (_, Phase::Down | Phase::Hello) => Err(LinkError::BeforeStart),
            (link_response::Frame::Start(start), Phase::AwaitStart { newest }) => {
                let sent_at = start.sent_at;
                let started = self.started(start, newest, log)?;
                self.compare_clocks(sent_at, now);
                Ok(Event::Started(started))
            }
            (_, Phase::AwaitStart { .. }) => Err(LinkError::BeforeStart),
            (link_response::Frame::Start(_), _) => Err(LinkError::StartTwice),
            (link_response::Frame::Ack(ack), _) => self.process.acknowledged(ack),
            (link_response::Frame::HandUp(hand_up), _) => hand_up::checked(hand_up).map(Event::HandedUp),
            (link_response::Frame::Heartbeat(beat), _) => {
                self.heard(&beat)?;
                self.compare_clocks(beat.sent_at, now);
                Ok(Event::Nothing)
            }
        }
    }

    fn started(&mut self, start: Start, newest_at_hello: u64, log: &Log) -> Result<Started, LinkError> {
        check_start_ids(&start)?;
        let not_for_it = match start.from {
            None => return Err(LinkError::NoStartingPoint),
            Some(From::AfterSeq(after)) => {
                let not_for_it = self.process.continues(&start.instance, after, log.newest())?;
                self.phase = Phase::Open;
                not_for_it
            }
            Some(From::FillBytes(bytes)) => {
                let first = log.newest_fitting(bytes, newest_at_hello);
                self.process.fills(&start.instance, first, newest_at_hello);
                let controls = log.controls_before(first);
                self.controls = controls.batches.into();
                self.phase = Phase::Fill(Fill {
                    first_seq: first,
                    last_seq: newest_at_hello,
                    left_out_at: log.evicted_before(first),
                    controls_left_out_at: controls.left_out_at,
                });
                first - 1
            }
        };
        self.heartbeat_at = 0;
        Ok(Started { node_id: start.node_id, instance: start.instance, not_for_it })
    }

    /// A node that does not tell its time is not judged by it.
    fn compare_clocks(&mut self, sent_at: u64, now: Now) {
        if sent_at != 0 {
            self.clock_offset = self.clock_offset.max(sent_at.abs_diff(now.wall));
        }
    }

    fn heard(&self, beat: &NodeHeartbeat) -> Result<(), LinkError> {
        let claimed = beat.received_seq.max(beat.placed_seq);
        let sent = self.process.sent();
        if claimed > sent { Err(LinkError::HeartbeatAhead { claimed, sent }) } else { Ok(()) }
    }
}

/// Whether a Start names a usable node and instance id. Also for the caller who has to decide whether
/// this is the node it wants before [`LinkState::received`] believes it.
pub fn check_start_ids(start: &Start) -> Result<(), LinkError> {
    let usable = |id: &str| !id.is_empty() && id.len() <= MAX_ID_BYTES && !id.chars().any(char::is_control);
    if !usable(&start.node_id) {
        return Err(LinkError::BadId("node_id"));
    }
    if !usable(&start.instance) {
        return Err(LinkError::BadId("instance"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
