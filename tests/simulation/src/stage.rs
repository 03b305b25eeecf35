//! What everything in a schedule shares: virtual time, chance, what is to happen, the truth and the findings.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    rc::Rc,
};

use bytes::Bytes;
use connect_node::key::Key;
use push_manager::answers::NodeKey;
use pushcast_proto::connectnode::v1::LinkRequest;

use crate::{
    chance::Chance,
    findings::{Check, Findings},
    naive::Naive,
    registry::News,
    truth::Truth,
};

pub(crate) const MILLI: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

/// When schedules begin, microseconds since 1970: any time far from 0.
pub(crate) const BEGIN: u64 = 1_000_000 * SECOND;

/// How far clocks of a fleet may be from the right time.
const CLOCK_OFFSET: u64 = 3 * SECOND;

/// A process's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    fast: u64,
    slow: u64,
}

impl Clock {
    /// Mostly right; always if `skew` is 0.
    pub(crate) fn any(chance: &mut Chance, skew: u64) -> Self {
        match chance.below(if skew == 0 { 1 } else { 10 }) {
            _ if skew == 0 => Self::default(),
            0 => Self { fast: chance.below(CLOCK_OFFSET), slow: 0 },
            1 => Self { fast: 0, slow: chance.below(CLOCK_OFFSET) },
            2 | 3 => Self { fast: chance.below(50 * MILLI), slow: 0 },
            _ => Self::default(),
        }
    }

    /// What it shows at a time.
    pub(crate) fn read(self, now: u64) -> u64 {
        now + self.fast - self.slow
    }
}

/// A process, by its place among all there ever were of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Manager(usize),
    Node(usize),
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Manager,
    Node,
}

/// What happens at a time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A manager accepts messages.
    Push(usize),
    /// A manager lost patience by itself, or an answer is due.
    Settle(usize),
    /// A manager's start conditions are looked at.
    MayTakePushes(usize),
    /// A manager that stops has waited long enough.
    Stopped(usize),
    /// A manager tries to connect to a node.
    Dial { manager: usize, key: NodeKey },
    /// A link of a manager may have something to send.
    Pump(usize),
    /// The first frame on its way to this side of a link arrives.
    Arrive { link: usize, side: Side },
    /// This side of a link sees that the connection ended.
    Notice { link: usize, side: Side },
    /// The node's side of a link looks for acknowledgements.
    Acknowledge(usize),
    /// The node's side of a link says its heartbeat.
    Beat(usize),
    /// A shard's event loop turns.
    Turn { node: usize, shard: usize },
    /// The shards of a node look at the time.
    Sweep(usize),
    /// A node's start conditions are looked at.
    MayTakeClients(usize),
    /// A client says something.
    ClientActs,
    /// A client's socket accepts again.
    Writable { node: usize, shard: usize, client: usize },
    /// A person reads what it was sent.
    Reads(usize),
    /// A person that is away tries a node.
    Returns(usize),
    /// A node that was drained ends.
    Drained(usize),
    /// Something goes wrong.
    Fault,
    /// A process writes its record.
    Register(Process),
    /// The record of a process is gone.
    Unregister(Process),
    /// A process lists the registry, or hears of a change.
    Learn(Process, Option<Rc<News>>),
    /// A process comes up at the place of one that went.
    Restart(Process),
    /// Naive: interest that was left out when somebody entered.
    LateInterest { node: usize, shard: usize, keys: Vec<Key> },
    /// Naive: one message by itself.
    Alone { node: usize, batch: Bytes },
    /// Naive: a frame reaches one shard's own ingest.
    ShardFrame { link: usize, shard: usize, frame: LinkRequest },
}

#[derive(Debug)]
struct Due {
    at: u64,
    turn: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) naive: Option<Naive>,
    /// How far clocks may be apart.
    pub(crate) skew: u64,
    pub(crate) truth: Truth,
    pub(crate) findings: Findings,
    due: BinaryHeap<Reverse<Due>>,
    turns: u64,
}

impl Stage {
    pub(crate) fn new(seed: u64, naive: Option<Naive>, story: bool) -> Self {
        let mut chance = Chance::new(seed);
        let skew = if chance.one_in(4) { 2 * CLOCK_OFFSET } else { 0 };
        Self {
            now: BEGIN,
            chance,
            naive,
            skew,
            truth: Truth::default(),
            findings: Findings { story: story.then(Vec::new), ..Findings::default() },
            due: BinaryHeap::new(),
            turns: 0,
        }
    }

    pub(crate) fn is(&self, naive: Naive) -> bool {
        self.naive == Some(naive)
    }

    /// Has something happen at a time; what is past happens now. At one time, what was said first is first.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.turns += 1;
        self.due.push(Reverse(Due { at: at.max(self.now), turn: self.turns, event }));
    }

    /// Has something happen within `low..=high` microseconds.
    pub(crate) fn within(&mut self, low: u64, high: u64, event: Event) {
        let at = self.now + self.chance.between(low, high);
        self.at(at, event);
    }

    /// The next event, if it is before `end`; the time is then its.
    pub(crate) fn next(&mut self, end: u64) -> Option<Event> {
        if self.due.peek().is_none_or(|Reverse(due)| due.at >= end) {
            self.now = end;
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        self.now = due.at;
        self.findings.counts.events += 1;
        Some(due.event)
    }

    pub(crate) fn broken(&mut self, check: Check, what: String) {
        self.findings.broken(check, self.now - BEGIN, what);
    }

    /// Tells what happens, if the story is to be told.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        self.findings.tell(self.now - BEGIN, what);
    }
}
