//! One client's connection as the simulation knows it: what it said, where it is, what it was sent.

use std::{collections::VecDeque, rc::Rc};

use connect_node::shard::{frames::Format, slab::SlabKey};
use prost::Message as _;
use pushcast_proto::client::v1::{ClientFrame, ServerFrame};

use crate::{
    socket::Socket,
    truth::{Id, Position, Target},
};

/// A room, for as long as the connection is in it. Where it begins and ends is what its shard had placed.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) room: usize,
    pub(crate) from: Position,
    pub(crate) to: Option<Position>,
}

/// A connection, from its connect frame on.
#[derive(Debug)]
pub(crate) struct Client {
    /// What violations call it.
    pub(crate) name: Rc<str>,
    pub(crate) key: SlabKey,
    pub(crate) socket: Rc<Socket>,
    pub(crate) format: Format,
    pub(crate) app: usize,
    pub(crate) user: usize,
    /// Where it begins: the position quoted in `connected`.
    pub(crate) from: Option<Position>,
    /// What its shard had placed when it left the tables.
    pub(crate) ended: Option<Position>,
    /// Where the hole is that it is older than; what comes behind it gets elsewhere.
    pub(crate) held: Option<Position>,
    pub(crate) held_at: u64,
    pub(crate) stays: Vec<Stay>,
    /// Rooms that answers still have to name, in the order of the requests.
    pub(crate) awaited: VecDeque<Vec<usize>>,
    /// Answers heartbeats.
    pub(crate) answers: bool,
    /// A heartbeat came that it has to answer.
    pub(crate) owes_pong: bool,
    pub(crate) got: Vec<Id>,
    /// The largest position and `as_of` (microseconds) ever quoted to it.
    pub(crate) position: Position,
    pub(crate) as_of: u64,
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(ServerFrame),
    Close,
    Unreadable,
}

impl Client {
    pub(crate) fn new(
        name: &str,
        key: SlabKey,
        socket: Rc<Socket>,
        format: Format,
        app: usize,
        user: usize,
    ) -> Self {
        Self {
            name: name.into(),
            key,
            socket,
            format,
            app,
            user,
            from: None,
            ended: None,
            held: None,
            held_at: 0,
            stays: Vec::new(),
            awaited: VecDeque::new(),
            answers: true,
            owes_pong: false,
            got: Vec::new(),
            position: Position::default(),
            as_of: 0,
        }
    }

    /// Whether it is in its shard's tables.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Rooms it is in now, sorted.
    pub(crate) fn rooms(&self) -> Vec<usize> {
        let mut rooms: Vec<_> =
            self.stays.iter().filter(|stay| stay.to.is_none()).map(|stay| stay.room).collect();
        rooms.sort_unstable();
        rooms
    }

    /// It entered rooms; `from` is what its shard had placed then.
    pub(crate) fn enter(&mut self, rooms: &[usize], from: &Position) {
        for room in rooms {
            if !self.stays.iter().any(|stay| stay.room == *room && stay.to.is_none()) {
                self.stays.push(Stay { room: *room, from: from.clone(), to: None });
            }
        }
    }

    /// It left rooms.
    pub(crate) fn leave(&mut self, rooms: &[usize], to: &Position) {
        for stay in self.stays.iter_mut().filter(|stay| stay.to.is_none()) {
            if rooms.contains(&stay.room) {
                stay.to = Some(to.clone());
            }
        }
    }

    /// It left its shard's tables.
    pub(crate) fn end(&mut self, to: &Position) {
        let rooms = self.rooms();
        self.leave(&rooms, to);
        self.ended = Some(to.clone());
    }

    /// Whether a message of a manager, if its node has it, is for this connection.
    pub(crate) fn wants(&self, manager: u64, seq: u64, target: &Target) -> bool {
        let Some(from) = &self.from else { return false };
        let within = |from: &Position, to: Option<&Position>| {
            from.at(manager) < seq && to.is_none_or(|to| seq <= to.at(manager))
        };
        if !within(from, self.ended.as_ref()) || !within(from, self.held.as_ref()) {
            return false;
        }
        match target {
            Target::Everyone => true,
            Target::Control { .. } => false,
            Target::App { app } => *app == self.app,
            Target::User { app, user } => *app == self.app && *user == self.user,
            Target::Users { app, users } => *app == self.app && users.contains(&self.user),
            Target::Room { app, room } => {
                let stays = |stay: &Stay| stay.room == *room && within(&stay.from, stay.to.as_ref());
                *app == self.app && self.stays.iter().any(stays)
            }
        }
    }

    /// A frame as this client sends it.
    pub(crate) fn encode(&self, frame: &ClientFrame) -> Vec<u8> {
        match self.format {
            Format::Protobuf => masked(0x2, &frame.encode_to_vec()),
            Format::Json => masked(0x1, &serde_json::to_vec(frame).unwrap_or_default()),
        }
    }

    /// The close frame of a client.
    pub(crate) fn encode_close() -> Vec<u8> {
        masked(0x8, &1000_u16.to_be_bytes())
    }

    /// Takes the whole frames out of what was received.
    pub(crate) fn take_frames(&self) -> Vec<Received> {
        let mut bytes = self.socket.received().borrow_mut();
        let mut at = 0;
        let mut frames = Vec::new();
        while let Some((opcode, payload, end)) = next_frame(&bytes, at) {
            frames.push(match opcode {
                0x1 => serde_json::from_slice(payload).map_or(Received::Unreadable, Received::Frame),
                0x2 => ServerFrame::decode(payload).map_or(Received::Unreadable, Received::Frame),
                0x8 => Received::Close,
                _ => Received::Unreadable,
            });
            at = end;
        }
        bytes.drain(..at);
        frames
    }
}

/// A whole frame with the mask 0 (RFC 6455, 5.2).
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Opcode, payload and end of the frame at `at`, if it is there as a whole.
fn next_frame(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let (opcode, len) = (bytes.get(at)? & 0x0f, usize::from(*bytes.get(at + 1)?));
    let (start, len) = match len {
        126 => (at + 4, usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]))),
        len => (at + 2, len),
    };
    let payload = bytes.get(start..start + len)?;
    Some((opcode, payload, start + len))
}
