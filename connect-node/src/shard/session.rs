//! What a client may say and what it is answered (DESIGN 8).

use std::collections::BTreeSet;

use prost::Message as _;
use pushcast_common::id::{check_app, check_id};
use pushcast_proto::client::v1::{
    ClientFrame, Connect, Connected, Error, Heartbeat, ServerFrame, client_frame::Frame, server_frame,
};

use super::{
    connection::{Phase, Way},
    control::MOST_LEFT,
    frames::{Format, encode},
    resume::{Entering, MOVES, Returning},
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, metrics, position::wire_position};

/// How long a floor is asked for, milliseconds: a manager that it names and that does not come within the window's
/// age is gone.
const FLOOR_MILLIS: u64 = 120_000;

/// So many times the rooms that a connection may be in are looked at in a connect frame, repeats included.
const MAX_REPEATED: usize = 4;

/// gRPC code names in lower case, as clients see them.
pub(super) mod code {
    pub(in crate::shard) const INVALID_ARGUMENT: &str = "invalid_argument";
    pub(in crate::shard) const FAILED_PRECONDITION: &str = "failed_precondition";
    pub(in crate::shard) const RESOURCE_EXHAUSTED: &str = "resource_exhausted";
    pub(in crate::shard) const UNIMPLEMENTED: &str = "unimplemented";
}

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
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (phase, held) = (connection.phase, connection.special.is(Way::Held));
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
            // Older than a hole: a ticket for it would cover what it never gets. It asks again where it resumes.
            (Phase::Open, Some(Frame::Join(_) | Frame::Leave(_))) if held => {
                self.close(key, CloseReason::Moved, now);
            }
            (Phase::Open, Some(Frame::Join(join))) => self.on_join(key, id, &join.rooms, now),
            (Phase::Open, Some(Frame::Leave(leave))) => self.on_leave(key, id, &leave.rooms, now),
            (Phase::Open, Some(Frame::Renew(renew))) => self.on_renew(key, id, &renew.token, now),
            (Phase::Open, Some(Frame::Pong(_))) | (Phase::Closing { .. }, _) => {}
            (Phase::Open, None) => {
                let message = "the frame holds none of connect, join, leave, pong, renew";
                self.answer_error(key, id, code::UNIMPLEMENTED, message, now);
            }
        }
    }

    fn on_connect(&mut self, key: SlabKey, id: u32, connect: &Connect, now: Now) {
        if connect.rooms.len() > MAX_REPEATED * self.settings.limits.max_rooms {
            let message = self.too_many_rooms();
            self.refuse(key, id, code::RESOURCE_EXHAUSTED, &message, now);
            return;
        }
        let connect = match self.authenticated(key, connect, now) {
            Ok(connect) => connect,
            Err(refused) => {
                self.unauthorized(key, id, refused, now);
                return;
            }
        };
        let connect = connect.as_ref();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let wire_id = connection.wire_id();
        let returning = connect.resume.as_ref().map(|resume| self.returning(connect, resume, now));
        let returning = match returning {
            Some(Ok(returning)) => Some(returning),
            Some(Err(reason)) => {
                metrics::resumed("unrecovered", reason);
                None
            }
            None => None,
        };
        let user = match &returning {
            Some(returning) => returning.ticket.user_id.clone(),
            None if connect.user_id.is_empty() => format!("anon-{wire_id}"),
            None => connect.user_id.clone(),
        };
        let rooms: BTreeSet<&str> = connect.rooms.iter().map(String::as_str).collect();
        if let Err(message) = check_connect(&connect.app, &user, &rooms) {
            self.refuse(key, id, code::INVALID_ARGUMENT, &message, now);
            return;
        }
        if rooms.len() > self.settings.limits.max_rooms {
            let message = self.too_many_rooms();
            self.refuse(key, id, code::RESOURCE_EXHAUSTED, &message, now);
            return;
        }
        if let Err(message) = self.take_place(key, (&connect.app, &user), returning.is_some()) {
            let error = error_frame(id, code::RESOURCE_EXHAUSTED, &message);
            self.refuse_as(CloseReason::TryLater, key, &error, now);
            return;
        }
        let asked: Vec<Entering> =
            rooms.into_iter().map(|room| Entering { room: room.to_owned(), since: now.micros }).collect();
        match returning {
            Some(returning) => self.take_back(key, id, connect, returning, &asked, now),
            None => {
                self.let_in(key, &connect.app, &user, &asked, now);
                self.answer_connect(key, id, false, now);
            }
        }
    }

    /// Takes a client back, sends it to a neighbour, or tells it what became of it.
    fn take_back(
        &mut self,
        key: SlabKey,
        id: u32,
        connect: &Connect,
        mut returning: Returning,
        asked: &[Entering],
        now: Now,
    ) {
        if let Some(reason) = &returning.kicked {
            metrics::resumed("refused", "kicked");
            let text = if reason.is_empty() { CloseReason::Kicked.text() } else { reason };
            self.close_saying(key, CloseReason::Kicked, text, now);
            return;
        }
        let generation = returning.ticket.generation.saturating_add(1);
        let connection_id = returning.ticket.connection_id;
        let older = |shard: &Self| shard.connections.key_at(*shard.by_id.get(&connection_id)?);
        let generation_of = |shard: &Self| Some(shard.connections.get(older(shard)?)?.generation);
        if generation_of(self).is_some_and(|here| here > generation) {
            metrics::resumed("refused", "replaced");
            self.replaced(key, now);
            return;
        }
        // Interest first: what comes from here on is not lost, whatever the answer is.
        let (app, user) = (returning.ticket.app.clone(), returning.ticket.user_id.clone());
        let mut interest = self.tables.keys_to_connect(&app, &user);
        interest.extend(self.tables.keys_to_join(&app, returning.rooms.iter().map(|r| r.room.as_str())));
        self.subscribe(&interest, now);
        // What was decided between the look at the controls and now.
        if let Some(resume) = &connect.resume
            && let Ok(again) = self.returning(connect, resume, now)
            && again.rooms == returning.rooms
            && again.kicked.is_none()
        {
            returning = again;
        } else {
            self.inbox.unsubscribe(&interest);
            self.on_connect(key, id, connect, now);
            return;
        }
        let missing = self.what_is_missing(&returning, now);
        let attempt = connect.resume.as_ref().map_or(0, |resume| resume.attempt);
        if let Some(missing) = missing.filter(|missing| missing.is_here_alone())
            && attempt < MOVES
        {
            self.inbox.unsubscribe(&interest);
            metrics::resumed("moved", missing.label());
            self.close(key, CloseReason::Moved, now);
            return;
        }
        if let Some(older) = older(self) {
            if generation_of(self) == Some(generation) {
                self.moved(older, now);
            } else {
                self.replaced(older, now);
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.id = connection_id;
            connection.generation = generation;
            connection.login_at = returning.ticket.login_at;
            let mut left = std::mem::take(&mut returning.left);
            left.drain(..left.len().saturating_sub(MOST_LEFT));
            connection.extras().left = left;
        }
        self.by_id.insert(connection_id, key.index);
        if let Some(missing) = missing {
            self.inbox.unsubscribe(&interest);
            metrics::resumed("unrecovered", missing.label());
            let asked: Vec<Entering> =
                asked.iter().map(|entering| self.entering_again(key, entering)).collect();
            self.let_in(key, &app, &user, &asked, now);
            self.claim(key, now);
            self.answer_connect(key, id, false, now);
            return;
        }
        metrics::resumed("recovered", "");
        self.enter_tables(key, &app, &user, &returning.rooms, now);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.special.set(Way::Floor);
            connection.extras().floor =
                returning.floor.take().map(|floor| (floor, now.millis + FLOOR_MILLIS));
            connection.special.set(Way::Replaying);
        }
        self.claim(key, now);
        self.answer_connect(key, id, true, now);
        self.begin_replay(key, returning.entered, now);
    }

    /// A room that it enters now, later than any decision about it that this connection knows of.
    fn entering_again(&self, key: SlabKey, entering: &Entering) -> Entering {
        let left_at = self.connections.get(key).and_then(|connection| connection.left_at(&entering.room));
        let since = entering.since.max(left_at.unwrap_or(0)).saturating_add(1);
        Entering { room: entering.room.clone(), since }
    }

    /// Puts a connection into the tables, behind everything that came before.
    fn let_in(&mut self, key: SlabKey, app: &str, user: &str, rooms: &[Entering], now: Now) {
        let mut interest = self.tables.keys_to_connect(app, user);
        interest.extend(self.tables.keys_to_join(app, rooms.iter().map(|entering| entering.room.as_str())));
        self.subscribe(&interest, now);
        self.enter_tables(key, app, user, rooms, now);
    }

    fn enter_tables(&mut self, key: SlabKey, app: &str, user: &str, rooms: &[Entering], now: Now) {
        self.tables.connect(key.index, app, user);
        for entering in rooms {
            self.tables.join(key.index, &entering.room, entering.since);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.phase = Phase::Open;
        connection.last_heartbeat = now.millis;
        if connection.login_at == 0 {
            connection.login_at = now.micros;
        }
        self.by_id.insert(connection.id, key.index);
        let heartbeat = now.millis + self.settings.heartbeat;
        self.check_at(key, self.token_due(key, now).map_or(heartbeat, |token| token.min(heartbeat)));
    }

    /// Says that the connection stands, and where it starts; its ticket comes in the same write.
    fn answer_connect(&mut self, key: SlabKey, id: u32, recovered: bool, now: Now) {
        let Some(connection) = self.connections.get(key) else { return };
        let (format, wire_id) = (connection.format, connection.wire_id());
        let (position, as_of) = match connection.floor() {
            Some(floor) => (wire_position(floor.position()), floor.as_of()),
            None => (wire_position(self.taken.marks.position()), self.quote_as_of(now)),
        };
        let Some((_, user)) = self.tables.identity(key.index) else { return };
        let rooms: Vec<String> = self.tables.rooms_of(key.index).into_iter().map(str::to_owned).collect();
        tracing::debug!(connection = wire_id, user, rooms = rooms.len(), recovered, "A client is connected.");
        let connected = Connected {
            connection_id: wire_id,
            user_id: user.to_owned(),
            node_id: self.settings.node_id.clone(),
            rooms,
            position,
            as_of: as_of / 1000,
            recovered: Some(recovered),
            heartbeat_ms: u32::try_from(self.settings.heartbeat).unwrap_or(u32::MAX),
        };
        let frame = ServerFrame { id, frame: Some(server_frame::Frame::Connected(connected)) };
        let mut bytes = encode(format, &frame);
        bytes.extend(self.ticket_frame(key, now).unwrap_or_default());
        self.send(key.index, &bytes, now);
    }

    /// Whether it is older than a hole.
    pub(super) fn is_held(&mut self, key: SlabKey) -> bool {
        self.connections.get_mut(key).is_some_and(|connection| connection.special.is(Way::Held))
    }

    /// Adds interest, and places what came before it, so that whoever enters now gets what comes after.
    pub(super) fn subscribe(&mut self, keys: &[crate::key::Key], now: Now) {
        let inbox = std::sync::Arc::clone(&self.inbox);
        inbox.subscribe(keys, &mut self.taken);
        self.place_taken(now);
    }

    pub(super) fn answer_error(&mut self, key: SlabKey, id: u32, code: &str, message: &str, now: Now) {
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

    pub(super) fn format(&mut self, key: SlabKey) -> Option<Format> {
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
