//! Rooms that a client enters and leaves by itself: all that it names, or none.

use std::collections::BTreeSet;

use pushcast_common::id::check_id;
use pushcast_proto::client::v1::{Ok as Done, ServerFrame, server_frame};

use super::{
    frames::encode,
    session::code,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, metrics};

impl<T: Transport> Shard<T> {
    pub(super) fn on_join(&mut self, key: SlabKey, id: u32, rooms: &[String], now: Now) {
        let rooms: BTreeSet<&str> = rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_rooms(&rooms) {
            self.answer_error(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        if rooms.len() > self.settings.limits.max_rooms {
            self.refuse_rooms(key, id, now);
            return;
        }
        if !self.may_join(key, id, rooms.iter().copied(), now) {
            return;
        }
        let Some((app, _)) = self.tables.identity(key.index) else { return };
        let entered = rooms.iter().filter(|room| !self.tables.is_in(key.index, room)).count();
        if self.tables.rooms_len(key.index) + entered > self.settings.limits.max_rooms {
            self.refuse_rooms(key, id, now);
            return;
        }
        let wanted = self.tables.keys_to_join(app, rooms.iter().copied());
        self.subscribe(&wanted, now);
        if self.tables.identity(key.index).is_none() {
            // Placing what came before closed this very connection as a slow one.
            self.inbox.unsubscribe(&wanted);
            return;
        }
        if self.is_held(key) {
            // There was a hole in what came before.
            self.inbox.unsubscribe(&wanted);
            self.close(key, CloseReason::Moved, now);
            return;
        }
        let arrival = self.taken.arrival;
        for (room, interest) in rooms.into_iter().zip(wanted) {
            // Later than any decision about it that this connection knows of.
            let left_at = self.connections.get_mut(key).and_then(|connection| connection.left_at(room));
            let since = now.micros.max(left_at.unwrap_or(0)).saturating_add(1);
            if self.tables.join(key.index, room, since) {
                self.entered(key, room, arrival, None);
            } else {
                self.inbox.unsubscribe(&[interest]);
            }
        }
        self.answer_rooms(key, id, now);
    }

    pub(super) fn on_leave(&mut self, key: SlabKey, id: u32, rooms: &[String], now: Now) {
        let rooms: BTreeSet<&str> = rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_rooms(&rooms) {
            self.answer_error(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        for room in rooms {
            let since = self.tables.in_since(key.index, room).unwrap_or(0);
            if let Some(gone) = self.tables.leave(key.index, room) {
                self.inbox.unsubscribe(&[gone]);
            }
            self.note_left(key, room, now.micros.max(since).saturating_add(1), now);
        }
        self.answer_rooms(key, id, now);
    }

    fn refuse_rooms(&mut self, key: SlabKey, id: u32, now: Now) {
        let message = self.too_many_rooms();
        self.answer_error(key, id, code::RESOURCE_EXHAUSTED, &message, now);
    }

    /// Counts somebody who wants more rooms than a connection may be in, and what it is told. Leaving costs a look
    /// through the rooms of whoever takes the place: a client in 50,000 rooms would stall its shard for half a second
    /// (measured), 1,000 cost 0.3 ms.
    pub(super) fn too_many_rooms(&self) -> String {
        metrics::limited("rooms");
        format!("rooms: a connection may be in {} at most", self.settings.limits.max_rooms)
    }

    /// Says that a request is done, and which rooms there are now.
    pub(super) fn answer_rooms(&mut self, key: SlabKey, id: u32, now: Now) {
        let Some(format) = self.format(key) else { return };
        let rooms = self.tables.rooms_of(key.index).into_iter().map(str::to_owned).collect();
        // The ticket says what the answer says, and comes first: whoever has the answer has the ticket.
        let mut bytes = self.ticket_frame(key, now).unwrap_or_default();
        let frame = server_frame::Frame::Ok(Done { rooms });
        bytes.extend_from_slice(&encode(format, &ServerFrame { id, frame: Some(frame) }));
        self.send(key.index, &bytes, now);
    }
}

fn check_rooms(rooms: &BTreeSet<&str>) -> Result<(), String> {
    if rooms.is_empty() {
        return Err("rooms: name at least one room".to_owned());
    }
    rooms.iter().try_for_each(|room| check_id("rooms", room).map_err(|error| error.to_string()))
}
