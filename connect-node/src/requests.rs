//! Which request_ids this node has seen, so that a retry through any manager is not delivered again.
//!
//! Remembers the 128-bit hash of (app, request_id) for the window's age and within a bound of its own; beyond it the
//! oldest are forgotten, and the horizon that is exported says how far back it reaches. Never does I/O, reads no clock.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::placement::{Original, Placement};

/// 16 bytes of a hash.
pub(crate) type Hash = [u8; 16];

/// What one request takes, its place in the order included.
const REQUEST_BYTES: usize = size_of::<(Hash, Request)>() + size_of::<(u64, Hash)>() + 8;

/// A message that came with a request_id.
#[derive(Debug)]
struct Request {
    /// Of all that makes the message what it is.
    hash: Hash,
    arrival: u64,
    original: Original,
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Requests {
    known: HashMap<Hash, Request>,
    /// When each came, microseconds by the node's clock, ascending.
    order: VecDeque<(u64, Hash)>,
    most: usize,
    age: u64,
}

/// What is known of a request_id.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is new.
    Never,
    /// The same message, with its arrival number and its counts.
    Same { arrival: u64, original: Original },
    /// Another message.
    Other,
}

impl Requests {
    /// Remembers requests for `age` microseconds and within `bytes`.
    pub(crate) fn new(bytes: usize, age: u64) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), most: (bytes / REQUEST_BYTES).max(1), age }
    }

    /// Looks a request up.
    pub(crate) fn seen(&self, key: &Hash, hash: &[u8]) -> Seen {
        match self.known.get(key) {
            None => Seen::Never,
            Some(request) if request.hash == hash => {
                Seen::Same { arrival: request.arrival, original: request.original.clone() }
            }
            Some(_) => Seen::Other,
        }
    }

    /// Remembers a request that is new.
    pub(crate) fn insert(
        &mut self,
        key: Hash,
        hash: Hash,
        placement: &Arc<Placement>,
        index: usize,
        now: u64,
    ) {
        if self.order.len() >= self.most {
            self.forget_oldest();
        }
        let original = Original::There(Arc::clone(placement), index);
        self.known.insert(key, Request { hash, arrival: placement.arrival(index), original });
        self.order.push_back((now, key));
    }

    /// A batch leaves the window: what is remembered of its messages must not keep it alive.
    pub(crate) fn let_go(&mut self, placement: &Arc<Placement>) {
        if !placement.batch().has_requests() || !placement.is_placed() {
            return;
        }
        for index in placement.skip()..placement.batch().len() {
            let Ok(key) = Hash::try_from(placement.batch().message(index).request_key) else { continue };
            if let Some(request) = self.known.get_mut(&key)
                && request.arrival == placement.arrival(index)
            {
                request.original = Original::Counted(placement.counts(index));
            }
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: u64) {
        let too_old = now.saturating_sub(self.age);
        while self.order.front().is_some_and(|(at, _)| *at < too_old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Microseconds since the oldest that is remembered came; 0 if none is.
    pub(crate) fn horizon(&self, now: u64) -> u64 {
        self.order.front().map_or(0, |(at, _)| now.saturating_sub(*at))
    }
}
