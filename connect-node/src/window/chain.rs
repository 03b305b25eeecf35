//! The window's index: every key of every message, in order, chained from the newest back by bucket.

use std::collections::VecDeque;

use crate::key::Key;

/// Buckets of keys. A bucket that two rooms share makes a client of the quiet one look like one of the busy one:
/// with a hundred rooms busy enough to be evicted that is one client in 650.
const BUCKETS: usize = 64 * 1024;

/// Links in one block: 24 KiB. A vector that doubled would copy 11 MB at 460,000 messages, a stall of 4 ms.
const BLOCK: usize = 1024;

/// One key of one message.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    key: Key,
    arrival: u64,
    /// The link before it in its bucket, as in `heads`.
    before: u64,
}

/// See the file. Links are numbered from 1; 0 is none.
#[derive(Debug)]
pub(super) struct Chains {
    blocks: VecDeque<Box<[Link; BLOCK]>>,
    /// Number of the first link in the first block.
    first_of_blocks: u64,
    /// Oldest link that counts, and the number of the next one.
    first: u64,
    next: u64,
    /// By bucket: its newest link.
    heads: Box<[u64]>,
    /// By bucket: accept time of the newest message that went.
    evicted: Box<[u64]>,
    newest_evicted: u64,
}

impl Default for Chains {
    fn default() -> Self {
        let table = || vec![0; BUCKETS].into_boxed_slice();
        Self {
            blocks: VecDeque::new(),
            first_of_blocks: 1,
            first: 1,
            next: 1,
            heads: table(),
            evicted: table(),
            newest_evicted: 0,
        }
    }
}

fn bucket(key: Key) -> usize {
    key as usize % BUCKETS
}

impl Chains {
    /// Number that the next link will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, key: Key, arrival: u64) {
        let at = (self.next - self.first_of_blocks) as usize;
        if at == self.blocks.len() * BLOCK {
            self.blocks.push_back(Box::new([Link::default(); BLOCK]));
        }
        let before = std::mem::replace(&mut self.heads[bucket(key)], self.next);
        self.blocks[at / BLOCK][at % BLOCK] = Link { key, arrival, before };
        self.next += 1;
    }

    /// Lets go of the oldest links, those from `first` to before `end`.
    pub(super) fn pop(&mut self, first: u64, end: u64, accepted_at: impl Fn(u64) -> u64) {
        for number in first..end {
            let link = *self.link(number);
            let evicted = &mut self.evicted[bucket(link.key)];
            *evicted = (*evicted).max(accepted_at(link.arrival));
            self.newest_evicted = self.newest_evicted.max(link.arrival);
        }
        self.first = end;
        while self.first >= self.first_of_blocks + BLOCK as u64 && self.blocks.pop_front().is_some() {
            self.first_of_blocks += BLOCK as u64;
        }
    }

    /// Tells the arrival numbers of a key's messages from `through` back to `from`.
    pub(super) fn walk(&self, key: Key, from: u64, through: u64, mut found: impl FnMut(u64)) {
        let mut number = self.heads[bucket(key)];
        while number >= self.first {
            let link = self.link(number);
            if link.arrival < from {
                return;
            }
            if link.key == key && link.arrival <= through {
                found(link.arrival);
            }
            number = link.before;
        }
    }

    /// Accept time of the newest message that went and may have had this key.
    pub(super) fn evicted_at(&self, key: Key) -> u64 {
        self.evicted[bucket(key)]
    }

    /// Arrival number of the newest message that went.
    pub(super) fn newest_evicted(&self) -> u64 {
        self.newest_evicted
    }

    pub(super) fn bytes(&self) -> usize {
        2 * BUCKETS * size_of::<u64>() + self.blocks.len() * size_of::<[Link; BLOCK]>()
    }

    fn link(&self, number: u64) -> &Link {
        let at = (number - self.first_of_blocks) as usize;
        &self.blocks[at / BLOCK][at % BLOCK]
    }
}
