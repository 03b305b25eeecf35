//! What links have left for one shard, and what that shard is interested in, under one lock.
//!
//! The lock is what makes positions exact: a link checks the interest and queues, or only moves the mark; a
//! join inserts its interest and takes what is queued. So no message falls between "nobody here wants it"
//! and "somebody joined". A control that puts somebody into a room is interest in that room from the moment it is
//! queued, for what follows it must be queued, too. Owns the queue and the marks; never does I/O, never waits for a
//! client. The queue is bounded by what links may have unplaced (`ingest::MAX_UNPLACED_BYTES` each).

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{key::Key, placement::Placement, position::Marks};

/// A batch of which this shard wants something.
#[derive(Debug)]
pub struct Delivery {
    /// The batch.
    pub placement: Arc<Placement>,
    /// Indexes of the messages this shard wants, ascending.
    pub wanted: Vec<u32>,
}

/// What a shard takes out of its inbox at once.
#[derive(Debug, Default)]
pub struct Taken {
    /// In the order of arrival.
    pub deliveries: Vec<Delivery>,
    /// Where the shard is once these deliveries are placed.
    pub marks: Marks,
    /// Newest arrival number at this node, placed here or not wanted here.
    pub arrival: u64,
    /// Holes, each by the number of deliveries before it.
    pub holes: Vec<usize>,
}

/// One shard's inbox.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    interest: HashMap<Key, u32, BuildHasherDefault<KeyIsHash>>,
    queue: Vec<Delivery>,
    marks: Marks,
    arrival: u64,
    holes: Vec<usize>,
}

impl Inbox {
    /// Queues what of a batch this shard wants and moves the marks behind it. True if the shard has to be
    /// woken: its queue was empty before.
    pub(crate) fn offer(&self, placement: &Arc<Placement>, arrival: u64) -> bool {
        let mut inner = self.lock();
        let batch = placement.batch();
        let mut wanted = Vec::new();
        if !inner.interest.is_empty() {
            let mut joins = batch.joins().iter().peekable();
            for index in placement.deliver_from()..batch.len() {
                if !batch.wanted(index, |key| inner.interest.contains_key(&key)) || placement.is_silent(index)
                {
                    continue;
                }
                wanted.push(index as u32);
                while let Some((at, key)) = joins.next_if(|(at, _)| *at as usize <= index) {
                    if *at as usize == index {
                        *inner.interest.entry(*key).or_insert(0) += 1;
                    }
                }
            }
        }
        if let Some(manager) = placement.manager() {
            inner.marks.advance(manager, Some(batch.last_seq()), 0);
        }
        inner.arrival = inner.arrival.max(arrival);
        if wanted.is_empty() {
            drop(inner);
            placement.finish_shard();
            return false;
        }
        inner.queue.push(Delivery { placement: Arc::clone(placement), wanted });
        inner.queue.len() == 1
    }

    /// Something is missing between what is queued and what will be. True if the shard has to be woken.
    pub(crate) fn hole(&self) -> bool {
        let mut inner = self.lock();
        let at = inner.queue.len();
        inner.holes.push(at);
        at == 0
    }

    /// Changes the marks, behind everything queued.
    pub(crate) fn mark(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.lock().marks);
    }

    /// Takes everything queued. `taken` is overwritten; its memory is used again.
    pub fn take(&self, taken: &mut Taken) {
        self.lock().take(taken);
    }

    /// Adds interest and takes everything queued, in one step: what is queued afterwards includes `keys`.
    pub fn subscribe(&self, keys: &[Key], taken: &mut Taken) {
        let mut inner = self.lock();
        for key in keys {
            *inner.interest.entry(*key).or_insert(0) += 1;
        }
        inner.take(taken);
    }

    /// Adds interest in keys that there is interest in already, so that nothing of them can have been left out.
    pub fn keep(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            *inner.interest.entry(*key).or_insert(0) += 1;
        }
    }

    /// Takes back interest that was added before.
    pub fn unsubscribe(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            let Some(count) = inner.interest.get_mut(key) else { continue };
            *count -= 1;
            if *count == 0 {
                inner.interest.remove(key);
            }
        }
    }

    /// How many different keys this shard is interested in.
    pub fn interests(&self) -> usize {
        self.lock().interest.len()
    }

    /// Every critical section leaves the inner state whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, taken: &mut Taken) {
        taken.deliveries.clear();
        std::mem::swap(&mut taken.deliveries, &mut self.queue);
        taken.holes.clear();
        std::mem::swap(&mut taken.holes, &mut self.holes);
        taken.marks.copy_from(&self.marks);
        taken.arrival = self.arrival;
    }
}

/// A key is a hash already.
#[derive(Debug, Default)]
struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
