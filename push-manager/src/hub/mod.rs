//! The one place where pushes, links and time meet: the log, the answers, the nodes and the state of
//! every link, under one lock that is held for a few lines and never over a wait.
//!
//! The pure modules decide, this one connects them and wakes who has to go on.

mod links;
mod members;
mod news;
mod pushes;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    task::Waker,
};

use pushcast_common::id::ManagerId;
use tokio::sync::Notify;

use crate::{
    answers::{Answers, NodeKey},
    clock::{Clock, Now},
    link_state::Identity,
    log::{Log, LogLimits},
    metrics::Metrics,
    nodes::{Change, Nodes},
    trace::{Sampler, Tracer},
};

pub(crate) use self::{
    links::LinkFailure,
    pushes::{Outcome, Refused, Ticket, Turn, Verdict},
    view::NodeView,
};

use self::{
    links::Link,
    pushes::{Mailbox, Waiter},
};

/// Whether pushes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Starting,
    Open,
    /// As `Open`, but whoever asks is told that it is draining.
    Leaving,
    Draining,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) id: ManagerId,
    pub(crate) metrics: Metrics,
    clock: Clock,
    core: Mutex<Core>,
    /// Something is due earlier than the timekeeper sleeps.
    earlier: Notify,
    /// There are changes for the fleet.
    changed: Notify,
    /// For start and stop: a link came or went, something was acknowledged.
    progress: Notify,
}

#[derive(Debug)]
struct Core {
    gate: Gate,
    log: Log,
    answers: Answers<Waiter>,
    nodes: Nodes,
    links: BTreeMap<NodeKey, Link>,
    sampler: Option<Sampler>,
    identity: Identity,
    streams: HashMap<u64, Mailbox>,
    next_stream: u64,
    changes: Vec<Change>,
    /// When the timekeeper wakes next.
    armed: u64,
    /// Collected under the lock, woken after it.
    wakes: Vec<Waker>,
}

impl Hub {
    pub(crate) fn new(id: ManagerId, limits: LogLimits, cap: u64) -> Self {
        let clock = Clock::new();
        let identity = Identity {
            manager_id: id.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            managers: Vec::new(),
            manager_gone_at: clock.now().wall,
        };
        let core = Core {
            gate: Gate::Starting,
            log: Log::new(limits),
            answers: Answers::new(cap),
            nodes: Nodes::new(),
            links: BTreeMap::new(),
            sampler: None,
            identity,
            streams: HashMap::new(),
            next_stream: 0,
            changes: Vec::new(),
            armed: u64::MAX,
            wakes: Vec::new(),
        };
        Self {
            id,
            metrics: Metrics::new(),
            clock,
            core: Mutex::new(core),
            earlier: Notify::new(),
            changed: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// Lets somebody watch.
    pub(crate) fn trace(&self, tracer: Tracer) {
        self.with(|core, _| core.sampler = Some(Sampler::new(tracer)));
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Reads or changes the core, then wakes whom the change concerns.
    fn with<R>(&self, act: impl FnOnce(&mut Core, Now) -> R) -> R {
        let (result, wakes, earlier) = {
            let mut core = self.core.lock().expect("a panic under this lock has ended the manager");
            // Read under the lock, so that times are in the order of what happens.
            let now = self.clock.now();
            let result = act(&mut core, now);
            let due = core.due();
            let earlier = due < core.armed;
            core.armed = core.armed.min(due);
            (result, std::mem::take(&mut core.wakes), earlier)
        };
        for waker in wakes {
            waker.wake();
        }
        if earlier {
            self.earlier.notify_one();
        }
        result
    }

    /// Does what is due by itself: patience and deadlines that end, old messages that go. Never
    /// returns; sleeps for as long as nothing is due.
    pub(crate) async fn keep_time(&self) {
        loop {
            let due = self.with(|core, now| {
                core.log.evict(now.mono);
                core.settle(now);
                core.armed = core.due();
                core.armed
            });
            match self.clock.instant(due) {
                None => self.earlier.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = self.earlier.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    pub(crate) fn gate(&self) -> Gate {
        self.with(|core, _| core.gate)
    }

    /// Opens or closes the manager for pushes. Streams learn of it at once.
    pub(crate) fn set_gate(&self, gate: Gate) {
        self.with(|core, _| {
            core.gate = gate;
            let waiting = core.streams.values_mut().filter_map(Mailbox::take_waker);
            core.wakes.extend(waiting);
        });
        self.progress.notify_one();
    }
}

impl Core {
    fn due(&self) -> u64 {
        self.answers.next_due().min(self.log.next_eviction().unwrap_or(u64::MAX))
    }
}
