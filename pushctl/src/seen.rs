//! Remembers message ids, so that a message that comes twice is shown once.

use std::{
    collections::{HashSet, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    time::{Duration, Instant},
};

/// How long an id is remembered: as long as the contract asks.
const AGE: Duration = Duration::from_secs(600);

/// Ids remembered at most. At about 60 bytes each this bounds a client to 4 MiB; beyond it the oldest go
/// first, and repeats come soon after their original.
const LIMIT: usize = 65_536;

/// The ids of the last 10 minutes, at most 65,536 of them.
#[derive(Debug, Default)]
pub struct Seen {
    // 128 bits of two independently keyed hashes: taking two ids for one would lose a message.
    hashers: [RandomState; 2],
    ids: HashSet<u128>,
    order: VecDeque<(Instant, u128)>,
}

impl Seen {
    /// Notes an id. False if it was noted within the last 10 minutes.
    pub fn insert(&mut self, message_id: &str) -> bool {
        self.insert_at(message_id, Instant::now())
    }

    fn insert_at(&mut self, message_id: &str, now: Instant) -> bool {
        self.forget(now);
        let [high, low] = [&self.hashers[0], &self.hashers[1]].map(|hasher| hasher.hash_one(message_id));
        let id = (u128::from(high) << 64) | u128::from(low);
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back((now, id));
        true
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.order.front() {
            if self.order.len() < LIMIT && now.duration_since(at) < AGE {
                return;
            }
            self.order.pop_front();
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_seen() {
        let mut seen = Seen::default();
        assert!(seen.insert("a-1"));
        assert!(seen.insert("a-2"));
        assert!(!seen.insert("a-1"));
    }

    #[test]
    fn ids_are_forgotten_after_ten_minutes() {
        let mut seen = Seen::default();
        let start = Instant::now();
        assert!(seen.insert_at("a-1", start));
        assert!(!seen.insert_at("a-1", start + AGE / 2));
        assert!(seen.insert_at("a-1", start + AGE));
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let mut seen = Seen::default();
        for number in 0..LIMIT + 10 {
            assert!(seen.insert(&number.to_string()));
        }
        assert_eq!(seen.ids.len(), LIMIT);
        assert_eq!(seen.order.len(), LIMIT);
        assert!(!seen.insert(&(LIMIT + 9).to_string()));
        assert!(seen.insert("0"));
    }
}
