//! What a client may say and what it is answered (DESIGN 8).

use std::collections::BTreeSet;

use prost::Message as _;
use pushcast_common::id::{check_app, check_id};
use pushcast_proto::client::v1::{
    ClientFrame, Connect, Connected, Error, Heartbeat, Ok as Done, ServerFrame, client_frame::Frame,
    server_frame,
};

use super::{
    connection::Phase,
    frames::{Format, encode},
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, position::wire_position};

/// gRPC code names in lower case, as clients see them.
mod code {
    pub(super) const INVALID_ARGUMENT: &str = "invalid_argument";
    pub(super) const FAILED_PRECONDITION: &str = "failed_precondition";
    pub(super) const RESOURCE_EXHAUSTED: &str = "resource_exhausted";
    pub(super) const UNIMPLEMENTED: &str = "unimplemented";
}

/// Rooms one connection may be in. Leaving costs a look through the rooms of whoever takes the place, so that a
/// client in 50,000 rooms would stall its shard for half a second (measured); 1,000 cost 0.3 ms.
const MAX_ROOMS: usize = 1000;

impl<T: Transport> Shard<T> {
    pub(super) fn on_text(&mut self, key: SlabKey, text: &str, now: Now) {
        if self.format(key) == Some(Format::Protobuf) {
            self.close(key, CloseReason::WrongType, now);
            return;
        }
        match serde_json::from_str::<ClientFrame>(text) {
            Ok(frame) => self.on_frame(key, frame, now),
            Err(error) => self.unreadable(key, &format!("the frame is not readable JSON: {error}"), now),
        }
    }

    pub(super) fn on_binary(&mut self, key: SlabKey, bytes: &[u8], now: Now) {
        if self.format(key) == Some(Format::Json) {
            self.close(key, CloseReason::WrongType, now);
            return;
        }
        match ClientFrame::decode(bytes) {
            Ok(frame) => self.on_frame(key, frame, now),
            Err(error) => self.unreadable(key, &format!("the frame is not readable protobuf: {error}"), now),
        }
    }

    /// Handles a connect frame that came in the URL.
    pub(super) fn on_url(&mut self, key: SlabKey, connect: Result<Connect, String>, now: Now) {
        match connect {
            Ok(connect) => self.on_connect(key, 0, &connect, now),
            Err(message) => self.refuse(key, 0, code::INVALID_ARGUMENT, &message, now),
        }
    }

    fn on_frame(&mut self, key: SlabKey, frame: ClientFrame, now: Now) {
        let Some(phase) = self.connections.get_mut(key).map(|connection| connection.phase) else { return };
        let id = frame.id;
        match (phase, frame.frame) {
            (Phase::New, Some(Frame::Connect(connect))) => self.on_connect(key, id, &connect, now),
            (Phase::New, _) => {
                let message = "the first frame must be connect";
                self.refuse(key, id, code::FAILED_PRECONDITION, message, now);
            }
            (Phase::Open, Some(Frame::Connect(_))) => {
                let message = "this connection is connected already";
                self.refuse(key, id, code::FAILED_PRECONDITION, message, now);
            }
            (Phase::Open, Some(Frame::Join(join))) => self.on_join(key, id, &join.rooms, now),
            (Phase::Open, Some(Frame::Leave(leave))) => self.on_leave(key, id, &leave.rooms, now),
            (Phase::Open, Some(Frame::Pong(_))) | (Phase::Closing { .. }, _) => {}
            (Phase::Open, None) => {
                let message = "the frame holds none of connect, join, leave, pong";
                self.answer_error(key, id, code::UNIMPLEMENTED, message, now);
            }
        }
    }

    fn on_connect(&mut self, key: SlabKey, id: u32, connect: &Connect, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let wire_id = connection.wire_id();
        let user =
            if connect.user_id.is_empty() { format!("anon-{wire_id}") } else { connect.user_id.clone() };
        let rooms: BTreeSet<&str> = connect.rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_connect(&connect.app, &user, &rooms) {
            self.refuse(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        if rooms.len() > MAX_ROOMS {
            self.refuse(key, id, code::RESOURCE_EXHAUSTED, &too_many_rooms(), now);
            return;
        }
        let mut wanted = self.tables.keys_to_connect(&connect.app, &user);
        wanted.extend(self.tables.keys_to_join(&connect.app, rooms.iter().copied()));
        self.subscribe(&wanted, now);
        self.tables.connect(key.index, &connect.app, &user);
        for room in &rooms {
            self.tables.join(key.index, room);
        }
        tracing::debug!(connection = wire_id, user, rooms = rooms.len(), "A client is connected.");
        let frame = server_frame::Frame::Connected(Connected {
            connection_id: wire_id,
            user_id: user,
            node_id: self.settings.node_id.clone(),
            rooms: rooms.into_iter().map(str::to_owned).collect(),
            position: wire_position(self.taken.marks.position()),
            as_of: self.quote_as_of(now) / 1000,
            recovered: Some(false),
            heartbeat_ms: u32::try_from(self.settings.heartbeat).unwrap_or(u32::MAX),
        });
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Open;
            connection.last_heartbeat = now.millis;
        }
        self.check_at(key, now.millis + self.settings.heartbeat);
        self.answer(key, id, frame, now);
    }

    fn on_join(&mut self, key: SlabKey, id: u32, rooms: &[String], now: Now) {
        let rooms: BTreeSet<&str> = rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_rooms(&rooms) {
            self.answer_error(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        let Some((app, _)) = self.tables.identity(key.index) else { return };
        let entered = rooms.iter().filter(|room| !self.tables.is_in(key.index, room)).count();
        if self.tables.rooms_len(key.index) + entered > MAX_ROOMS {
            self.answer_error(key, id, code::RESOURCE_EXHAUSTED, &too_many_rooms(), now);
            return;
        }
        let wanted = self.tables.keys_to_join(app, rooms.iter().copied());
        self.subscribe(&wanted, now);
        if self.tables.identity(key.index).is_none() {
            // Placing what came before closed this very connection as a slow one.
            self.inbox.unsubscribe(&wanted);
            return;
        }
        for room in rooms {
            self.tables.join(key.index, room);
        }
        self.answer_rooms(key, id, now);
    }

    fn on_leave(&mut self, key: SlabKey, id: u32, rooms: &[String], now: Now) {
        let rooms: BTreeSet<&str> = rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_rooms(&rooms) {
            self.answer_error(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        let gone: Vec<_> = rooms.into_iter().filter_map(|room| self.tables.leave(key.index, room)).collect();
        self.inbox.unsubscribe(&gone);
        self.answer_rooms(key, id, now);
    }

    /// Adds interest, and places what came before it, so that whoever enters now gets what comes after.
    fn subscribe(&mut self, keys: &[crate::key::Key], now: Now) {
        let inbox = std::sync::Arc::clone(&self.inbox);
        inbox.subscribe(keys, &mut self.taken);
        self.place_taken(now);
    }

    fn answer_rooms(&mut self, key: SlabKey, id: u32, now: Now) {
        let rooms = self.tables.rooms_of(key.index).into_iter().map(str::to_owned).collect();
        self.answer(key, id, server_frame::Frame::Ok(Done { rooms }), now);
    }

    fn answer_error(&mut self, key: SlabKey, id: u32, code: &str, message: &str, now: Now) {
        if let Some(frame) = error_frame(id, code, message).frame {
            self.answer(key, id, frame, now);
        }
    }

    fn answer(&mut self, key: SlabKey, id: u32, frame: server_frame::Frame, now: Now) {
        let Some(format) = self.format(key) else { return };
        let bytes = encode(format, &ServerFrame { id, frame: Some(frame) });
        self.send(key.index, &bytes, now);
    }

    fn unreadable(&mut self, key: SlabKey, message: &str, now: Now) {
        self.refuse(key, 0, code::INVALID_ARGUMENT, message, now);
    }

    fn format(&mut self, key: SlabKey) -> Option<Format> {
        Some(self.connections.get_mut(key)?.format)
    }

    /// A heartbeat that quotes where the shard is.
    pub(super) fn heartbeat_frame(&mut self, now: Now) -> ServerFrame {
        let as_of = self.quote_as_of(now) / 1000;
        let position = wire_position(self.taken.marks.position());
        ServerFrame { id: 0, frame: Some(server_frame::Frame::Heartbeat(Heartbeat { position, as_of })) }
    }
}

/// An error frame.
pub(super) fn error_frame(id: u32, code: &str, message: &str) -> ServerFrame {
    let error = Error { code: code.to_owned(), message: message.to_owned() };
    ServerFrame { id, frame: Some(server_frame::Frame::Error(error)) }
}

fn check_connect(app: &str, user: &str, rooms: &BTreeSet<&str>) -> Result<(), String> {
    check_app(app).map_err(|error| error.to_string())?;
    check_id("user_id", user).map_err(|error| error.to_string())?;
    rooms.iter().try_for_each(|room| check_id("rooms", room).map_err(|error| error.to_string()))
}

fn too_many_rooms() -> String {
    format!("rooms: a connection may be in {MAX_ROOMS} at most")
}

fn check_rooms(rooms: &BTreeSet<&str>) -> Result<(), String> {
    if rooms.is_empty() {
        return Err("rooms: name at least one room".to_owned());
    }
    rooms.iter().try_for_each(|room| check_id("rooms", room).map_err(|error| error.to_string()))
}
