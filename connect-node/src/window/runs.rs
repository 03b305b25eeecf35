//! Where each manager's seqs are in the order of arrival.

use std::collections::{BTreeMap, VecDeque};

use crate::floor::Floor;

/// A batch's messages: consecutive seqs with consecutive arrival numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) first_arrival: u64,
    /// When its last message was accepted.
    pub(super) last_at: u64,
}

/// One manager's runs that are in the window, ascending.
#[derive(Debug, Default)]
struct Manager {
    runs: VecDeque<Run>,
    /// Seq behind the newest that went; 0 if none did.
    kept_from: u64,
}

/// See the file.
#[derive(Debug, Default)]
pub(super) struct Runs {
    managers: BTreeMap<u64, Manager>,
    /// Of managers of which nothing is left here: accept time of the newest message that went.
    gone_at: u64,
}

impl Runs {
    pub(super) fn push(&mut self, manager: u64, run: Run) {
        self.managers.entry(manager).or_default().runs.push_back(run);
    }

    /// The oldest run of a manager goes.
    pub(super) fn pop(&mut self, manager: u64) {
        let Some(state) = self.managers.get_mut(&manager) else { return };
        let Some(run) = state.runs.pop_front() else { return };
        state.kept_from = run.last_seq + 1;
        if state.runs.is_empty() {
            self.gone_at = self.gone_at.max(run.last_at);
            self.managers.remove(&manager);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.managers.values().map(|state| state.runs.capacity() * size_of::<Run>()).sum()
    }

    /// Whether of every manager all that the floor does not cover is still here. `limit` is the time up to which it
    /// covers everything.
    pub(super) fn all_kept_behind(&self, floor: &Floor, limit: u64) -> bool {
        let kept = |(manager, state): (&u64, &Manager)| {
            let seq = floor.seq(*manager);
            state.kept_from == 0 || seq.is_some_and(|seq| state.kept_from <= seq.saturating_add(1))
        };
        self.gone_at <= limit && self.managers.iter().all(kept)
    }

    /// Arrival number from which on there may be messages that the floor does not cover.
    pub(super) fn first_uncovered(&self, floor: &Floor) -> Option<u64> {
        self.managers.iter().filter_map(|(manager, state)| state.first_uncovered(*manager, floor)).min()
    }
}

impl Manager {
    fn first_uncovered(&self, manager: u64, floor: &Floor) -> Option<u64> {
        let Some(seq) = floor.seq(manager) else {
            let covered = self.runs.partition_point(|run| run.last_at <= floor.unnamed_after());
            return self.runs.get(covered).map(|run| run.first_arrival);
        };
        // Of a manager that is covered altogether nothing has to be looked at, however long it was quiet.
        let covered = self.runs.partition_point(|run| run.last_seq <= seq);
        let run = self.runs.get(covered)?;
        Some(run.first_arrival + (seq + 1).saturating_sub(run.first_seq))
    }
}
