//! Where every message enters the node, once.
//!
//! "Seen before? – arrival number – insert in the window – offer to the inboxes" is one step under one lock (DESIGN
//! 6, rule 3), so that the order of arrival is the same for every shard and for every client that resumes. One link
//! owns a manager's id at a time; a new link takes over before it says where to start. Owns what was received of
//! every manager, which managers are expected ([`crate::roster`]), the window, and what is known of requests and controls
//! ([`crate::history`] is what clients that resume ask of it); never does I/O, never waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pushcast_proto::connectnode::v1::{Ack, Fill, HandUp, Heartbeat, Hello, control};
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    batch::{Batch, Target},
    completeness::Completeness,
    controls::Controls,
    hand_ups::HandUps,
    inbox::Inbox,
    key::Keys,
    manager::Manager,
    metrics::IngestMetrics,
    placement::{Original, Placement, Silent},
    position::Marks,
    requests::{Hash, Requests, Seen},
    window::{Window, WindowLimits},
};

/// Bytes a link may have unplaced before it stops reading (HTTP/2 then stops that manager's cursor alone):
/// four of a manager's largest usual batches, enough to keep every shard busy.
pub const MAX_UNPLACED_BYTES: usize = 1024 * 1024;

/// Of the window's bytes, what may be asked of a manager as a fill: in the window a small message takes almost twice
/// what it takes on the wire.
const FILL_PART: usize = 2;

/// Of the window's bytes, what request_ids may take besides.
const REQUESTS_PART: usize = 4;

/// No manager has this id. While the registry has not been listed, `as_of` waits for it: there may be managers
/// that this node has not heard of.
pub(crate) const NOT_LISTED_YET: u64 = 0;

/// Proof of being the link that speaks for a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The manager.
    pub manager: u64,
    pub(crate) token: u64,
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

/// How an ingest is to be.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Managers are known from a registry, not only from their links.
    pub registry: bool,
    /// The lease of their records, microseconds.
    pub lease: u64,
    /// The window.
    pub window: WindowLimits,
}

impl Default for IngestSettings {
    /// The defaults of the flags, without a registry.
    fn default() -> Self {
        let window = WindowLimits { bytes: 64 << 20, age: 120_000_000 };
        Self { registry: false, lease: 10_000_000, window }
    }
}

/// The node's one entrance.
#[derive(Debug)]
pub struct Ingest {
    inner: Mutex<Inner>,
    inboxes: Vec<Arc<Inbox>>,
    wake: Vec<Arc<Notify>>,
    pub(crate) settings: IngestSettings,
    pub(crate) hand_ups: HandUps,
    metrics: IngestMetrics,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) managers: BTreeMap<u64, Manager>,
    arrivals: u64,
    tokens: u64,
    /// Since when there may be clients; microseconds.
    pub(crate) open_since: Option<u64>,
    /// The registry has said once which managers there are.
    pub(crate) listed: bool,
    pub(crate) window: Window,
    pub(crate) requests: Requests,
    pub(crate) controls: Controls,
    pub(crate) completeness: Completeness,
}

impl Ingest {
    /// An ingest that feeds `inboxes` and wakes their shards through `wake`, one each. With a registry the
    /// managers of `set_registered` are expected; without, those that linked.
    pub fn new(
        inboxes: Vec<Arc<Inbox>>,
        wake: Vec<Arc<Notify>>,
        keys: Keys,
        settings: IngestSettings,
    ) -> Self {
        debug_assert_eq!(inboxes.len(), wake.len());
        let inner = Inner {
            managers: BTreeMap::new(),
            arrivals: 0,
            tokens: 0,
            open_since: None,
            listed: !settings.registry,
            window: Window::new(settings.window),
            requests: Requests::new(settings.window.bytes / REQUESTS_PART, settings.window.age),
            controls: Controls::new(keys),
            completeness: Completeness::default(),
        };
        let ingest = Self {
            inner: Mutex::new(inner),
            inboxes,
            wake,
            hand_ups: HandUps::default(),
            metrics: IngestMetrics::default(),
            settings,
        };
        if ingest.settings.registry {
            ingest.mark_all(|marks| marks.expect(NOT_LISTED_YET, true));
        }
        ingest
    }

    /// A link said hello: it speaks for its manager from now on, holds acknowledgements up to `acked_seq`, and has
    /// to bring `newest_seq` before the node counts as filled.
    pub fn take_over(&self, hello: &Hello, now: u64) -> TakenOver {
        let mut inner = self.lock();
        let Inner { managers, tokens, completeness, .. } = &mut *inner;
        *tokens += 1;
        let token = *tokens;
        if completeness.heard_clock(hello.manager_id, hello.sent_at, now) {
            warn_of_clock(hello.manager_id, hello.sent_at, now);
        }
        completeness.manager_gone(hello.manager_id, hello.manager_gone_at, hello.sent_at);
        let state = managers.entry(hello.manager_id).or_default();
        if std::mem::take(&mut state.was_gone) && state.received.is_some() {
            // What others quote did not wait for it meanwhile.
            completeness.only_since(now);
        }
        state.owner = Some(token);
        state.due = hello.newest_seq;
        state.heard_at = now;
        state.closed = false;
        state.lapsed = false;
        if state.received.is_some() {
            state.acks.rewind(hello.acked_seq);
        }
        let taken = TakenOver {
            owner: Owner { manager: hello.manager_id, token },
            received: state.received,
            fill_bytes: (self.settings.window.bytes / FILL_PART) as u64,
            placed: Arc::clone(&state.placed),
        };
        self.expect_all(&inner);
        taken
    }

    /// Clients may connect from `now` on, microseconds. What was accepted before is for none of them but those that
    /// resume.
    pub fn open(&self, now: u64) {
        let mut inner = self.lock();
        inner.open_since.get_or_insert(now);
        if !inner.managers.values().any(Manager::is_filled) {
            inner.completeness.only_since(now);
        }
    }

    /// What follows starts where `fill` says; only for a manager of which nothing was received.
    pub fn fill(&self, owner: Owner, fill: &Fill, now: u64) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let before = fill.first_seq.saturating_sub(1);
        state.received = Some(before);
        state.due = fill.last_seq;
        state.heard_at = now;
        state.whole_from = fill.first_seq;
        state.filling_since = Some(now);
        state.acks.start(before, fill.last_seq);
        inner.completeness.filled(fill.left_out_at, fill.controls_left_out_at);
        // Left out after clients came: they miss it.
        let left_out = fill.left_out_at.saturating_add(inner.completeness.allowance());
        if fill.left_out_at > 0 && inner.open_since.is_some_and(|open| left_out > open) {
            self.hole(&mut inner, now);
        }
        self.mark_all(|marks| marks.advance(owner.manager, Some(before), 0));
        Ok(())
    }

    /// Takes controls that are older than what is filled.
    pub fn controls(&self, owner: Owner, batch: &Batch) -> Result<(), IngestError> {
        let mut inner = self.lock();
        inner.owned(owner)?;
        for index in 0..batch.len() {
            inner.note_control(batch, index, owner.manager, 0);
        }
        Ok(())
    }

    /// Takes a batch: drops what arrived before, numbers the rest, keeps it in the window and offers it to every
    /// shard. Returns how many messages were new. `now` in microseconds.
    pub fn offer(&self, owner: Owner, batch: Batch, now: u64) -> Result<Offered, IngestError> {
        let mut inner = self.lock();
        let (arrivals, open_since) = (inner.arrivals, inner.open_since.unwrap_or(0));
        let allowance = inner.completeness.allowance();
        let state = inner.owned(owner)?;
        state.heard_at = now;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if batch.first_seq() > received + 1 {
            return Err(IngestError::Hole { expected: received + 1, got: batch.first_seq() });
        }
        let skip = (received + 1 - batch.first_seq()) as usize;
        if skip >= batch.len() {
            return Ok(Offered { new: 0, repeats: 0 });
        }
        let new = batch.len() - skip;
        state.received = Some(batch.last_seq());
        let filled = if state.is_filled() { state.filling_since.take() } else { None };
        let placed = Arc::clone(&state.placed);
        let due = state.due;
        let has_requests = batch.has_requests();
        let mut placement = Placement::new(
            batch,
            Some(owner.manager),
            arrivals + 1,
            skip,
            self.inboxes.len(),
            Arc::clone(&placed),
        );
        placement.withhold(|message| {
            message.seq <= due && message.accepted_at < open_since.saturating_sub(allowance)
        });
        let sorted = if has_requests { inner.sort_requests(&placement, &placed) } else { Sorted::default() };
        placement.silence(sorted.silent);
        let placement = Arc::new(placement);
        for (key, hash, index) in sorted.fresh {
            inner.requests.insert(key, hash, &placement, index, now);
        }
        inner.owned(owner)?.acks.offered(Arc::clone(&placement));
        inner.arrivals += new as u64;
        self.keep(&mut inner, &placement);
        self.offer_to_shards(&placement, inner.arrivals);
        if let Some(since) = filled {
            self.metrics.filled(now.saturating_sub(since));
        }
        Ok(Offered { new, repeats: sorted.repeats })
    }

    /// Puts a batch into the window, and its controls aside.
    fn keep(&self, inner: &mut Inner, placement: &Arc<Placement>) {
        let Inner { window, requests, .. } = inner;
        window.insert(placement, |gone| requests.let_go(gone));
        let batch = placement.batch();
        if !batch.has_controls() {
            return;
        }
        let manager = placement.manager().unwrap_or_default();
        for index in placement.skip()..batch.len() {
            if let Target::Control(control) = batch.message(index).target
                && !placement.is_silent(index)
            {
                if let Some(control::Action::Claim(claim)) = &control.action {
                    self.hand_ups.came_down(claim.nonce);
                }
                inner.note_control(batch, index, manager, placement.arrival(index));
            }
        }
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

    /// The manager's log no longer has the seqs up to `to`: a hole. Returns how many are lost.
    pub fn gap(&self, owner: Owner, to: u64, now: u64) -> Result<u64, IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        state.heard_at = now;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if to <= received {
            return Ok(0);
        }
        state.received = Some(to);
        state.whole_from = to + 1;
        state.acks.skipped(to);
        self.hole(&mut inner, now);
        self.mark_all(|marks| marks.advance(owner.manager, Some(to), 0));
        Ok(to - received)
    }

    /// Something is missing here from now on: who is connected has to go elsewhere.
    pub(crate) fn hole(&self, inner: &mut Inner, now: u64) {
        inner.completeness.only_since(now);
        if inner.open_since.is_none() {
            return;
        }
        self.metrics.hole();
        for (inbox, wake) in self.inboxes.iter().zip(&self.wake) {
            if inbox.hole() {
                wake.notify_one();
            }
        }
    }

    /// A heartbeat: everything accepted up to `through` came before it, the manager holds acknowledgements
    /// up to `acked_seq` and knows `managers` to be registered.
    pub fn heartbeat(&self, owner: Owner, beat: &Heartbeat, now: u64) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if beat.sent_seq != received {
            return Err(IngestError::Hole { expected: received + 1, got: beat.sent_seq.saturating_add(1) });
        }
        state.heard_at = now;
        state.acks.confirm(beat.acked_seq);
        if inner.completeness.heard_clock(owner.manager, beat.sent_at, now) {
            warn_of_clock(owner.manager, beat.sent_at, now);
        }
        inner.completeness.manager_gone(owner.manager, beat.manager_gone_at, beat.sent_at);
        self.mark_all(|marks| marks.advance(owner.manager, None, beat.through));
        let just_came = inner.just_came(now);
        let Inner { managers, completeness, .. } = &mut *inner;
        for (manager, state) in managers {
            if !beat.managers.contains(manager) && state.unnamed(owner.manager, self.settings.registry, now) {
                completeness.only_since(now);
            }
        }
        for manager in &beat.managers {
            let state = inner.managers.entry(*manager).or_default();
            if state.named_by.insert(owner.manager) && !state.registered {
                state.known_at = now;
                state.may_be_old |= just_came;
            }
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

    /// The next control for the link to hand up, if there is one.
    pub fn next_hand_up(&self, owner: Owner, now: u64) -> Option<HandUp> {
        self.hand_ups.next(owner.token, now)
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

    fn offer_to_shards(&self, placement: &Arc<Placement>, arrival: u64) {
        for (inbox, wake) in self.inboxes.iter().zip(&self.wake) {
            if inbox.offer(placement, arrival) {
                wake.notify_one();
            }
        }
    }

    pub(crate) fn mark_all(&self, mut change: impl FnMut(&mut Marks)) {
        for inbox in &self.inboxes {
            inbox.mark(&mut change);
        }
    }

    /// Every critical section leaves the inner state whole, so a panic elsewhere does not spoil it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of_clock(manager: u64, sent_at: u64, now: u64) {
    let ahead_ms = sent_at as i64 / 1000 - now as i64 / 1000;
    warn!(manager = format!("{manager:016x}"), ahead_ms, "A manager's clock is far from this node's.");
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// Messages that had not arrived before.
    pub new: usize,
    /// Those of them that nobody gets because their request_id was known.
    pub repeats: usize,
}

/// The messages of a batch by what is known of their request_ids.
#[derive(Debug, Default)]
struct Sorted {
    silent: Silent,
    /// Key, hash and index of those that are new.
    fresh: Vec<(Hash, Hash, usize)>,
    repeats: usize,
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
    pub(crate) fn owned(&mut self, owner: Owner) -> Result<&mut Manager, IngestError> {
        self.managers
            .get_mut(&owner.manager)
            .filter(|state| state.owner == Some(owner.token))
            .ok_or(IngestError::Superseded)
    }

    /// Looks every request_id of a batch up. A repeat becomes another identity of its original.
    fn sort_requests(&mut self, placement: &Placement, placed: &Arc<Notify>) -> Sorted {
        let mut sorted = Sorted::default();
        // What came earlier in this very batch.
        let mut here: HashMap<Hash, (Hash, usize)> = HashMap::new();
        let (batch, manager) = (placement.batch(), placement.manager().unwrap_or_default());
        for index in placement.skip()..batch.len() {
            let message = batch.message(index);
            let (Ok(key), Ok(hash)) =
                (Hash::try_from(message.request_key), Hash::try_from(message.request_hash))
            else {
                continue;
            };
            let seen = match here.get(&key) {
                Some((first, at)) if *first == hash => {
                    Seen::Same { arrival: placement.arrival(*at), original: Original::Here(*at) }
                }
                Some(_) => Seen::Other,
                None => self.requests.seen(&key, &hash),
            };
            match seen {
                Seen::Never => {
                    here.insert(key, (hash, index));
                    sorted.fresh.push((key, hash, index));
                    continue;
                }
                Seen::Same { arrival, original } => {
                    if let Original::There(there, _) = &original {
                        there.notify_too(placed);
                    }
                    self.window.repeat(arrival, (manager, message.seq));
                    sorted.silent.repeat(index, original);
                }
                Seen::Other => sorted.silent.conflict(index),
            }
            sorted.repeats += 1;
        }
        sorted
    }

    fn note_control(&mut self, batch: &Batch, index: usize, manager: u64, arrival: u64) {
        if let Some(forgotten) = self.controls.note(batch, index, manager, arrival) {
            self.completeness.controls_only_since(forgotten);
        }
    }

    pub(crate) fn forget_old(&mut self, now: u64) {
        let Self { window, requests, controls, completeness, .. } = self;
        window.expire(now, |gone| requests.let_go(gone));
        requests.expire(now);
        completeness.controls_only_since(controls.expire(now));
    }
}
