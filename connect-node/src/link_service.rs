//! One link of one manager: reads its frames, hands them to [`LinkState`], answers and acknowledges.
//!
//! There is no task per link: the answer stream that tonic polls does everything, so a manager that does not
//! read its acknowledgements is not read from either. When the shards have too much unplaced it stops
//! reading, and HTTP/2 stops that manager's cursor alone.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge, counter, gauge};
use pushcast_common::clock::now_micros;
use pushcast_common::fleet_auth::BytesRead;
use pushcast_proto::connectnode::v1::{LinkRequest, LinkResponse, link_response};
use tokio::{
    sync::Notify,
    time::{self, Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Span, info, info_span, warn};

use crate::{
    ingest::{Ingest, IngestError, Owner},
    key::Keys,
    link_state::{self, LinkError, LinkState, Me, Outcome},
};

/// Heartbeats go both ways every second, also when busy (DESIGN 4).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// A manager of which no byte came for this long is gone (DESIGN 4).
const SILENCE: Duration = Duration::from_secs(3);

/// What every link of a node shares.
#[derive(Debug)]
pub(crate) struct LinkShared {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) keys: Keys,
    pub(crate) node_id: String,
    pub(crate) instance: String,
    pub(crate) stop: CancellationToken,
}

/// One link while it is up.
pub(crate) struct Link {
    shared: Arc<LinkShared>,
    inbound: Streaming<LinkRequest>,
    state: LinkState,
    placed: Arc<Notify>,
    owner: Option<Owner>,
    heartbeat: Interval,
    alive: Liveness,
    opened: Instant,
    /// Not read, because the shards have too much of it to place.
    paused: bool,
    span: Span,
    ended: bool,
    counters: Counters,
}

struct Counters {
    links: Gauge,
    duplicates: Counter,
    repeats: Counter,
    lost: Counter,
    pauses: Counter,
}

/// Judges by bytes whether the manager still lives.
struct Liveness {
    read: BytesRead,
    seen: u64,
    since: Instant,
}

impl Liveness {
    /// Whether nothing came for too long. `excused`: this node itself does not read now.
    fn is_silent(&mut self, excused: bool) -> bool {
        let read = self.read.get();
        if read != self.seen || excused {
            self.seen = read;
            self.since = Instant::now();
        }
        self.since.elapsed() >= SILENCE
    }
}

enum Event {
    Frame(Option<Result<LinkRequest, Status>>),
    Placed,
    HandUp,
    Heartbeat,
    Stop,
}

impl Link {
    pub(crate) fn new(shared: Arc<LinkShared>, inbound: Streaming<LinkRequest>, read: BytesRead) -> Self {
        let mut heartbeat = time::interval(HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let counters = Counters {
            links: gauge!("connect_node_links"),
            duplicates: counter!("connect_node_duplicates_dropped_total"),
            repeats: counter!("connect_node_repeated_requests_total"),
            lost: counter!("connect_node_lost_messages_total"),
            pauses: counter!("connect_node_link_pauses_total"),
        };
        Self {
            shared,
            inbound,
            state: LinkState::default(),
            placed: Arc::new(Notify::new()),
            owner: None,
            heartbeat,
            alive: Liveness { read, seen: 0, since: Instant::now() },
            opened: Instant::now(),
            paused: false,
            span: Span::none(),
            ended: false,
            counters,
        }
    }

    /// The next frame for the manager; `None` when the link has ended.
    pub(crate) async fn next_response(&mut self) -> Option<Result<LinkResponse, Status>> {
        if self.ended {
            return None;
        }
        loop {
            match self.next_ack() {
                Ok(Some(ack)) => return Some(Ok(ack)),
                Ok(None) => {}
                Err(error) => return self.end(&error.into()),
            }
            if let Some(hand_up) = self.next_hand_up() {
                return Some(Ok(hand_up));
            }
            let has_room = self.has_room();
            if self.paused == has_room {
                self.paused = !has_room;
                self.counters.pauses.increment(u64::from(self.paused));
            }
            let event = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => Event::Stop,
                _ = self.heartbeat.tick() => Event::Heartbeat,
                () = self.placed.notified() => Event::Placed,
                () = self.shared.ingest.hand_ups.added(), if self.owner.is_some() => Event::HandUp,
                frame = self.inbound.message(), if has_room => Event::Frame(frame.transpose()),
            };
            let answer = match event {
                Event::Placed | Event::HandUp => continue,
                Event::Stop => {
                    self.ended = true;
                    return None;
                }
                Event::Heartbeat => self.on_heartbeat(!has_room),
                Event::Frame(Some(Ok(frame))) => self.on_frame(frame),
                Event::Frame(Some(Err(status))) => {
                    counter!("connect_node_link_errors_total", "reason" => "broken").increment(1);
                    info!(parent: &self.span, %status, "Link broke.");
                    self.ended = true;
                    return None;
                }
                Event::Frame(None) => {
                    self.ended = true;
                    return None;
                }
            };
            match answer {
                Ok(None) => {}
                Ok(Some(response)) => return Some(Ok(response)),
                Err(error) => return self.end(&error),
            }
        }
    }

    fn next_ack(&self) -> Result<Option<LinkResponse>, IngestError> {
        let Some(owner) = self.owner else { return Ok(None) };
        let ack = self.shared.ingest.next_ack(owner)?;
        Ok(ack.map(|ack| LinkResponse { frame: Some(link_response::Frame::Ack(ack)) }))
    }

    fn next_hand_up(&self) -> Option<LinkResponse> {
        let hand_up = self.shared.ingest.next_hand_up(self.owner?, now_micros())?;
        Some(LinkResponse { frame: Some(link_response::Frame::HandUp(hand_up)) })
    }

    fn has_room(&self) -> bool {
        let progress = self.owner.map(|owner| self.shared.ingest.progress(owner));
        // If another link took over, reading on finds that out.
        !progress.is_some_and(|progress| progress.is_ok_and(|progress| !progress.has_room))
    }

    fn on_heartbeat(&mut self, excused: bool) -> Result<Option<LinkResponse>, LinkError> {
        let no_hello = self.owner.is_none() && self.opened.elapsed() >= SILENCE;
        if no_hello || self.alive.is_silent(excused) {
            return Err(LinkError::Silent);
        }
        let Some(owner) = self.owner else { return Ok(None) };
        Ok(Some(link_state::heartbeat(owner, &self.shared.ingest, now_micros())?))
    }

    fn on_frame(&mut self, frame: LinkRequest) -> Result<Option<LinkResponse>, LinkError> {
        let shared = &self.shared;
        let me = Me { node_id: &shared.node_id, instance: &shared.instance };
        match self.state.on_frame(frame, &shared.ingest, &shared.keys, me, now_micros())? {
            Outcome::Nothing => Ok(None),
            Outcome::Started { answer, taken_over, received } => {
                self.span = info_span!("link", manager = format!("{:016x}", taken_over.owner.manager));
                info!(parent: &self.span, ?received, "Link is up.");
                self.owner = Some(taken_over.owner);
                self.placed = taken_over.placed;
                self.counters.links.increment(1.0);
                Ok(Some(answer))
            }
            Outcome::Received { duplicates, repeats, .. } => {
                if duplicates > 0 {
                    self.counters.duplicates.increment(duplicates as u64);
                }
                if repeats > 0 {
                    self.counters.repeats.increment(repeats as u64);
                }
                Ok(None)
            }
            Outcome::Lost { messages } => {
                self.counters.lost.increment(messages);
                warn!(parent: &self.span, messages, "The manager's log no longer has messages for this node.");
                Ok(None)
            }
            Outcome::Closed => {
                info!(parent: &self.span, "The manager ended cleanly.");
                Ok(None)
            }
        }
    }

    /// Ends the link with the reason, told to the manager as the stream's status.
    fn end(&mut self, error: &LinkError) -> Option<Result<LinkResponse, Status>> {
        self.ended = true;
        let (reason, status) = match error {
            LinkError::Ingest(IngestError::Superseded) => {
                info!(parent: &self.span, "A newer link of this manager took over.");
                // Both links share the wake-up; what this one took was meant for the other.
                self.placed.notify_one();
                return Some(Err(Status::aborted(error.to_string())));
            }
            LinkError::Ingest(IngestError::Hole { .. }) => ("hole", Status::data_loss(error.to_string())),
            LinkError::Silent => ("silent", Status::deadline_exceeded(error.to_string())),
            LinkError::Ingest(IngestError::NotStarted)
            | LinkError::OutOfTurn { .. }
            | LinkError::UnknownFrame
            | LinkError::Invalid(_)
            | LinkError::Batch(_) => ("protocol", Status::invalid_argument(error.to_string())),
        };
        counter!("connect_node_link_errors_total", "reason" => reason).increment(1);
        warn!(parent: &self.span, %error, "Link ended.");
        Some(Err(status))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(owner) = self.owner {
            self.shared.ingest.link_down(owner, now_micros());
            self.counters.links.decrement(1.0);
            info!(parent: &self.span, "Link is down.");
        }
    }
}
