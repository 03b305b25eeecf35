//! What one shard owns: its connections, its tables, its inbox and the frames it is delivering.
//!
//! Everything here is used by one thread. Sockets are behind `Transport`, clocks are arguments, so the
//! delivery path runs without either in the simulation and under the instruction count.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use pushcast_proto::connectnode::v1;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    connection::Connection,
    frames::{FORMATS, Frames, Range},
    slab::{Slab, SlabKey},
    tables::Tables,
    transport::Transport,
    wheel::Wheel,
};
use crate::{
    auth::ClientAuth,
    inbox::{Inbox, Taken},
    ingest::Ingest,
    key::Keys,
    limits::ClientLimits,
    metrics::ShardMetrics,
    position::Marks,
    tickets::TicketKeys,
};

/// One read takes at most this much; what clients send is far smaller.
const READ_BYTES: usize = 16 * 1024;

/// What a shard's connections are bound by.
#[derive(Debug, Clone)]
pub struct ShardSettings {
    /// The node's id, for `connected`.
    pub node_id: String,
    /// Milliseconds between heartbeats.
    pub heartbeat: u64,
    /// Bytes that may wait for one socket.
    pub outbox_bytes: usize,
    /// What tickets are signed with.
    pub ticket_keys: TicketKeys,
    /// How clients prove who they are.
    pub auth: ClientAuth,
    /// How long before its token expires a client is told, milliseconds.
    pub token_warning: u64,
    /// What one client may take.
    pub limits: ClientLimits,
}

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the shard's start, never back.
    pub millis: u64,
    /// Microseconds since 1970.
    pub micros: u64,
}

/// One shard.
#[derive(Debug)]
pub struct Shard<T> {
    pub(super) settings: ShardSettings,
    pub(super) keys: Keys,
    pub(super) tables: Tables,
    pub(super) connections: Slab<Connection<T>>,
    /// Slots of the connections in the tables, by connection id.
    pub(super) by_id: HashMap<u64, u32>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) taken: Taken,
    /// When that was, microseconds.
    pub(super) taken_at: u64,
    /// What was taken is being placed: only part of what the marks cover is.
    pub(super) placing: bool,
    /// Where the shard was before.
    pub(super) placed_marks: Marks,
    pub(super) frames: Frames,
    /// The frames of the replay that has its turn.
    pub(super) replay_frames: Frames,
    /// Heartbeats among the frames that quote where the shard is now.
    pub(super) heartbeats: [Option<Range>; FORMATS.len()],
    /// Slots with something pending, in the order they were touched; those before `flushed` are done.
    pub(super) touched: Vec<u32>,
    pub(super) flushed: usize,
    pub(super) wheel: Wheel,
    pub(super) due: Vec<(SlabKey, u64)>,
    /// Largest `as_of` ever quoted here: it never goes back.
    pub(super) as_of: u64,
    pub(super) metrics: ShardMetrics,
    /// For joining ranges before a send.
    pub(super) joined: Vec<u8>,
    /// What sockets are read into: one buffer for all, so that an idle connection owns none.
    pub(super) scratch: Vec<u8>,
    /// Connections per user of the message being placed.
    pub(super) user_counts: Vec<u32>,
    /// Bytes waiting in all outboxes.
    pub(super) waiting_bytes: usize,
    /// Connections that get what they missed, in turn.
    pub(super) replays: VecDeque<SlabKey>,
    /// Connections older than a hole, with the time to close each, the next one last.
    pub(super) moving: Vec<(u64, SlabKey)>,
    /// Connections still to be closed by the drain, the next one last, with the time for each.
    pub(super) drain: Vec<(u64, SlabKey)>,
    pub(super) draining: bool,
    pub(super) last_sweep: u64,
    /// Nobody is judged silent before: after a stall clients first get a heartbeat to answer.
    pub(super) judge_after: u64,
    /// Ids of connections, nonces, who is closed first.
    pub(super) rng: StdRng,
}

impl<T: Transport> Shard<T> {
    /// A shard without connections. `inbox` is one of those that `ingest` feeds.
    pub fn new(
        settings: ShardSettings,
        keys: Keys,
        ingest: Arc<Ingest>,
        inbox: Arc<Inbox>,
        metrics: ShardMetrics,
    ) -> Self {
        Self {
            settings,
            tables: Tables::new(keys.clone()),
            keys,
            connections: Slab::default(),
            by_id: HashMap::new(),
            ingest,
            inbox,
            taken: Taken::default(),
            taken_at: 0,
            placing: false,
            placed_marks: Marks::default(),
            frames: Frames::default(),
            replay_frames: Frames::default(),
            heartbeats: [None; FORMATS.len()],
            touched: Vec::new(),
            flushed: 0,
            wheel: Wheel::default(),
            due: Vec::new(),
            as_of: 0,
            metrics,
            joined: Vec::new(),
            scratch: vec![0; READ_BYTES],
            user_counts: Vec::new(),
            waiting_bytes: 0,
            replays: VecDeque::new(),
            moving: Vec::new(),
            drain: Vec::new(),
            draining: false,
            last_sweep: 0,
            judge_after: 0,
            rng: StdRng::from_rng(&mut rand::rng()),
        }
    }

    /// Takes all chance from a seed, for who wants the same to happen again.
    pub fn seeded(self, seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), ..self }
    }

    /// Takes an upgraded connection. It has 5 s to say who it is.
    pub fn open(&mut self, mut connection: Connection<T>) -> SlabKey {
        connection.id = self.rng.random();
        connection.bound_frames(self.settings.limits.max_frame);
        let opened = connection.opened;
        let key = self.connections.insert(connection);
        self.check_at(key, opened + super::sweep::CONNECT_TIMEOUT_MILLIS);
        self.metrics.opened();
        key
    }

    /// Connections here, closing ones included.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether no connection is here.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Who is where.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Where the shard is: everything up to these marks is placed.
    pub fn marks(&self) -> &Marks {
        &self.taken.marks
    }

    /// Newest arrival number of which everything wanted here is placed.
    pub fn placed_arrival(&self) -> u64 {
        self.taken.arrival
    }

    /// Connections with something that waits to be flushed.
    pub(super) fn touched_len(&self) -> usize {
        self.touched.len() - self.flushed
    }

    /// Hands on what was counted since the last turn.
    pub fn end_turn(&mut self) {
        self.metrics.end_turn();
    }

    /// Exports how full the shard is.
    pub(super) fn report_levels(&mut self) {
        let tables = &self.tables;
        self.metrics.levels(self.connections.len(), tables.rooms(), tables.users(), self.waiting_bytes);
    }

    /// Slots of the connections in a room.
    pub(super) fn in_room(&self, app: &str, room: &str) -> Vec<u32> {
        let (app, room) = (app.as_bytes(), room.as_bytes());
        self.tables.room(self.keys.room(app, room), app, room).to_vec()
    }

    /// Slots of a user's connections.
    pub(super) fn of_user(&self, app: &str, user: &str) -> Vec<u32> {
        let (app, user) = (app.as_bytes(), user.as_bytes());
        self.tables.user(self.keys.user(app, user), app, user).to_vec()
    }

    /// A connection as clients see it.
    pub(super) fn describe(&mut self, slot: u32) -> Option<v1::Connection> {
        let connection_id = self.connections.at_mut(slot)?.wire_id();
        let (app, user) = self.tables.identity(slot)?;
        let rooms = self.tables.rooms_of(slot).into_iter().map(str::to_owned).collect();
        Some(v1::Connection { connection_id, user_id: user.to_owned(), rooms, app: app.to_owned() })
    }

    /// The `as_of` to quote now, microseconds; 0 while unknown.
    pub(super) fn quote_as_of(&mut self, now: Now) -> u64 {
        // Where no manager was expected when the marks were taken, one may be since.
        self.as_of = self.as_of.max(self.taken.marks.as_of(now.micros.min(self.taken_at)));
        self.as_of
    }

    /// Counts what waits for a connection now in place of what waited before.
    pub(super) fn count_waiting(&mut self, key: SlabKey) {
        if let Some(connection) = self.connections.get_mut(key) {
            let waits = connection.outbox.len();
            self.waiting_bytes -= std::mem::replace(&mut connection.counted_waiting, waits);
            self.waiting_bytes += waits;
        }
    }

    /// Has the sweep look at a connection at `at`, unless it does so before.
    pub(super) fn check_at(&mut self, key: SlabKey, at: u64) {
        if let Some(connection) = self.connections.get_mut(key)
            && at < connection.next_check
        {
            connection.next_check = at;
            self.wheel.schedule(key, at);
        }
    }
}
