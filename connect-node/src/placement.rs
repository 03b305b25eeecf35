//! One batch on its way through the shards: what they share until the last of them has placed it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use pushcast_proto::connectnode::v1::UserCounts;
use tokio::sync::Notify;

use crate::batch::{Batch, Message};

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
    remaining: AtomicU32,
    recipients: Box<[AtomicU32]>,
    /// Of messages to several users: index and connections per user, ascending.
    by_user: Mutex<Vec<(usize, Vec<u32>)>>,
    placed: Arc<Notify>,
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
        let by_user = Mutex::new(Vec::new());
        Self {
            batch,
            manager,
            first_arrival,
            skip,
            deliver_from: skip,
            remaining,
            recipients,
            by_user,
            placed,
        }
    }

    /// Keeps the first messages from everybody, as long as `old` holds for them.
    pub(crate) fn withhold(&mut self, old: impl Fn(&Message<'_>) -> bool) {
        while self.deliver_from < self.batch.len() && old(&self.batch.message(self.deliver_from)) {
            self.deliver_from += 1;
        }
    }

    /// First message that may be for somebody.
    pub(crate) fn deliver_from(&self) -> usize {
        self.deliver_from
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
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
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
        }
    }

    /// Whether every shard has finished; then the counts are final.
    pub fn is_placed(&self) -> bool {
        self.remaining.load(Ordering::Acquire) == 0
    }

    /// Connections the message at `index` was placed in so far.
    pub fn recipients(&self, index: usize) -> u32 {
        self.recipients[index].load(Ordering::Relaxed)
    }

    /// Counts per user of the messages to several users, in the order of seqs. A message that nobody here
    /// was for is left out.
    pub(crate) fn take_by_user(&self) -> Vec<UserCounts> {
        let by_user = std::mem::take(&mut *self.by_user.lock().unwrap_or_else(PoisonError::into_inner));
        by_user
            .into_iter()
            .map(|(index, recipients)| UserCounts { seq: self.batch.message(index).seq, recipients })
            .collect()
    }
}
