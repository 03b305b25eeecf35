//! Gives a client that resumed what it missed: a cursor in the window that feeds the outbox as it drains.
//!
//! Until it has reached what the shard has placed, live messages leave this connection out; they are part of what it
//! gets in its turn. So a long replay costs neighbours nothing, and order is that of arrival throughout.

use std::collections::VecDeque;

use super::{
    connection::Way,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{
    batch::{Message, Target},
    close::CloseReason,
    floor::{Covered, Floor},
    key::Key,
    window::Kept,
};

/// Messages found at once, 8 bytes each for a client that is being brought back: each look goes through all that it
/// missed.
const FIND: usize = 16 * 1024;

/// Messages fetched and encoded at once.
const FETCH: usize = 64;

/// Bytes that a replay keeps waiting for a socket: enough to fill it, and far below the bound of an outbox.
const LOW_WATER: usize = 64 * 1024;

/// Messages of one replay before others get their turn.
const PER_TURN: usize = 128;

/// Messages of all replays before live ones get their turn: some 0.5 ms, half of what a turn of live ones takes.
const PER_ROUND: usize = 512;

/// Where one client's replay is.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Arrival number of the last message looked at; `None` at the start.
    after: Option<u64>,
    /// Arrival numbers of what comes next, ascending.
    next: VecDeque<u64>,
    /// What is not in `next` and up to here is not for it.
    searched: u64,
    /// Rooms it was put into while it was away or is being brought back: only what came behind is for it.
    entered: Vec<Entered>,
    /// Messages given so far.
    given: u64,
    /// Whether it waits for its turn.
    queued: bool,
}

/// A room that a connection is in only from some message on.
#[derive(Debug, Clone)]
pub(super) struct Entered {
    pub(super) room: String,
    /// Arrival number of what put it there.
    pub(super) arrival: u64,
    /// Manager and seq of the control that did, if one did.
    pub(super) by: Option<(u64, u64)>,
}

/// What a step of a replay led to.
enum Step {
    /// The outbox is full, or it is others' turn.
    Wait,
    /// It has what the shard has placed.
    Done,
    /// What it needs has left the window.
    FellBehind,
}

impl<T: Transport> Shard<T> {
    /// Begins to give a connection what it missed.
    pub(super) fn begin_replay(&mut self, key: SlabKey, entered: Vec<Entered>, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.special.set(Way::Replaying);
        connection.extras().replay = Some(Replay { entered, ..Replay::default() });
        self.replay_on(key, now);
    }

    /// Notes that a connection is in a room only from here on, if it is being replayed to.
    pub(super) fn entered(&mut self, key: SlabKey, room: &str, arrival: u64, by: Option<(u64, u64)>) {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.special.is(Way::Replaying)) else {
            return;
        };
        if let Some(replay) = &mut connection.extras().replay {
            replay.entered.push(Entered { room: room.to_owned(), arrival, by });
        }
    }

    /// Goes on with the replays whose turn it is. True if more is left to be given at once.
    pub fn replay(&mut self, now: Now) -> bool {
        let mut looked = 0;
        for _ in 0..self.replays.len() {
            if looked >= PER_ROUND {
                break;
            }
            let Some(key) = self.replays.pop_front() else { break };
            let replay =
                self.connections.get_mut(key).and_then(|connection| connection.extras().replay.as_mut());
            if let Some(replay) = replay {
                replay.queued = false;
                looked += self.replay_on(key, now);
            }
        }
        self.has_replays()
    }

    pub(super) fn has_replays(&self) -> bool {
        !self.replays.is_empty()
    }

    /// Goes on with one replay, if there is one. Returns how many messages it looked at.
    pub(super) fn replay_on(&mut self, key: SlabKey, now: Now) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        if !connection.special.is(Way::Replaying)
            || connection.special.is(Way::Held)
            || connection.is_closing()
        {
            return 0;
        }
        let Some(mut replay) = connection.extras().replay.take() else { return 0 };
        let (step, looked) = self.step(key, &mut replay, now);
        let Some(connection) = self.connections.get_mut(key) else { return looked };
        match step {
            Step::Wait => {
                // Its socket calls for more when it can; else it is called in its turn.
                let in_turn = connection.outbox.is_empty() && !connection.is_closing();
                if in_turn && !std::mem::replace(&mut replay.queued, true) {
                    self.replays.push_back(key);
                }
                connection.extras().replay = Some(replay);
            }
            Step::Done => {
                connection.special.clear(Way::Replaying);
                connection.last_heartbeat = now.millis;
                let format = connection.format;
                self.metrics.replayed(replay.given);
                let bytes = super::frames::encode(format, &self.heartbeat_frame(now));
                self.send(key.index, &bytes, now);
            }
            Step::FellBehind => {
                self.metrics.replayed(replay.given);
                self.metrics.slow_close();
                self.close(key, CloseReason::SlowConsumer, now);
            }
        }
        looked
    }

    fn step(&mut self, key: SlabKey, replay: &mut Replay, now: Now) -> (Step, usize) {
        let room = LOW_WATER.min(self.settings.outbox_bytes / 2);
        let mut looked = 0;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return (Step::Wait, looked) };
            if connection.is_closing() || connection.outbox.len() > room || looked >= PER_TURN {
                return (Step::Wait, looked);
            }
            if replay.next.is_empty() {
                let through = self.taken.arrival;
                if replay.after.is_some_and(|after| after >= through) {
                    return (Step::Done, looked);
                }
                let Some(found) = self.find_missed(key, replay, through) else {
                    return (Step::FellBehind, looked);
                };
                replay.searched =
                    if found.len() < FIND { through } else { found.last().copied().unwrap_or(through) };
                replay.next = found.into();
            }
            let some: Vec<u64> = replay.next.iter().take(FETCH).copied().collect();
            let Some(kept) = self.ingest.fetch(&some) else { return (Step::FellBehind, looked) };
            for (arrival, kept) in some.iter().zip(&kept) {
                looked += 1;
                let found = Found { arrival: *arrival, kept };
                replay.given += u64::from(self.give(key, &found, &replay.entered, now));
            }
            replay.next.drain(..some.len());
            let reached = if replay.next.is_empty() { Some(replay.searched) } else { some.last().copied() };
            replay.after = reached.max(replay.after);
            self.flush_replayed(key, now);
        }
    }

    fn find_missed(&mut self, key: SlabKey, replay: &Replay, through: u64) -> Option<Vec<u64>> {
        let keys: Vec<Key> = self.tables.keys_of(key.index);
        let none = Floor::default();
        let floor = self.connections.get_mut(key).and_then(|connection| connection.floor());
        self.ingest.find_missed(&keys, floor.unwrap_or(&none), replay.after, through, FIND)
    }

    /// Encodes one message for a connection, if it is for it and it has not got it.
    fn give(&mut self, key: SlabKey, found: &Found<'_>, entered: &[Entered], now: Now) -> bool {
        let placement = &found.kept.placement;
        let message = placement.batch().message(found.kept.index);
        let Some(manager) = placement.manager() else { return false };
        let Some((app, user)) = self.tables.identity(key.index) else { return false };
        let same_app = message.app == app.as_bytes();
        let user = user.as_bytes();
        let target = match message.target {
            Target::Room(room, _) => {
                let late = |entry: &Entered| {
                    entry.room.as_bytes() == room
                        && (found.arrival <= entry.arrival
                            || entry.by.is_some_and(|(by, seq)| by == manager && message.seq < seq))
                };
                let is_in = same_app
                    && std::str::from_utf8(room).is_ok_and(|room| self.tables.is_in(key.index, room));
                (is_in && !entered.iter().any(late)).then_some(message.target)
            }
            Target::User(of, _) => (same_app && of == user).then_some(message.target),
            Target::Users(users) => {
                users.iter().find(|(of, _)| same_app && *of == user).map(|(of, key)| Target::User(of, key))
            }
            Target::App(_) => same_app.then_some(message.target),
            Target::Everyone => Some(Target::Everyone),
            Target::Control(_) => None,
        };
        let Some(target) = target else { return false };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let covered = Covered { manager, seq: message.seq, accepted_at: message.accepted_at };
        let has_it = connection.floor().is_some_and(|floor| {
            floor.covers(covered) || found.kept.identities.iter().any(|identity| floor.names(*identity))
        });
        if has_it {
            return false;
        }
        let format = connection.format;
        let range = self.replay_frames.push(format, Some(manager), &Message { target, ..message });
        if range.end as usize >= LOW_WATER {
            self.flush_replayed(key, now);
        }
        true
    }

    fn flush_replayed(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let format = connection.format;
        let mut frames = std::mem::take(&mut self.replay_frames);
        let bytes = frames.all(format);
        if !bytes.is_empty() {
            self.send(key.index, bytes, now);
        }
        frames.clear(LOW_WATER);
        self.replay_frames = frames;
    }
}

/// A message of the window and where it stands.
struct Found<'a> {
    arrival: u64,
    kept: &'a Kept,
}
