//! What a node knows of one manager: what came of it, who speaks for it, whether it is expected.
//!
//! Owned by [`crate::ingest`] and changed under its lock alone.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::Notify;

use crate::acks::Acks;

/// Without a registry a manager without a link counts as gone after this time, microseconds.
pub(crate) const STATIC_GONE_AFTER: u64 = 10_000_000;

/// How much longer than a lease, and a quarter of one, the record of a manager that simply died may seem to outlive
/// it, microseconds: it was last heard a second before, the registry looks for ended leases now and then, and its news
/// take their time.
const RECORD_LINGERS: u64 = 3_000_000;

/// How long after it becomes known a manager surely takes no push without this node, microseconds: the 3 s of its
/// start, less what news take.
const TAKES_NO_PUSH: u64 = 2_000_000;

/// How a manager stands with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Its id.
    pub manager: u64,
    /// Whether the registry has it.
    pub registered: bool,
    /// Whether a link of it is up.
    pub linked: bool,
    /// Whether everything it had at hello has been received.
    pub filled: bool,
}

/// What it means that a manager is registered no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It is still linked, or ended cleanly, or died and took with it what it had not sent (rule 9).
    Harmless,
    /// This node has not heard all of it that others may have.
    Unheard,
    /// It went on accepting without this node.
    Hole,
}

#[derive(Debug, Default)]
pub(crate) struct Manager {
    /// Token of the link that speaks for it; `None` while it has none.
    pub(crate) owner: Option<u64>,
    pub(crate) received: Option<u64>,
    /// Newest seq it had at hello.
    pub(crate) due: u64,
    pub(crate) registered: bool,
    /// The linked managers that name it in their heartbeats.
    pub(crate) named_by: BTreeSet<u64>,
    pub(crate) closed: bool,
    /// Without a registry: no link for so long that it counts as gone.
    pub(crate) lapsed: bool,
    pub(crate) unlinked_at: u64,
    /// When a frame of it last came, and when this node first heard that it is there.
    pub(crate) heard_at: u64,
    pub(crate) known_at: u64,
    /// This node had only just come when it heard of it: it may have taken pushes for long.
    pub(crate) may_be_old: bool,
    /// Its record and its link were gone at once.
    pub(crate) was_gone: bool,
    /// First seq since which nothing of it is missing here.
    pub(crate) whole_from: u64,
    /// When its fill began, until it ends.
    pub(crate) filling_since: Option<u64>,
    pub(crate) acks: Acks,
    pub(crate) placed: Arc<Notify>,
}

impl Manager {
    /// Rule 5: registered, linked, or named by a linked manager. A manager that closed is expected no more,
    /// though its record may outlive it for a moment.
    pub(crate) fn expected(&self, registry: bool) -> bool {
        let lately = !registry && self.received.is_some() && !self.lapsed;
        let named = !self.named_by.is_empty();
        !self.closed && (self.owner.is_some() || self.registered || named || lately)
    }

    /// A manager names it no more. True if nobody says any more that it is there, and it may have accepted what this
    /// node cannot have.
    pub(crate) fn unnamed(&mut self, by: u64, registry: bool, now: u64) -> bool {
        self.named_by.remove(&by) && !self.expected(registry) && self.may_be_ahead(now)
    }

    /// Lets time pass for a manager without a link. Returns for how long it has had none, microseconds.
    pub(crate) fn pass_time(&mut self, now: u64) -> u64 {
        let unlinked = if self.owner.is_some() { 0 } else { now.saturating_sub(self.unlinked_at) };
        self.lapsed = unlinked >= STATIC_GONE_AFTER;
        unlinked
    }

    /// Its record is there no more, as this node hears at `now`. Counted is from when it was last heard: to a node
    /// that stood still itself, link and record seem to go together.
    pub(crate) fn departs(&mut self, now: u64, lease: u64) -> Departure {
        self.registered = false;
        if self.owner.is_some() || self.closed {
            return Departure::Harmless;
        }
        self.was_gone = true;
        let since = if self.received.is_some() { self.heard_at } else { self.known_at };
        let outlived = now.saturating_sub(since) > lease + lease / 4 + RECORD_LINGERS;
        match outlived {
            true => Departure::Hole,
            false if self.is_filled() => Departure::Harmless,
            false => Departure::Unheard,
        }
    }

    /// Whether it may have accepted what this node cannot have: it takes no push before every node it knows of has
    /// answered its hello, or 3 s have passed.
    pub(crate) fn may_be_ahead(&self, now: u64) -> bool {
        match self.received {
            None => self.may_be_old || now.saturating_sub(self.known_at) > TAKES_NO_PUSH,
            Some(_) => !self.is_filled(),
        }
    }

    /// Whether everything it had at hello has been received.
    pub(crate) fn is_filled(&self) -> bool {
        self.received.is_some_and(|received| received >= self.due)
    }

    pub(crate) fn status(&self, manager: u64) -> ManagerStatus {
        ManagerStatus {
            manager,
            registered: self.registered,
            linked: self.owner.is_some(),
            filled: self.is_filled(),
        }
    }
}
