//! What time does to connections: heartbeats, silence, stalled sockets, lingering closes, the drain.

use rand::seq::SliceRandom;

use pushcast_proto::client::v1::{Heartbeat, ServerFrame, server_frame};

use super::{
    closing::STALL_MILLIS,
    connection::{Phase, Way},
    slab::SlabKey,
    state::{Now, Shard},
    tickets::RENEW_MILLIS,
    transport::Transport,
};
use crate::{close::CloseReason, history::is_past};

/// How long a client may take to say who it is (DESIGN 8), milliseconds.
pub(super) const CONNECT_TIMEOUT_MILLIS: u64 = 5_000;

/// A sweep that comes so late, milliseconds, says that this node itself stood still.
const STALLED_MILLIS: u64 = 1_000;

impl<T: Transport> Shard<T> {
    /// Looks at every connection whose time has come. What was touched has to be flushed.
    pub fn sweep(&mut self, now: Now) {
        if now.millis > self.last_sweep + STALLED_MILLIS {
            self.judge_after = now.millis + self.settings.heartbeat;
        }
        self.last_sweep = now.millis;
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        self.wheel.advance(now.millis, &mut due);
        due.retain(|(key, at)| {
            self.connections.get_mut(*key).is_some_and(|connection| connection.next_check == *at)
        });
        if !due.is_empty() {
            // Heartbeats quote where the shard is: that should be where the node is.
            self.deliver(now);
        }
        for (key, _) in &due {
            self.check(*key, now);
        }
        self.due = due;
        while let Some((_, key)) = self.moving.pop_if(|(at, _)| *at <= now.millis) {
            self.close(key, CloseReason::Moved, now);
        }
        self.drain_due(now);
    }

    /// Closes all connections one after another in random order over `spread` milliseconds, and every new
    /// one at once.
    pub fn start_drain(&mut self, spread: u64, now: Now) {
        self.draining = true;
        let mut keys = self.connections.keys();
        keys.shuffle(&mut self.rng);
        let n = keys.len().max(1) as u64;
        let at = |turn: usize| now.millis + spread * turn as u64 / n;
        self.drain = keys.into_iter().enumerate().map(|(turn, key)| (at(turn), key)).rev().collect();
    }

    /// Closes everything that is left without waiting for anybody.
    pub fn force(&mut self) {
        for key in self.connections.keys() {
            self.drop_connection(key, CloseReason::Restarting);
        }
    }

    fn drain_due(&mut self, now: Now) {
        while let Some((_, key)) = self.drain.pop_if(|(at, _)| *at <= now.millis) {
            self.close_restarting(key, now);
        }
    }

    /// The end of a connection of a draining node: what waits, its position, Close.
    pub(super) fn close_restarting(&mut self, key: SlabKey, now: Now) {
        // There may be a hole in what is delivered: only then is it known whether this one is older.
        self.deliver(now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase == Phase::Open && !connection.special.is(Way::Held) {
            let (format, replaying) = (connection.format, connection.special.is(Way::Replaying));
            let mut bytes = Vec::new();
            if !replaying {
                bytes = super::frames::encode(format, &self.heartbeat_frame(now));
            }
            bytes.extend(self.ticket_frame(key, now).unwrap_or_default());
            self.send(key.index, &bytes, now);
        }
        self.close(key, CloseReason::Restarting, now);
    }

    fn check(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.next_check = u64::MAX;
        match connection.phase {
            Phase::Closing { reason, until, .. } => {
                if now.millis >= until {
                    self.drop_connection(key, reason);
                    return;
                }
            }
            Phase::New if now.millis >= connection.opened + CONNECT_TIMEOUT_MILLIS => {
                // A node that itself stalled reads first and judges after.
                self.read(key, now);
                if self.connections.get_mut(key).is_some_and(|c| c.phase == Phase::New) {
                    let message = "no connect frame within 5 s";
                    self.refuse(key, 0, "deadline_exceeded", message, now);
                }
            }
            Phase::New | Phase::Open => self.check_life(key, now),
        }
        self.check_heartbeat(key, now);
        self.renew_ticket(key, now);
        self.check_token(key, now);
        self.schedule(key, now);
    }

    /// Closes a connection whose client is silent or takes nothing.
    fn check_life(&mut self, key: SlabKey, now: Now) {
        let silence = 2 * self.settings.heartbeat;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.blocked_since != 0 && now.millis >= connection.blocked_since + STALL_MILLIS {
            self.writable(key, now);
            let still = |c: &mut super::connection::Connection<T>| {
                c.blocked_since != 0 && now.millis >= c.blocked_since + STALL_MILLIS
            };
            if self.connections.get_mut(key).is_some_and(still) {
                self.close_slow(key, now);
                return;
            }
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (open, judge_after) = (connection.phase == Phase::Open, self.judge_after);
        if open && now.millis >= (connection.last_seen + silence).max(judge_after) {
            self.read(key, now);
            let still = |c: &mut super::connection::Connection<T>| now.millis >= c.last_seen + silence;
            if self.connections.get_mut(key).is_some_and(still) {
                self.close(key, CloseReason::HeartbeatTimeout, now);
            }
        }
    }

    fn check_heartbeat(&mut self, key: SlabKey, now: Now) {
        let heartbeat = self.settings.heartbeat;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase != Phase::Open || now.millis < connection.last_heartbeat + heartbeat {
            return;
        }
        if connection.special.is(Way::Held) {
            return;
        }
        let (format, replaying) = (connection.format, connection.special.is(Way::Replaying));
        if replaying {
            // A sign of life; where it is it learns at the end.
            connection.last_heartbeat = now.millis;
            let beat =
                ServerFrame { id: 0, frame: Some(server_frame::Frame::Heartbeat(Heartbeat::default())) };
            let bytes = super::frames::encode(format, &beat);
            self.send(key.index, &bytes, now);
            return;
        }
        self.forget_floor(key, now);
        let range = self.heartbeat_range(format, now);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.add(range);
        connection.last_heartbeat = now.millis;
        if !std::mem::replace(&mut connection.touched, true) {
            self.touched.push(key.index);
        }
    }

    /// Once everything that a floor covers is placed, deliveries need not ask it any more.
    fn forget_floor(&mut self, key: SlabKey, now: Now) {
        let as_of = self.quote_as_of(now);
        let marks = &self.taken.marks;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(extras) = &mut connection.extras else { return };
        let asked = |(floor, until): &(crate::floor::Floor, u64)| {
            now.millis < *until && !is_past(marks, as_of, floor)
        };
        if !extras.floor.as_ref().is_some_and(asked) {
            extras.floor = None;
            connection.special.clear(Way::Floor);
        }
    }

    fn schedule(&mut self, key: SlabKey, now: Now) {
        let (heartbeat, judge_after) = (self.settings.heartbeat, self.judge_after);
        let token = self.token_due(key, now).unwrap_or(u64::MAX);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut next = match connection.phase {
            Phase::New => connection.opened + CONNECT_TIMEOUT_MILLIS,
            Phase::Open => {
                let silent = (connection.last_seen + 2 * heartbeat).max(judge_after);
                let ticket = connection.ticket_at + RENEW_MILLIS;
                (connection.last_heartbeat + heartbeat).min(silent).min(ticket).min(token)
            }
            Phase::Closing { until, .. } => until,
        };
        if connection.blocked_since != 0 && !connection.is_closing() {
            next = next.min(connection.blocked_since + STALL_MILLIS);
        }
        self.check_at(key, next);
    }
}
