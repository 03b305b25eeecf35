//! One batch on its way through the shards: what they share until the last of them has placed it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

use crate::batch::{Batch, Message};

/// What is beside a batch because it and its bytes are shared: two counts each, and where the bytes are.
const SHARED_BYTES: usize = 16 + 40;

/// A batch, its counts, and how many shards still have to place it.
#[derive(Debug)]
pub struct Placement {
    batch: Batch,
    /// `None` for a push to this node alone, which has no identity.
    manager: Option<u64>,
    first_arrival: u64,
    /// Messages before this index had arrived before.
    skip: usize,
    /// Messages before this index are for nobody here.
    deliver_from: usize,
    silent: Silent,
    remaining: AtomicU32,
    recipients: Box<[AtomicU32]>,
    /// Of messages to several users: index and connections per user, ascending.
    by_user: Mutex<Vec<(usize, Vec<u32>)>>,
    placed: Arc<Notify>,
    /// Links that wait to acknowledge a repeat of one of these messages.
    others: Mutex<Vec<Arc<Notify>>>,
}

/// Messages that nobody gets because their request_id was known. All indexes ascend.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    indexes: Vec<u32>,
    repeats: Mutex<Vec<(usize, Original)>>,
    conflicts: Vec<u32>,
}

impl Silent {
    /// The message at `index` repeats another one.
    pub(crate) fn repeat(&mut self, index: usize, original: Original) {
        self.indexes.push(index as u32);
        self.repeats.get_mut().unwrap_or_else(PoisonError::into_inner).push((index, original));
    }

    /// The message at `index` has the request_id of another one that it does not repeat.
    pub(crate) fn conflict(&mut self, index: usize) {
        self.indexes.push(index as u32);
        self.conflicts.push(index as u32);
    }
}

/// Where the counts of a repeated message are.
#[derive(Debug, Clone)]
pub(crate) enum Original {
    /// At this index of the same batch.
    Here(usize),
    /// At this index of another one.
    There(Arc<Placement>, usize),
    /// Known already.
    Counted(Counts),
}

/// Connections a message was placed in, and for one to several users those per user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) recipients: u32,
    pub(crate) by_user: Vec<u32>,
}

impl Placement {
    pub(crate) fn new(
        batch: Batch,
        manager: Option<u64>,
        first_arrival: u64,
        skip: usize,
        shards: usize,
        placed: Arc<Notify>,
    ) -> Self {
        let recipients = (0..batch.len()).map(|_| AtomicU32::new(0)).collect();
        let remaining = AtomicU32::new(u32::try_from(shards).unwrap_or(u32::MAX));
        Self {
            batch,
            manager,
            first_arrival,
            skip,
            deliver_from: skip,
            silent: Silent::default(),
            remaining,
            recipients,
            by_user: Mutex::new(Vec::new()),
            placed,
            others: Mutex::new(Vec::new()),
        }
    }

    /// Keeps the first messages from everybody, as long as `old` holds for them.
    pub(crate) fn withhold(&mut self, old: impl Fn(&Message<'_>) -> bool) {
        while self.deliver_from < self.batch.len() && old(&self.batch.message(self.deliver_from)) {
            self.deliver_from += 1;
        }
    }

    /// Keeps these messages from everybody.
    pub(crate) fn silence(&mut self, silent: Silent) {
        self.silent = silent;
    }

    /// First message that may be for somebody.
    pub(crate) fn deliver_from(&self) -> usize {
        self.deliver_from
    }

    /// Whether the message at `index` is kept from everybody because its request_id was known.
    pub(crate) fn is_silent(&self, index: usize) -> bool {
        !self.silent.indexes.is_empty() && self.silent.indexes.binary_search(&(index as u32)).is_ok()
    }

    /// Seqs of messages whose request_id is known with another target or content.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = u64> {
        self.silent.conflicts.iter().map(|index| self.batch.message(*index as usize).seq)
    }

    /// The messages.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The manager whose messages these are, if they have an identity.
    pub fn manager(&self) -> Option<u64> {
        self.manager
    }

    /// Arrival number of the message at `index`: this node's own order of everything it received.
    pub fn arrival(&self, index: usize) -> u64 {
        self.first_arrival + (index - self.skip) as u64
    }

    /// Arrival number of its first message.
    pub(crate) fn first_arrival(&self) -> u64 {
        self.first_arrival
    }

    /// First message that had not arrived before.
    pub fn skip(&self) -> usize {
        self.skip
    }

    /// A shard placed the message at `index` in `connections` connections.
    pub fn count(&self, index: usize, connections: u32) {
        self.recipients[index].fetch_add(connections, Ordering::Relaxed);
    }

    /// A shard placed the message to several users at `index`; `connections` is per user, in their order.
    pub fn count_by_user(&self, index: usize, connections: &[u32]) {
        let mut by_user = self.by_user();
        match by_user.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) => by_user[at].1.iter_mut().zip(connections).for_each(|(sum, n)| *sum += n),
            // Shards go upwards: nearly always the end.
            Err(at) => by_user.insert(at, (index, connections.to_vec())),
        }
    }

    /// A shard has placed all of the batch that it wants. Call once per shard, after the counts.
    pub fn finish_shard(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.placed.notify_one();
            self.others().drain(..).for_each(|other| other.notify_one());
        }
    }

    /// Whether every shard has finished; then the counts are final.
    pub fn is_placed(&self) -> bool {
        self.remaining.load(Ordering::Acquire) == 0
    }

    /// Has `other` notified, too, once every shard has finished.
    pub(crate) fn notify_too(&self, other: &Arc<Notify>) {
        self.others().push(Arc::clone(other));
        if self.is_placed() {
            other.notify_one();
        }
    }

    /// Whether the counts of all messages are final, those of the repeats too.
    pub(crate) fn is_settled(&self) -> bool {
        let placed = |(_, original): &(usize, Original)| match original {
            Original::There(placement, _) => placement.is_placed(),
            Original::Here(_) | Original::Counted(_) => true,
        };
        self.is_placed() && (self.silent.indexes.is_empty() || self.repeats().iter().all(placed))
    }

    /// The repeats with the counts of their originals, ascending. To be taken once settled.
    pub(crate) fn take_repeats(&self) -> Vec<(usize, Counts)> {
        if self.silent.indexes.is_empty() {
            return Vec::new();
        }
        let repeats = std::mem::take(&mut *self.repeats());
        let counts = |original| match original {
            Original::Here(index) => self.counts(index),
            Original::There(placement, index) => placement.counts(index),
            Original::Counted(counts) => counts,
        };
        repeats.into_iter().map(|(index, original)| (index, counts(original))).collect()
    }

    /// Connections the message at `index` was placed in so far.
    pub fn recipients(&self, index: usize) -> u32 {
        self.recipients[index].load(Ordering::Relaxed)
    }

    /// The counts of the message at `index` so far.
    pub(crate) fn counts(&self, index: usize) -> Counts {
        let by_user = self.by_user();
        let at = by_user.binary_search_by_key(&index, |(at, _)| *at);
        Counts {
            recipients: self.recipients(index),
            by_user: at.map(|at| by_user[at].1.clone()).unwrap_or_default(),
        }
    }

    /// Counts per user of the messages to several users, by index. A message that nobody here was for is left
    /// out.
    pub(crate) fn counts_by_user(&self) -> Vec<(usize, Vec<u32>)> {
        self.by_user().clone()
    }

    fn by_user(&self) -> MutexGuard<'_, Vec<(usize, Vec<u32>)>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> MutexGuard<'_, Vec<Arc<Notify>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn repeats(&self) -> MutexGuard<'_, Vec<(usize, Original)>> {
        self.silent.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that it keeps alive.
    pub(crate) fn bytes(&self) -> usize {
        SHARED_BYTES + size_of::<Self>() + self.batch.bytes() + self.recipients.len() * size_of::<AtomicU32>()
    }
}
