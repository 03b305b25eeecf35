//! How far a node has received what each manager accepted: what positions and `as_of` are made of.

use std::collections::BTreeMap;

/// How far one manager's messages have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The manager.
    pub manager: u64,
    /// Last seq received; `None` until a link said where it starts.
    pub seq: Option<u64>,
    /// Everything the manager accepted up to this time has been received; microseconds, 0 if unknown.
    pub through: u64,
    /// Whether `as_of` has to wait for this manager.
    pub expected: bool,
}

/// The marks of all managers, sorted by manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Moves a manager's mark forward; never back.
    pub fn advance(&mut self, manager: u64, seq: Option<u64>, through: u64) {
        let mark = self.entry(manager);
        mark.seq = mark.seq.max(seq);
        mark.through = mark.through.max(through);
    }

    /// Says whether `as_of` waits for a manager.
    pub fn expect(&mut self, manager: u64, expected: bool) {
        self.entry(manager).expected = expected;
    }

    /// Leaves a manager out of all later positions.
    pub fn forget(&mut self, manager: u64) {
        self.0.retain(|mark| mark.manager != manager);
    }

    /// The mark of a manager, if it has one.
    pub fn get(&self, manager: u64) -> Option<&Mark> {
        self.0.binary_search_by_key(&manager, |mark| mark.manager).ok().map(|at| &self.0[at])
    }

    /// Manager and seq, for those that said where they start.
    pub fn position(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().filter_map(|mark| Some((mark.manager, mark.seq?)))
    }

    /// The time up to which everything any expected manager accepted has been received; `now` (the node's
    /// clock) if no manager is expected, 0 while one of them has not said yet. Microseconds.
    pub fn as_of(&self, now: u64) -> u64 {
        self.0.iter().filter(|mark| mark.expected).map(|mark| mark.through).min().unwrap_or(now)
    }

    /// Overwrites these marks with others, without giving back memory.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    fn entry(&mut self, manager: u64) -> &mut Mark {
        let at = match self.0.binary_search_by_key(&manager, |mark| mark.manager) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Mark { manager, seq: None, through: 0, expected: false });
                at
            }
        };
        &mut self.0[at]
    }
}

/// A position as clients see it: manager id in 16 hex digits to seq.
pub fn wire_position(position: impl Iterator<Item = (u64, u64)>) -> BTreeMap<String, u64> {
    position.map(|(manager, seq)| (format!("{manager:016x}"), seq)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_never_go_back() {
        let mut marks = Marks::default();
        marks.advance(7, Some(10), 100);
        marks.advance(7, Some(9), 90);
        marks.advance(7, None, 95);
        assert_eq!(marks.get(7).map(|m| (m.seq, m.through)), Some((Some(10), 100)));
    }

    #[test]
    fn as_of_waits_for_every_expected_manager_and_for_no_other() {
        let mut marks = Marks::default();
        assert_eq!(marks.as_of(5), 5);
        marks.advance(1, Some(1), 100);
        assert_eq!(marks.as_of(5), 5);
        marks.expect(1, true);
        assert_eq!(marks.as_of(5), 100);
        marks.expect(2, true);
        assert_eq!(marks.as_of(5), 0);
        marks.expect(2, false);
        assert_eq!(marks.as_of(5), 100);
    }

    #[test]
    fn a_manager_that_never_linked_is_not_quoted() {
        let mut marks = Marks::default();
        marks.expect(2, true);
        marks.advance(1, Some(4), 0);
        assert_eq!(marks.position().collect::<Vec<_>>(), [(1, 4)]);
    }
}
