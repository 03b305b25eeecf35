//! Every metric of a connect-node, described once, with handles for what is counted often.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use tracing::warn;

use crate::{acks::Arrived, auth::Refused, close::CloseReason, history::HistoryLevels, limits::Refusal};

/// Describes all metrics and starts their series at 0.
pub(crate) fn describe() {
    describe_counter!(
        "connect_node_push_received_total",
        "Pushes that arrived, by whether anybody here was for them."
    );
    describe_counter!("connect_node_opened_total", "Connections accepted.");
    describe_counter!(
        "connect_node_closed_total",
        "Connections ended, by close code; `client` if the client ended it."
    );
    describe_counter!(
        "connect_node_tokens_refused_total",
        "Clients that were refused what they asked for because of their token, by reason."
    );
    describe_counter!("connect_node_token_renewals_total", "Tokens that took the place of one before.");
    describe_counter!(
        "connect_node_token_key_reads_total",
        "Times the keys of tokens were read anew, by outcome: ok, or failed and left as they were."
    );
    describe_gauge!("connect_node_token_keys", "Keys that tokens may be signed with.");
    describe_counter!(
        "connect_node_fleet_refused_total",
        "Connections for managers that were refused because they did not prove to be of this fleet."
    );
    describe_counter!(
        "connect_node_upgrades_refused_total",
        "Sockets that did not become WebSockets because they were refused, by reason: address, crowd, draining, forwarded, full, head, not_ready, origin, rate, slow_head, url."
    );
    describe_counter!(
        "connect_node_limited_total",
        "Clients that wanted more than one may have, by what: bytes or frames (closed), frame_size (closed), rooms (the request refused), user_connections (not let in)."
    );
    describe_counter!("connect_node_delivered_messages_total", "Messages placed in connections.");
    describe_counter!(
        "connect_node_delivered_bytes_total",
        Unit::Bytes,
        "Content bytes placed in connections."
    );
    describe_counter!(
        "connect_node_flushes_total",
        "Sends to sockets; each carries everything that was pending."
    );
    describe_counter!(
        "connect_node_link_pauses_total",
        "Times a link was not read because the shards had too much of it to place."
    );
    describe_counter!("connect_node_slow_closes_total", "Connections closed because they took too little.");
    describe_counter!(
        "connect_node_duplicates_dropped_total",
        "Messages dropped because they had arrived before."
    );
    describe_counter!(
        "connect_node_lost_messages_total",
        "Messages a manager's log no longer had for this node."
    );
    describe_counter!(
        "connect_node_link_errors_total",
        "Links that ended otherwise than by Close or a newer link: broken, silent, hole (a seq was missing), protocol (the manager said what it may not say)."
    );
    describe_counter!(
        "connect_node_link_wait_expired_total",
        "Times this node became ready without every manager."
    );
    describe_counter!(
        "connect_node_repeated_requests_total",
        "Messages that were not delivered because their request_id was known."
    );
    describe_counter!(
        "connect_node_resumes_total",
        "Clients that came to resume, by outcome: recovered, moved (sent to a neighbour), unrecovered, refused; and why."
    );
    describe_counter!("connect_node_replayed_messages_total", "Messages given to clients that resumed.");
    describe_counter!(
        "connect_node_holes_total",
        "Times something was missing here for good; older clients were sent elsewhere."
    );
    describe_counter!(
        "connect_node_hand_ups_dropped_total",
        "Controls given up because no manager took them for too long."
    );
    describe_histogram!(
        "connect_node_fill_seconds",
        Unit::Seconds,
        "From where a manager says its fill begins to its last message."
    );
    describe_gauge!("connect_node_window_bytes", Unit::Bytes, "What the window takes, index included.");
    describe_gauge!("connect_node_window_messages", "Messages in the window.");
    describe_gauge!(
        "connect_node_window_age_seconds",
        Unit::Seconds,
        "Age of the oldest message in the window: how long a client may be away from a busy room."
    );
    describe_gauge!("connect_node_request_ids", "request_ids remembered.");
    describe_gauge!(
        "connect_node_request_ids_age_seconds",
        Unit::Seconds,
        "Age of the oldest request_id remembered: how late a retry is still known."
    );
    describe_gauge!("connect_node_controls", "Controls kept for clients that resume.");
    describe_gauge!("connect_node_hand_ups", "Controls of this node that no manager has logged yet.");
    describe_gauge!(
        "connect_node_clock_offset_seconds",
        Unit::Seconds,
        "Largest difference seen between a manager's clock and this node's."
    );
    describe_gauge!(
        "connect_node_complete_since_seconds",
        Unit::Seconds,
        "Since when this node has everything, seconds since 1970."
    );
    describe_gauge!("connect_node_connections", "Connections held.");
    describe_gauge!("connect_node_connections_limit", "Connections held at most: --max-connections.");
    describe_gauge!(
        "connect_node_shard_connections",
        "Connections held by each shard; sockets are dealt in turn, so these stay close to each other."
    );
    describe_gauge!("connect_node_rooms", "Rooms with somebody in them, counted on every shard that has it.");
    describe_gauge!("connect_node_users", "Users connected, counted on every shard that has them.");
    describe_gauge!("connect_node_links", "Links of managers that are up.");
    describe_gauge!("connect_node_known_managers", "Managers registered, linked or named by a linked one.");
    describe_gauge!("connect_node_outbox_bytes", Unit::Bytes, "Bytes waiting for sockets that refused them.");
    describe_gauge!("connect_node_ready", "Whether this node takes clients.");
    describe_gauge!("connect_node_draining", "Whether this node drains.");

    for has_users in ["true", "false"] {
        counter!("connect_node_push_received_total", "has_users" => has_users).increment(0);
    }
    for reason in CloseReason::ALL {
        counter!("connect_node_closed_total", "code" => reason.label()).increment(0);
    }
    for reason in ["broken", "silent", "hole", "protocol"] {
        counter!("connect_node_link_errors_total", "reason" => reason).increment(0);
    }
    for (outcome, reasons) in RESUMES {
        for reason in reasons {
            counter!("connect_node_resumes_total", "outcome" => outcome, "reason" => *reason).increment(0);
        }
    }
    for reason in Refused::ALL {
        counter!("connect_node_tokens_refused_total", "reason" => reason.label()).increment(0);
    }
    for outcome in ["ok", "failed"] {
        counter!("connect_node_token_key_reads_total", "outcome" => outcome).increment(0);
    }
    for reason in Refusal::ALL.into_iter().map(Refusal::label).chain(["origin"]) {
        counter!("connect_node_upgrades_refused_total", "reason" => reason).increment(0);
    }
    for what in ["bytes", "frames", "frame_size", "rooms", "user_connections"] {
        counter!("connect_node_limited_total", "what" => what).increment(0);
    }
    for name in [
        "connect_node_opened_total",
        "connect_node_delivered_messages_total",
        "connect_node_delivered_bytes_total",
        "connect_node_flushes_total",
        "connect_node_slow_closes_total",
        "connect_node_duplicates_dropped_total",
        "connect_node_repeated_requests_total",
        "connect_node_replayed_messages_total",
        "connect_node_holes_total",
        "connect_node_hand_ups_dropped_total",
        "connect_node_lost_messages_total",
        "connect_node_link_pauses_total",
        "connect_node_link_wait_expired_total",
        "connect_node_token_renewals_total",
        "connect_node_fleet_refused_total",
    ] {
        counter!(name).increment(0);
    }
    for name in [
        "connect_node_connections",
        "connect_node_rooms",
        "connect_node_users",
        "connect_node_links",
        "connect_node_known_managers",
        "connect_node_outbox_bytes",
        "connect_node_window_bytes",
        "connect_node_window_messages",
        "connect_node_window_age_seconds",
        "connect_node_request_ids",
        "connect_node_request_ids_age_seconds",
        "connect_node_controls",
        "connect_node_hand_ups",
        "connect_node_clock_offset_seconds",
        "connect_node_complete_since_seconds",
        "connect_node_ready",
        "connect_node_draining",
        "connect_node_token_keys",
    ] {
        gauge!(name).increment(0.0);
    }
}

/// Outcomes of resumes, and why each may be.
const RESUMES: [(&str, &[&str]); 4] = [
    ("recovered", &[""]),
    ("moved", &["incomplete", "controls"]),
    (
        "unrecovered",
        &[
            "incomplete",
            "controls",
            "window",
            "position",
            "no_ticket",
            "identity",
            "no_key",
            "ticket",
            "expired",
        ],
    ),
    ("refused", &["kicked", "replaced"]),
];

/// A client came to resume.
pub(crate) fn resumed(outcome: &'static str, reason: &'static str) {
    counter!("connect_node_resumes_total", "outcome" => outcome, "reason" => reason).increment(1);
}

/// What `--max-connections` says, or the files that the process may have.
pub(crate) fn connections_limit(most: usize) {
    gauge!("connect_node_connections_limit").set(most as f64);
}

/// A page may not connect.
pub(crate) fn origin_refused() {
    counter!("connect_node_upgrades_refused_total", "reason" => "origin").increment(1);
}

/// How the beginning of a TLS connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsHandshake {
    Done,
    Failed,
    /// Nothing encrypted came.
    Plain,
    TimedOut,
}

impl TlsHandshake {
    const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Plain, Self::TimedOut];

    fn label(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::Plain => "plain",
            Self::TimedOut => "timeout",
        }
    }
}

/// A client began a TLS connection, or tried to.
pub(crate) fn tls_handshake(outcome: TlsHandshake) {
    counter!("connect_node_tls_handshakes_total", "outcome" => outcome.label()).increment(1);
}

/// The series of a node that speaks TLS, at 0.
pub(crate) fn describe_tls() {
    describe_counter!(
        "connect_node_tls_handshakes_total",
        "TLS handshakes of clients, by outcome: ok, failed, plain (nothing encrypted came), timeout."
    );
    describe_counter!(
        "connect_node_tls_certificate_reads_total",
        "Times another certificate was there, by outcome: ok, or failed and left as it was."
    );
    for outcome in TlsHandshake::ALL {
        counter!("connect_node_tls_handshakes_total", "outcome" => outcome.label()).increment(0);
    }
    for outcome in ["ok", "failed"] {
        counter!("connect_node_tls_certificate_reads_total", "outcome" => outcome).increment(0);
    }
}

/// A client wanted more than one may have.
pub(crate) fn limited(what: &'static str) {
    counter!("connect_node_limited_total", "what" => what).increment(1);
}

/// A client was refused what it asked for.
pub(crate) fn token_refused(refused: Refused) {
    counter!("connect_node_tokens_refused_total", "reason" => refused.label()).increment(1);
}

/// A client showed a newer token.
pub(crate) fn token_renewed() {
    counter!("connect_node_token_renewals_total").increment(1);
}

/// Exports how much history there is.
pub(crate) fn history(levels: &HistoryLevels, hand_ups: usize) {
    let seconds = |micros: u64| micros as f64 / 1e6;
    gauge!("connect_node_window_bytes").set(levels.window_bytes as f64);
    gauge!("connect_node_window_messages").set(levels.window_messages as f64);
    gauge!("connect_node_window_age_seconds").set(seconds(levels.window_age));
    gauge!("connect_node_request_ids").set(levels.requests as f64);
    gauge!("connect_node_request_ids_age_seconds").set(seconds(levels.requests_age));
    gauge!("connect_node_controls").set(levels.controls as f64);
    gauge!("connect_node_hand_ups").set(hand_ups as f64);
    gauge!("connect_node_clock_offset_seconds").set(seconds(levels.clock_offset));
    gauge!("connect_node_complete_since_seconds").set(seconds(levels.complete_since));
}

/// What ingest counts: `connect_node_push_received_total`, as the seed names it.
#[derive(Debug)]
pub(crate) struct IngestMetrics {
    with_users: Counter,
    without_users: Counter,
    holes: Counter,
    fill_seconds: Histogram,
}

impl Default for IngestMetrics {
    fn default() -> Self {
        let received = |has_users| counter!("connect_node_push_received_total", "has_users" => has_users);
        Self {
            with_users: received("true"),
            without_users: received("false"),
            holes: counter!("connect_node_holes_total"),
            fill_seconds: histogram!("connect_node_fill_seconds"),
        }
    }
}

impl IngestMetrics {
    pub(crate) fn arrived(&self, arrived: Arrived) {
        if arrived.with_users > 0 {
            self.with_users.increment(arrived.with_users);
        }
        if arrived.without_users > 0 {
            self.without_users.increment(arrived.without_users);
        }
    }

    pub(crate) fn hole(&self) {
        self.holes.increment(1);
        warn!("Messages are missing here for good: clients that are older are sent elsewhere.");
    }

    pub(crate) fn filled(&self, micros: u64) {
        self.fill_seconds.record(micros as f64 / 1e6);
    }
}

/// What one shard counts. What happens per delivery or send is added up here and handed on in one step per
/// turn of the shard, since even an atomic add per socket is a tenth of what a delivery may cost.
#[derive(Debug)]
pub struct ShardMetrics {
    opened: Counter,
    closed: Vec<(CloseReason, Counter)>,
    messages: Counter,
    bytes: Counter,
    flushes: Counter,
    slow_closes: Counter,
    replayed: Counter,
    connections: Level,
    own_connections: Level,
    rooms: Level,
    users: Level,
    outbox_bytes: Level,
    turn: Turn,
}

#[derive(Debug, Default)]
struct Turn {
    messages: u64,
    bytes: u64,
    flushes: u64,
}

/// This shard's part of a gauge that all shards add to.
#[derive(Debug)]
struct Level {
    gauge: Gauge,
    last: usize,
}

impl Level {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(0.0);
        Self { gauge, last: 0 }
    }

    fn set(&mut self, now: usize) {
        if now != self.last {
            self.gauge.increment(now as f64 - self.last as f64);
            self.last = now;
        }
    }
}

impl ShardMetrics {
    /// The metrics of the shard with this number.
    pub fn new(shard: usize) -> Self {
        let closed =
            |reason: CloseReason| (reason, counter!("connect_node_closed_total", "code" => reason.label()));
        Self {
            opened: counter!("connect_node_opened_total"),
            closed: CloseReason::ALL.into_iter().map(closed).collect(),
            messages: counter!("connect_node_delivered_messages_total"),
            bytes: counter!("connect_node_delivered_bytes_total"),
            flushes: counter!("connect_node_flushes_total"),
            slow_closes: counter!("connect_node_slow_closes_total"),
            replayed: counter!("connect_node_replayed_messages_total"),
            connections: Level::new(gauge!("connect_node_connections")),
            own_connections: Level::new(
                gauge!("connect_node_shard_connections", "shard" => shard.to_string()),
            ),
            rooms: Level::new(gauge!("connect_node_rooms")),
            users: Level::new(gauge!("connect_node_users")),
            outbox_bytes: Level::new(gauge!("connect_node_outbox_bytes")),
            turn: Turn::default(),
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.increment(1);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        if let Some((_, counter)) = self.closed.iter().find(|(of, _)| *of == reason) {
            counter.increment(1);
        }
    }

    pub(crate) fn slow_close(&self) {
        self.slow_closes.increment(1);
    }

    /// So many messages were given to a client that resumed.
    pub(crate) fn replayed(&self, messages: u64) {
        self.replayed.increment(messages);
    }

    /// A message of `bytes` was placed in `connections` connections.
    pub(crate) fn delivered(&mut self, connections: u32, bytes: usize) {
        self.turn.messages += u64::from(connections);
        self.turn.bytes += u64::from(connections) * bytes as u64;
    }

    pub(crate) fn flushed(&mut self) {
        self.turn.flushes += 1;
    }

    /// Hands on what was counted since the last call.
    pub(crate) fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn.messages > 0 {
            self.messages.increment(turn.messages);
            self.bytes.increment(turn.bytes);
        }
        if turn.flushes > 0 {
            self.flushes.increment(turn.flushes);
        }
    }

    pub(crate) fn levels(&mut self, connections: usize, rooms: usize, users: usize, outbox: usize) {
        self.connections.set(connections);
        self.own_connections.set(connections);
        self.rooms.set(rooms);
        self.users.set(users);
        self.outbox_bytes.set(outbox);
    }
}

/// A shard that ends takes its part of the gauges with it.
impl Drop for ShardMetrics {
    fn drop(&mut self) {
        self.end_turn();
        self.levels(0, 0, 0, 0);
    }
}
