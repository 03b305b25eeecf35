//! What a client that resumed has already: a position and a time.

use std::collections::BTreeMap;

/// Entries of a position that a client may send: a fleet has tens of managers, and a heartbeat names those that are
/// there and those that went in the last two minutes.
pub const MAX_POSITION: usize = 256;

/// Everything up to it has been queued to the client, here or at another node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    position: BTreeMap<u64, u64>,
    as_of: u64,
    /// What is accepted before `as_of` less this is covered for managers that the position does not name.
    allowance: u64,
}

/// One message as a floor sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Covered {
    pub(crate) manager: u64,
    pub(crate) seq: u64,
    pub(crate) accepted_at: u64,
}

impl Floor {
    /// A floor; times in microseconds.
    pub fn new(position: impl IntoIterator<Item = (u64, u64)>, as_of: u64, allowance: u64) -> Self {
        Self { position: position.into_iter().collect(), as_of, allowance }
    }

    /// Raises it to another position and time.
    pub fn raise(&mut self, position: impl IntoIterator<Item = (u64, u64)>, as_of: u64) {
        for (manager, seq) in position {
            let mine = self.position.entry(manager).or_insert(0);
            *mine = (*mine).max(seq);
        }
        self.as_of = self.as_of.max(as_of);
    }

    /// The seq of a manager, if the position names it.
    pub fn seq(&self, manager: u64) -> Option<u64> {
        self.position.get(&manager).copied()
    }

    /// Manager and seq.
    pub fn position(&self) -> impl Iterator<Item = (u64, u64)> {
        self.position.iter().map(|(manager, seq)| (*manager, *seq))
    }

    /// Microseconds since 1970.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// What a manager that is not named accepted later than this is not covered.
    pub(crate) fn unnamed_after(&self) -> u64 {
        self.as_of.saturating_sub(self.allowance)
    }

    /// Whether it covers a message under this identity.
    pub(crate) fn covers(&self, message: Covered) -> bool {
        match self.seq(message.manager) {
            Some(seq) => message.seq <= seq,
            None => message.accepted_at <= self.unnamed_after(),
        }
    }

    /// Whether it covers a message under a further identity, whose accept time nobody remembers.
    pub(crate) fn names(&self, identity: (u64, u64)) -> bool {
        self.seq(identity.0).is_some_and(|seq| identity.1 <= seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_position_names_is_covered_by_seq_and_the_rest_by_time() {
        let floor = Floor::new([(1, 10)], 100, 30);
        let covers = |manager, seq, accepted_at| floor.covers(Covered { manager, seq, accepted_at });
        assert!(covers(1, 10, 500) && !covers(1, 11, 1));
        assert!(covers(2, 999, 70) && !covers(2, 1, 71));
        assert!(floor.names((1, 3)) && !floor.names((2, 3)));
    }

    #[test]
    fn a_floor_only_rises() {
        let mut floor = Floor::new([(1, 10)], 100, 0);
        floor.raise([(1, 5), (2, 7)], 50);
        assert_eq!(floor, Floor::new([(1, 10), (2, 7)], 100, 0));
    }
}
