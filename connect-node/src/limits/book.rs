//! Who has how many connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts by key. One lock is enough: it is held for one look-up, where a connection begins and where it ends.
#[derive(Debug)]
pub struct Book<K> {
    counts: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Book<K> {
    fn default() -> Self {
        Self { counts: Mutex::default() }
    }
}

impl<K: Copy + Eq + Hash> Book<K> {
    /// Counts one more for a key until the place is dropped; `None` if it has `most` already.
    pub fn enter(self: &Arc<Self>, key: K, most: u32) -> Option<Place<K>> {
        match self.lock().entry(key) {
            Entry::Occupied(count) if *count.get() >= most => return None,
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(count) => drop(count.insert(1)),
        }
        Some(Place { book: Arc::clone(self), key })
    }

    fn leave(&self, key: K) {
        let mut counts = self.lock();
        if let Entry::Occupied(mut count) = counts.entry(key) {
            if *count.get() > 1 {
                *count.get_mut() -= 1;
            } else {
                count.remove();
            }
        }
    }

    /// A count is never half changed, so that a thread that panicked leaves nothing to fear.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the connections that are counted for a key, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Copy + Eq + Hash> {
    book: Arc<Book<K>>,
    key: K,
}

impl<K: Copy + Eq + Hash> Place<K> {
    /// Whose it is.
    pub fn key(&self) -> K {
        self.key
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.book.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_nothing_is_left_of_who_has_none() {
        let book: Arc<Book<u8>> = Arc::default();
        let first = book.enter(1, 2).expect("there is room");
        let _second = book.enter(1, 2).expect("there is room");
        assert!(book.enter(1, 2).is_none());
        let other = book.enter(2, 2).expect("it is somebody else's");
        drop(first);
        let _third = book.enter(1, 2).expect("there is room again");
        drop(other);
        assert_eq!(book.lock().len(), 1);
    }

    proptest! {
        #[test]
        fn a_book_counts_what_is_there(steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..300)) {
            let (book, most) = (Arc::<Book<u8>>::default(), 5);
            let mut there: [Vec<Place<u8>>; 4] = Default::default();
            for (key, enters) in steps {
                let of_key = &mut there[usize::from(key)];
                if enters {
                    let before = of_key.len();
                    of_key.extend(book.enter(key, most));
                    prop_assert_eq!(of_key.len(), (before + 1).min(5));
                } else {
                    of_key.pop();
                }
            }
            let counted = book.lock().clone();
            for (key, of_key) in (0_u8..).zip(&there) {
                prop_assert_eq!(counted.get(&key).copied().unwrap_or(0) as usize, of_key.len());
            }
        }
    }
}
