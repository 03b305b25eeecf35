//! One client's connection as the simulation knows it: what it said, where it is, what it was sent.

use std::{collections::VecDeque, rc::Rc};

use connect_node::shard::{frames::Format, slab::SlabKey};
use prost::Message as _;
use pushcast_proto::client::v1::{ClientFrame, ServerFrame};

use crate::{
    socket::Socket,
    truth::{Accepted, Id, Position, Target},
};

/// A point in a stream of deliveries, not quite known: behind the first, not behind the second.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) after: Position,
    pub(crate) until: Position,
}

impl Point {
    pub(crate) fn at(position: &Position) -> Self {
        Self { after: position.clone(), until: position.clone() }
    }
}

/// A room, for as long as the connection is in it. Where it begins and ends is what its shard had placed.
#[derive(Debug, Clone)]
pub(crate) struct Stay {
    pub(crate) room: usize,
    pub(crate) from: Point,
    pub(crate) to: Option<Point>,
}

impl Stay {
    /// Whether a message to its room is within it.
    pub(crate) fn covers(&self, manager: u64, seq: u64) -> Wants {
        let begun = match (seq > self.from.until.at(manager), seq > self.from.after.at(manager)) {
            (true, _) => Wants::Yes,
            (false, true) => Wants::Maybe,
            (false, false) => Wants::No,
        };
        let ended = match &self.to {
            Some(to) if seq > to.until.at(manager) => Wants::No,
            Some(to) if seq > to.after.at(manager) => Wants::Maybe,
            Some(_) | None => Wants::Yes,
        };
        begun.min(ended)
    }
}

/// Whether a message is for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wants {
    No,
    /// It may get it, and may not.
    Maybe,
    Yes,
}

/// A request of a client, until it reads the answer.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// What the answer has to name.
    pub(crate) rooms: Vec<usize>,
    /// What its shard had placed when it was done.
    pub(crate) placed: Position,
    pub(crate) entered: Vec<usize>,
    pub(crate) left: Vec<usize>,
    /// When it was done.
    pub(crate) point: Point,
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
    /// What its shard had placed then; with a resume less or more than where it begins.
    pub(crate) since: Position,
    /// With a resume: what managers that are not named accepted before has not to come.
    pub(crate) unnamed_before: Option<u64>,
    /// Whose connection it is.
    pub(crate) person: usize,
    pub(crate) connection_id: u64,
    /// Code of the Close that came.
    pub(crate) closed: Option<u16>,
    /// Where its shard was when the last request was done that it has the answer to.
    pub(crate) answered: Option<Point>,
    /// What its shard had placed when all that it was sent was last looked at.
    pub(crate) looked_at: Rc<Position>,
    /// What its shard had placed when it left the tables.
    pub(crate) ended: Option<Point>,
    /// Where the hole is that it is older than; what comes behind it gets elsewhere.
    pub(crate) held: Option<Position>,
    pub(crate) held_at: u64,
    /// Rooms it was in and is in: what it read, and on top of that what it asked for and has no answer to.
    pub(crate) stays: Vec<Stay>,
    /// As far as it has read.
    read: Vec<Stay>,
    /// Requests that it has no answer to.
    pub(crate) awaited: VecDeque<Asked>,
    /// Answers heartbeats.
    pub(crate) answers: bool,
    /// A heartbeat came that it has to answer.
    pub(crate) owes_pong: bool,
    pub(crate) got: Vec<Id>,
    /// The largest position and `as_of` (microseconds) ever quoted to it.
    pub(crate) position: Position,
    pub(crate) as_of: u64,
    /// The same of what its node said by itself.
    pub(crate) told: Option<Position>,
}

impl Asked {
    fn apply(&self, stays: &mut Vec<Stay>) {
        enter(stays, &self.entered, &self.point);
        leave(stays, &self.left, &self.point);
    }
}

fn enter(stays: &mut Vec<Stay>, rooms: &[usize], from: &Point) {
    for room in rooms {
        if !stays.iter().any(|stay| stay.room == *room && stay.to.is_none()) {
            stays.push(Stay { room: *room, from: from.clone(), to: None });
        }
    }
}

fn leave(stays: &mut [Stay], rooms: &[usize], to: &Point) {
    for stay in stays.iter_mut().filter(|stay| stay.to.is_none()) {
        if rooms.contains(&stay.room) {
            stay.to = Some(to.clone());
        }
    }
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(ServerFrame),
    /// With its code.
    Close(u16),
    Unreadable,
}

impl Client {
    pub(crate) fn new(
        name: &str,
        key: SlabKey,
        socket: Rc<Socket>,
        format: Format,
        (app, user): (usize, usize),
        person: usize,
    ) -> Self {
        Self {
            name: name.into(),
            key,
            socket,
            format,
            app,
            user,
            from: None,
            since: Position::default(),
            unnamed_before: None,
            person,
            connection_id: 0,
            closed: None,
            answered: None,
            looked_at: Rc::default(),
            ended: None,
            held: None,
            held_at: 0,
            stays: Vec::new(),
            read: Vec::new(),
            awaited: VecDeque::new(),
            answers: true,
            owes_pong: false,
            got: Vec::new(),
            position: Position::default(),
            as_of: 0,
            told: None,
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

    /// Where it is when its request is done, in the same step as what a control may have done before.
    pub(crate) fn point_of_request(&self, placed: &Position, decided: bool) -> Point {
        let after = if decided { &*self.looked_at } else { placed };
        Point { after: after.clone(), until: placed.clone() }
    }

    /// It read that it entered rooms.
    pub(crate) fn enter(&mut self, rooms: &[usize], from: &Point) {
        enter(&mut self.read, rooms, from);
        self.look_ahead();
    }

    /// It read that it left rooms.
    pub(crate) fn leave(&mut self, rooms: &[usize], to: &Point) {
        leave(&mut self.read, rooms, to);
        self.look_ahead();
    }

    /// It asked to enter and leave rooms, and that was done.
    pub(crate) fn asks(&mut self, entered: Vec<usize>, left: Vec<usize>, placed: Position, point: Point) {
        self.awaited.push_back(Asked { rooms: Vec::new(), placed, entered, left, point });
        self.look_ahead();
        let rooms = self.rooms();
        if let Some(asked) = self.awaited.back_mut() {
            asked.rooms = rooms;
        }
    }

    /// It reads the answer to the oldest request.
    pub(crate) fn is_answered(&mut self) -> Option<Asked> {
        let asked = self.awaited.pop_front()?;
        asked.apply(&mut self.read);
        self.look_ahead();
        Some(asked)
    }

    /// What it reads before an answer was done before the request.
    fn look_ahead(&mut self) {
        self.stays.clone_from(&self.read);
        self.awaited.iter().for_each(|asked| asked.apply(&mut self.stays));
    }

    /// It left its shard's tables.
    pub(crate) fn end(&mut self, placed: &Position) {
        // A control that closes it has its place somewhere in what was placed just now.
        let by_control = self.closed.is_some_and(|code| matches!(code, 4001 | 4003 | 4500 | 4503));
        let by_control = by_control || self.socket.refuses();
        let after = if by_control { &*self.looked_at } else { placed };
        let to = Point { after: after.clone(), until: placed.clone() };
        let rooms = self.rooms();
        leave(&mut self.stays, &rooms, &to);
        self.ended = Some(to);
    }

    /// Whether a message of a manager, if its node has it, is for this connection.
    pub(crate) fn wants(&self, manager: u64, seq: u64, message: &Accepted) -> Wants {
        let Some(from) = &self.from else { return Wants::No };
        let before = |to: &Option<Position>| to.as_ref().is_none_or(|to| seq <= to.at(manager));
        if seq <= from.at(manager) || !before(&self.held) {
            return Wants::No;
        }
        let last = match &self.ended {
            Some(ended) if seq > ended.until.at(manager) => return Wants::No,
            Some(ended) if seq > ended.after.at(manager) => Wants::Maybe,
            Some(_) | None => Wants::Yes,
        };
        let old = from.get(manager).is_none() && self.unnamed_before.is_some_and(|as_of| message.at <= as_of);
        // On a connection that resumed, its other identity may be behind it.
        let repeats = message.request.is_some() && self.unnamed_before.is_some();
        let most = if old || repeats { Wants::Maybe } else { Wants::Yes };
        most.min(last).min(is_for(&message.target, self.app, self.user, &self.stays, manager, seq))
    }

    /// Whether a message is counted for it when it is placed.
    pub(crate) fn counts(&self, manager: u64, seq: u64, message: &Accepted) -> Wants {
        if seq <= self.since.at(manager) { Wants::No } else { self.wants(manager, seq, message) }
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
                0x8 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    Received::Close(code)
                }
                _ => Received::Unreadable,
            });
            at = end;
        }
        bytes.drain(..at);
        frames
    }
}

/// Whether a message is for a user that is in rooms at times.
pub(crate) fn is_for(
    target: &Target,
    my_app: usize,
    my_user: usize,
    stays: &[Stay],
    manager: u64,
    seq: u64,
) -> Wants {
    let is_mine = |mine: bool| if mine { Wants::Yes } else { Wants::No };
    match target {
        Target::Everyone => Wants::Yes,
        Target::Control { .. } => Wants::No,
        Target::App { app } => is_mine(*app == my_app),
        Target::User { app, user } => is_mine(*app == my_app && *user == my_user),
        Target::Users { app, users } => is_mine(*app == my_app && users.contains(&my_user)),
        Target::Room { app, room } if *app == my_app => {
            let of_room = stays.iter().filter(|stay| stay.room == *room);
            of_room.map(|stay| stay.covers(manager, seq)).max().unwrap_or(Wants::No)
        }
        Target::Room { .. } => Wants::No,
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
