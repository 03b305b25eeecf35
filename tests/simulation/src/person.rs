//! A person: what one client keeps across its connections, and what it was promised.
//!
//! Reads late what a node sent, so that "sent is not received"; position and time move by what it read, as the
//! product's own client library says ([`Progress`]).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
};

use connect_node::shard::frames::Format;
use pushcast_proto::client::v1::ServerFrame;
use pushctl::progress::Progress;

use crate::{
    client::{Point, Stay},
    truth::{Id, Position, ROOMS},
};

/// A frame on its way to a person, and where its shard was when it sent it.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) what: What,
    pub(crate) point: Point,
    pub(crate) sent_at: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Frame(Box<ServerFrame>),
    /// A push, and which one it is.
    Push(Box<ServerFrame>, Id),
    Close(u16),
    /// The connection broke without a word.
    Broken,
}

/// Where a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Away,
    At { node: usize, shard: usize, client: usize },
    Gone,
}

/// From a connection that recovered nothing to the next such.
#[derive(Debug, Default, Clone)]
pub(crate) struct Chapter {
    /// Where its first connection began, and when.
    pub(crate) from: Position,
    pub(crate) since: u64,
    pub(crate) stays: Vec<(Stay, u64)>,
    /// What was shown.
    pub(crate) contents: HashSet<Id>,
    /// Newest seq shown of each manager.
    pub(crate) newest: HashMap<usize, u64>,
    /// Node processes it was on, each with the time when it was there last.
    pub(crate) nodes: Vec<(usize, u64)>,
    pub(crate) resumes: u32,
}

impl Chapter {
    /// Rooms it is in now, sorted.
    pub(crate) fn rooms(&self) -> Vec<usize> {
        let open = self.stays.iter().filter(|(stay, _)| stay.to.is_none());
        let mut rooms: Vec<usize> = open.map(|(stay, _)| stay.room).collect();
        rooms.sort_unstable();
        rooms
    }

    /// It is in these rooms from this point on.
    pub(crate) fn is_in(&mut self, rooms: &[usize], point: &Point, at: u64) {
        for (stay, _) in self.stays.iter_mut().filter(|(stay, _)| stay.to.is_none()) {
            if !rooms.contains(&stay.room) {
                stay.to = Some(point.clone());
            }
        }
        let now = self.rooms();
        for room in rooms.iter().filter(|room| !now.contains(room)) {
            self.stays.push((Stay { room: *room, from: point.clone(), to: None }, at));
        }
    }
}

/// See the file.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) name: Rc<str>,
    pub(crate) app: usize,
    pub(crate) user: usize,
    pub(crate) format: Format,
    pub(crate) progress: Progress,
    pub(crate) attempt: u32,
    pub(crate) resuming: bool,
    pub(crate) place: Whereabouts,
    /// What was sent to it on its present connection and not read yet.
    pub(crate) letters: VecDeque<Letter>,
    /// How late it reads, at most; microseconds.
    pub(crate) lag: u64,
    pub(crate) reads_at: u64,
    /// Ids it has seen.
    pub(crate) seen: HashSet<String>,
    pub(crate) chapter: Chapter,
    /// Rooms to ask for where nothing is recovered.
    pub(crate) asks: Vec<usize>,
    /// Comes back whenever its connection ends.
    pub(crate) returns: bool,
    pub(crate) connection_id: u64,
    /// All that it was told to have had.
    pub(crate) connections: HashSet<u64>,
    /// Its connection was closed for another one of the same id.
    pub(crate) was_replaced: bool,
    /// When it entered or left each room by itself.
    pub(crate) acted: [u64; ROOMS.len()],
}

impl Person {
    pub(crate) fn is_at(&self, node: usize) -> bool {
        matches!(self.place, Whereabouts::At { node: at, .. } if at == node)
    }
}
