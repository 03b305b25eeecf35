//! From the inbox into the outboxes.
//!
//! Everything queued is placed first: frames are encoded back to back, once per format, and a connection's
//! share is ranges of that buffer. Then each touched connection gets one send. So under load one system call
//! carries many messages, and when idle one message goes out at once. No task, waker, channel, timer or
//! reference count per delivery.

use super::{
    connection::{Connection, Phase, Way},
    frames::{FORMATS, Format, Frames, Range},
    slab::Slab,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{
    batch::{Message, Target},
    close::CloseReason,
    floor::Covered,
    ingest::Ingest,
    placement::Placement,
};

/// Encoded bytes at which touched connections are flushed before more is placed: a message to a thousand
/// users is a frame for each.
const MAX_FRAMES: usize = 16 * 1024 * 1024;

/// Memory of the frame buffers kept between deliveries. Beyond it what is touched is flushed before more is placed, so
/// that steady load does not keep the frames for ever.
const KEEP_FRAMES: usize = 256 * 1024;

/// Flushed slots at the front of the list of touched ones that are worth moving the others for.
const FORGET_FLUSHED: usize = 16 * 1024;

/// A busy client gets a heartbeat with its position with the first delivery this long after the last one,
/// milliseconds, so that little is replayed when it resumes.
const FRESH_POSITION_MILLIS: u64 = 2_000;

impl<T: Transport> Shard<T> {
    /// One turn: places what has come, gives those who are being brought back some more, and sends to `sends`
    /// connections at most. True if there is more to do at once.
    pub fn turn(&mut self, sends: usize, now: Now) -> bool {
        let takes = self.touched.is_empty() || self.frames.bytes_held() <= KEEP_FRAMES;
        if takes {
            self.deliver(now);
        }
        let replaying = self.replay(now);
        let flushing = self.flush(sends, now);
        self.end_turn();
        flushing || replaying || !takes
    }

    /// Takes everything out of the inbox and places it. What was touched has to be flushed.
    pub fn deliver(&mut self, now: Now) {
        let inbox = std::sync::Arc::clone(&self.inbox);
        inbox.take(&mut self.taken);
        self.place_taken(now);
    }

    /// Places what was taken from the inbox.
    pub(super) fn place_taken(&mut self, now: Now) {
        self.taken_at = now.micros;
        self.heartbeats = [None; FORMATS.len()];
        if !self.taken.deliveries.is_empty() || !self.taken.holes.is_empty() {
            self.place_deliveries(now);
        }
        self.placed_marks.copy_from(&self.taken.marks);
    }

    fn place_deliveries(&mut self, now: Now) {
        self.placing = true;
        let mut deliveries = std::mem::take(&mut self.taken.deliveries);
        let mut holes = std::mem::take(&mut self.taken.holes).into_iter().peekable();
        let first = self.touched.len();
        for (before, delivery) in deliveries.drain(..).enumerate() {
            if holes.next_if(|hole| *hole <= before).is_some() {
                self.hold_all(now);
            }
            for index in &delivery.wanted {
                self.place(&delivery.placement, *index as usize, now);
            }
            delivery.placement.finish_shard();
        }
        if holes.next().is_some() {
            self.hold_all(now);
        }
        self.placing = false;
        self.taken.deliveries = deliveries;
        self.refresh_positions(first, now);
    }

    fn place(&mut self, placement: &Placement, index: usize, now: Now) {
        let message = placement.batch().message(index);
        let identity = Identity { manager: placement.manager(), arrival: placement.arrival(index) };
        if let Target::Control(control) = message.target {
            let obeyed = self.obey(placement, index, control, now);
            placement.count(index, obeyed);
            return;
        }
        let placed = if let Target::Users(users) = message.target {
            let mut counts = std::mem::take(&mut self.user_counts);
            counts.clear();
            for (user, key) in users.iter() {
                let message = Message { target: Target::User(user, key), ..message };
                counts.push(self.place_message(identity, &message, now));
            }
            placement.count_by_user(index, &counts);
            self.user_counts = counts;
            self.user_counts.iter().sum()
        } else {
            self.place_message(identity, &message, now)
        };
        placement.count(index, placed);
        self.metrics.delivered(placed, message.content.len());
    }

    /// Returns how many connections it was placed in.
    fn place_message(&mut self, identity: Identity, message: &Message<'_>, now: Now) -> u32 {
        if self.frames.bytes_held() > MAX_FRAMES {
            self.flush(usize::MAX, now);
        }
        let tables = &self.tables;
        let mut placer = Placer {
            connections: &mut self.connections,
            frames: &mut self.frames,
            touched: &mut self.touched,
            ingest: &self.ingest,
            identity,
            message,
            repeats: None,
        };
        match message.target {
            Target::Room(room, key) => placer.place(tables.room(key, message.app, room).iter().copied()),
            Target::User(user, key) => placer.place(tables.user(key, message.app, user).iter().copied()),
            Target::App(key) => placer.place(tables.app(key, message.app).iter().copied()),
            Target::Everyone => placer.place(tables.everyone()),
            Target::Users(_) | Target::Control(_) => 0,
        }
    }

    /// Gives those touched since `first` a heartbeat behind their deliveries, if their last one is old.
    fn refresh_positions(&mut self, first: usize, now: Now) {
        for at in first.min(self.touched.len()).max(self.flushed)..self.touched.len() {
            let slot = self.touched[at];
            let Some(connection) = self.connections.at_mut(slot) else { continue };
            let fresh = now.millis < connection.last_heartbeat + FRESH_POSITION_MILLIS;
            if fresh
                || connection.phase != Phase::Open
                || connection.special.is(Way::Held)
                || connection.special.is(Way::Replaying)
            {
                continue;
            }
            let format = connection.format;
            let range = self.heartbeat_range(format, now);
            let Some(connection) = self.connections.at_mut(slot) else { continue };
            connection.add(range);
            connection.last_heartbeat = now.millis;
            // A control may have had it flushed meanwhile, or somebody else may have the slot.
            if !std::mem::replace(&mut connection.touched, true) {
                self.touched.push(slot);
            }
        }
    }

    /// A heartbeat that quotes where the shard is, encoded once until something moves.
    pub(super) fn heartbeat_range(&mut self, format: Format, now: Now) -> Range {
        if let Some(range) = self.heartbeats[format as usize] {
            return range;
        }
        let frame = self.heartbeat_frame(now);
        let range = self.frames.frame(format, &frame);
        self.heartbeats[format as usize] = Some(range);
        range
    }

    /// Sends what is pending, to `budget` connections at most. True if more are left.
    pub fn flush(&mut self, budget: usize, now: Now) -> bool {
        let until = self.touched.len().min(self.flushed.saturating_add(budget));
        while self.flushed < until {
            let slot = self.touched[self.flushed];
            self.flushed += 1;
            self.flush_slot(slot, now);
        }
        if self.flushed < self.touched.len() {
            if self.flushed >= FORGET_FLUSHED && self.flushed >= self.touched.len() / 2 {
                self.touched.drain(..self.flushed);
                self.flushed = 0;
            }
            return true;
        }
        self.touched.clear();
        self.flushed = 0;
        self.frames.clear(KEEP_FRAMES);
        self.joined.clear();
        self.joined.shrink_to(KEEP_FRAMES);
        self.heartbeats = [None; FORMATS.len()];
        false
    }

    /// Sends what is pending for one connection and closes it if it takes too little.
    pub(super) fn flush_slot(&mut self, slot: u32, now: Now) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if !std::mem::take(&mut connection.touched) {
            return;
        }
        let first = std::mem::take(&mut connection.pending);
        let result = if connection.more_pending.is_empty() {
            connection.outbox.send(&connection.transport, self.frames.bytes(connection.format, first))
        } else {
            // One send of joined ranges is cheaper than a vectored one of up to 30.
            self.joined.clear();
            self.joined.extend_from_slice(self.frames.bytes(connection.format, first));
            for range in std::mem::take(&mut connection.more_pending) {
                self.joined.extend_from_slice(self.frames.bytes(connection.format, range));
            }
            connection.outbox.send(&connection.transport, &self.joined)
        };
        self.metrics.flushed();
        self.after_send(slot, result, now);
    }

    /// Sends one frame behind everything that is pending.
    pub(super) fn send(&mut self, slot: u32, frame: &[u8], now: Now) {
        self.flush_slot(slot, now);
        // The flush may have closed it as a slow one; nothing follows a Close.
        let Some(connection) = self.connections.at_mut(slot).filter(|c| !c.is_closing()) else { return };
        let result = connection.outbox.send(&connection.transport, frame);
        self.after_send(slot, result, now);
    }

    /// What follows any attempt to send: a socket that failed is let go, one that refused is watched, one
    /// over its bound is closed.
    pub(super) fn after_send(&mut self, slot: u32, result: std::io::Result<bool>, now: Now) {
        let Some(key) = self.connections.key_at(slot) else { return };
        match result {
            Ok(false) => {}
            Ok(true) => self.blocked(key, now),
            Err(error) => {
                tracing::debug!(%error, "Sending failed.");
                self.drop_connection(key, CloseReason::Client);
            }
        }
    }
}

/// Which message is being placed.
#[derive(Debug, Clone, Copy)]
struct Identity {
    manager: Option<u64>,
    arrival: u64,
}

/// Puts one message into connections.
struct Placer<'a, T> {
    connections: &'a mut Slab<Connection<T>>,
    frames: &'a mut Frames,
    touched: &'a mut Vec<u32>,
    ingest: &'a Ingest,
    identity: Identity,
    message: &'a Message<'a>,
    /// Its further identities, once somebody asked.
    repeats: Option<Vec<(u64, u64)>>,
}

impl<T> Placer<'_, T> {
    /// Returns how many connections it was placed in.
    fn place(&mut self, slots: impl Iterator<Item = u32>) -> u32 {
        let mut encoded = [None; FORMATS.len()];
        let mut placed = 0;
        for slot in slots {
            let Some(connection) = self.connections.at_mut(slot) else { continue };
            if connection.special.any() {
                let of = || self.ingest.repeats_of(self.identity.arrival);
                match special_turn(connection, self.identity, self.message, &mut self.repeats, of) {
                    Turn::Now => {}
                    Turn::Later => {
                        placed += 1;
                        continue;
                    }
                    Turn::Never => continue,
                }
            }
            let format = connection.format;
            let range = *encoded[format as usize]
                .get_or_insert_with(|| self.frames.push(format, self.identity.manager, self.message));
            connection.add(range);
            if !std::mem::replace(&mut connection.touched, true) {
                self.touched.push(slot);
            }
            placed += 1;
        }
        placed
    }
}

/// When a connection gets a live message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    /// With what it missed, of which it is a part.
    Later,
    /// It has it already, or will get it elsewhere.
    Never,
}

/// For connections that are not like most.
#[cold]
#[inline(never)]
fn special_turn<T>(
    connection: &Connection<T>,
    identity: Identity,
    message: &Message<'_>,
    repeats: &mut Option<Vec<(u64, u64)>>,
    look_up: impl FnOnce() -> Vec<(u64, u64)>,
) -> Turn {
    let special = connection.special;
    if special.is(Way::Held) {
        return Turn::Never;
    }
    if let (Some(floor), Some(manager)) =
        (connection.floor().filter(|_| special.is(Way::Floor)), identity.manager)
    {
        let (seq, accepted_at) = (message.seq, message.accepted_at);
        let mut covered = floor.covers(Covered { manager, seq, accepted_at });
        if !covered && !message.request_key.is_empty() {
            covered = repeats.get_or_insert_with(look_up).iter().any(|repeat| floor.names(*repeat));
        }
        if covered {
            return Turn::Never;
        }
    }
    // A push without identity is not in the window.
    if special.is(Way::Replaying) && identity.manager.is_some() { Turn::Later } else { Turn::Now }
}
