//! Where every message enters the node, once.
//!
//! "Seen before? – arrival number – offer to the inboxes" is one step under one lock (DESIGN 6, rule 3), so
//! that the order of arrival is the same for every shard. One link owns a manager's id at a time; a new link
//! takes over before it says where to start. Owns what was received of every manager and which managers are
//! expected; never does I/O, never waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pushcast_proto::connectnode::v1::Ack;
use tokio::sync::Notify;

use crate::{
    batch::Batch,
    inbox::Inbox,
    manager::{Manager, ManagerStatus},
    metrics::IngestMetrics,
    placement::Placement,
    position::Marks,
};

/// Bytes a link may have unplaced before it stops reading (HTTP/2 then stops that manager's cursor alone):
/// four of a manager's largest usual batches, enough to keep every shard busy.
pub const MAX_UNPLACED_BYTES: usize = 1024 * 1024;

/// Newest bytes of a manager's log that a node with clients asks for when it has nothing of that manager: what
/// it accepted while this node could not be linked is pending here. As much as a window will hold.
const FILL_BYTES: u64 = 64 << 20;

/// How far a manager's clock may be behind this node's, microseconds (DESIGN 6, rule 10).
const CLOCK_ALLOWANCE: u64 = 5_000_000;

/// No manager has this id. While the registry has not been listed, `as_of` waits for it: there may be managers
/// that this node has not heard of.
const NOT_LISTED_YET: u64 = 0;

/// Proof of being the link that speaks for a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The manager.
    pub manager: u64,
    token: u64,
}

/// Why ingest takes nothing from a link; the link has to end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IngestError {
    /// A newer link of the same manager took over.
    #[error("a newer link of this manager took over")]
    Superseded,
    /// A seq is missing.
    #[error("seq {got} came where {expected} was due")]
    Hole {
        /// The seq that was due.
        expected: u64,
        /// The seq that came.
        got: u64,
    },
    /// Messages came before it was clear where they start.
    #[error("messages came before Fill")]
    NotStarted,
}

/// What a link needs to know when it takes over.
#[derive(Debug)]
pub struct TakenOver {
    /// To be shown with everything the link brings.
    pub owner: Owner,
    /// Last seq received of this manager; `None` if nothing ever was.
    pub received: Option<u64>,
    /// How much of the manager's log to ask for if nothing ever was.
    pub fill_bytes: u64,
    /// Notified when a batch of this manager is placed by all shards.
    pub placed: Arc<Notify>,
}

/// The node's one entrance.
#[derive(Debug)]
pub struct Ingest {
    inner: Mutex<Inner>,
    inboxes: Vec<Arc<Inbox>>,
    wake: Vec<Arc<Notify>>,
    /// Managers are known from a registry, not only from their links.
    registry: bool,
    metrics: IngestMetrics,
}

#[derive(Debug, Default)]
struct Inner {
    managers: BTreeMap<u64, Manager>,
    arrivals: u64,
    tokens: u64,
    /// Since when there may be clients; microseconds.
    open_since: Option<u64>,
}

impl Ingest {
    /// An ingest that feeds `inboxes` and wakes their shards through `wake`, one each. With `registry` the
    /// managers of `set_registered` are expected; without, those that linked.
    pub fn new(inboxes: Vec<Arc<Inbox>>, wake: Vec<Arc<Notify>>, registry: bool) -> Self {
        debug_assert_eq!(inboxes.len(), wake.len());
        let metrics = IngestMetrics::default();
        let ingest = Self { inner: Mutex::default(), inboxes, wake, registry, metrics };
        if registry {
            ingest.mark_all(|marks| marks.expect(NOT_LISTED_YET, true));
        }
        ingest
    }

    /// A link of `manager` said hello: it speaks for it from now on, and holds acknowledgements up to
    /// `acked_seq`; `newest_seq` is what it has to bring before the node counts as filled.
    pub fn take_over(&self, manager: u64, newest_seq: u64, acked_seq: u64) -> TakenOver {
        let mut inner = self.lock();
        inner.tokens += 1;
        let token = inner.tokens;
        // Nobody here could have missed anything before there were clients.
        let fill_bytes = if inner.open_since.is_some() { FILL_BYTES } else { 0 };
        let state = inner.managers.entry(manager).or_default();
        state.owner = Some(token);
        state.due = newest_seq;
        state.closed = false;
        state.lapsed = false;
        if state.received.is_some() {
            state.acks.rewind(acked_seq);
        }
        let taken = TakenOver {
            owner: Owner { manager, token },
            received: state.received,
            fill_bytes,
            placed: Arc::clone(&state.placed),
        };
        self.expect_all(&inner);
        taken
    }

    /// Clients may connect from `now` on, microseconds. What was accepted before is for none of them.
    pub fn open(&self, now: u64) {
        self.lock().open_since.get_or_insert(now);
    }

    /// What follows starts at `first_seq`; only for a manager of which nothing was received.
    pub fn fill(&self, owner: Owner, first_seq: u64, last_seq: u64) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let before = first_seq.saturating_sub(1);
        state.received = Some(before);
        state.due = last_seq;
        state.acks.start(before, last_seq);
        self.mark_all(|marks| marks.advance(owner.manager, Some(before), 0));
        Ok(())
    }

    /// Takes a batch: drops what arrived before, numbers the rest and offers it to every shard. Returns how
    /// many messages were new.
    pub fn offer(&self, owner: Owner, batch: Batch) -> Result<usize, IngestError> {
        let mut inner = self.lock();
        let (arrivals, open_since) = (inner.arrivals, inner.open_since.unwrap_or(0));
        let state = inner.owned(owner)?;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if batch.first_seq() > received + 1 {
            return Err(IngestError::Hole { expected: received + 1, got: batch.first_seq() });
        }
        let skip = (received + 1 - batch.first_seq()) as usize;
        if skip >= batch.len() {
            return Ok(0);
        }
        let new = batch.len() - skip;
        state.received = Some(batch.last_seq());
        let placed = Arc::clone(&state.placed);
        let due = state.due;
        let mut placement =
            Placement::new(batch, Some(owner.manager), arrivals + 1, skip, self.inboxes.len(), placed);
        placement.withhold(|message| {
            message.seq <= due && message.accepted_at < open_since.saturating_sub(CLOCK_ALLOWANCE)
        });
        let placement = Arc::new(placement);
        state.acks.offered(Arc::clone(&placement));
        inner.arrivals += new as u64;
        self.offer_to_shards(&placement, inner.arrivals);
        Ok(new)
    }

    /// Takes a push to this node alone: it has no identity, moves no mark and is acknowledged to nobody.
    pub fn offer_direct(&self, batch: Batch, placed: Arc<Notify>) -> Arc<Placement> {
        let mut inner = self.lock();
        let placement = Placement::new(batch, None, inner.arrivals + 1, 0, self.inboxes.len(), placed);
        let placement = Arc::new(placement);
        inner.arrivals += placement.batch().len() as u64;
        self.offer_to_shards(&placement, inner.arrivals);
        placement
    }

    /// The manager's log no longer has the seqs up to `to`. Returns how many are lost.
    pub fn gap(&self, owner: Owner, to: u64) -> Result<u64, IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if to <= received {
            return Ok(0);
        }
        state.received = Some(to);
        state.acks.skipped(to);
        self.mark_all(|marks| marks.advance(owner.manager, Some(to), 0));
        Ok(to - received)
    }

    /// A heartbeat: everything accepted up to `through` came before it, the manager holds acknowledgements
    /// up to `acked_seq` and knows `named` to be registered.
    pub fn heartbeat(
        &self,
        owner: Owner,
        sent_seq: u64,
        through: u64,
        acked_seq: u64,
        named: &[u64],
    ) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if sent_seq != received {
            return Err(IngestError::Hole { expected: received + 1, got: sent_seq.saturating_add(1) });
        }
        state.acks.confirm(acked_seq);
        self.mark_all(|marks| marks.advance(owner.manager, None, through));
        for (manager, state) in &mut inner.managers {
            if !named.contains(manager) {
                state.named_by.remove(&owner.manager);
            }
        }
        for manager in named {
            inner.managers.entry(*manager).or_default().named_by.insert(owner.manager);
        }
        self.expect_all(&inner);
        Ok(())
    }

    /// The manager ended cleanly: nothing more is expected of it.
    pub fn close(&self, owner: Owner) -> Result<(), IngestError> {
        let mut inner = self.lock();
        inner.owned(owner)?.closed = true;
        self.expect_all(&inner);
        Ok(())
    }

    /// The link ended, for whatever reason.
    pub fn link_down(&self, owner: Owner, now: u64) {
        let mut inner = self.lock();
        if let Ok(state) = inner.owned(owner) {
            state.owner = None;
            state.unlinked_at = now;
            for state in inner.managers.values_mut() {
                state.named_by.remove(&owner.manager);
            }
            self.expect_all(&inner);
        }
    }

    /// The managers the registry has now; to be called once it has been listed, and when it changes.
    pub fn set_registered(&self, registered: &[u64]) {
        let mut inner = self.lock();
        for manager in registered {
            inner.managers.entry(*manager).or_default();
        }
        for (manager, state) in &mut inner.managers {
            state.registered = registered.contains(manager);
        }
        self.mark_all(|marks| marks.forget(NOT_LISTED_YET));
        self.expect_all(&inner);
    }

    /// Lets go of managers that are gone: at once those that nothing was received of, after `keep`
    /// microseconds the others. To be called every few seconds.
    pub fn expire(&self, now: u64, keep: u64) {
        let mut inner = self.lock();
        let registry = self.registry;
        inner.managers.retain(|manager, state| {
            let unlinked = state.pass_time(now);
            let kept = state.received.is_some() && unlinked < keep;
            let stays = state.expected(registry) || kept;
            if !stays {
                self.mark_all(|marks| marks.forget(*manager));
            }
            stays
        });
        self.expect_all(&inner);
    }

    /// The next acknowledgement for the link, if there is one.
    pub fn next_ack(&self, owner: Owner) -> Result<Option<Ack>, IngestError> {
        let (ack, arrived) = {
            let mut inner = self.lock();
            let acks = &mut inner.owned(owner)?.acks;
            (acks.next(), acks.take_arrived())
        };
        self.metrics.arrived(arrived);
        Ok(ack)
    }

    /// Whether the link may bring another batch now, and what was received and placed of its manager.
    pub fn progress(&self, owner: Owner) -> Result<Progress, IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        Ok(Progress {
            has_room: state.acks.unplaced_bytes() < MAX_UNPLACED_BYTES,
            received: state.received.unwrap_or(0),
            placed: state.acks.placed(),
        })
    }

    /// Every manager this node knows of.
    pub fn managers(&self) -> Vec<ManagerStatus> {
        let inner = self.lock();
        inner.managers.iter().map(|(manager, state)| state.status(*manager)).collect()
    }

    fn offer_to_shards(&self, placement: &Arc<Placement>, arrival: u64) {
        for (inbox, wake) in self.inboxes.iter().zip(&self.wake) {
            if inbox.offer(placement, arrival) {
                wake.notify_one();
            }
        }
    }

    fn expect_all(&self, inner: &Inner) {
        self.mark_all(|marks| {
            for (manager, state) in &inner.managers {
                marks.expect(*manager, state.expected(self.registry));
            }
        });
    }

    fn mark_all(&self, mut change: impl FnMut(&mut Marks)) {
        for inbox in &self.inboxes {
            inbox.mark(&mut change);
        }
    }

    /// Every critical section leaves the inner state whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a link's messages have come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Another batch may be read.
    pub has_room: bool,
    /// Last seq received.
    pub received: u64,
    /// Last seq placed by every shard.
    pub placed: u64,
}

impl Inner {
    fn owned(&mut self, owner: Owner) -> Result<&mut Manager, IngestError> {
        self.managers
            .get_mut(&owner.manager)
            .filter(|state| state.owner == Some(owner.token))
            .ok_or(IngestError::Superseded)
    }
}
