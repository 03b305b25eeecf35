//! What came of the pushes that count.

use std::{collections::BTreeMap, time::Instant};

use tonic::{Code, Status};

use super::delays::Delays;

/// Different refusals kept with their words: whoever meets more is helped by none of them.
const REFUSALS_TOLD: usize = 8;

/// What came of the pushes that count.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Pushes handed to the manager.
    pub(super) offered: u64,
    /// Those it answered.
    pub(super) answered: u64,
    /// Those it refused.
    pub(super) refused: u64,
    /// By what it said: how often, and its words.
    pub(super) refusals: BTreeMap<(i32, String), u64>,
    /// The recipients of all answers: so many deliveries have to arrive.
    pub(super) expected: u64,
    /// Deliveries that arrived.
    pub(super) received: u64,
    /// Answers that left out a node, which had not acknowledged in time: its recipients are not among the expected.
    pub(super) with_pending: u64,
    /// Pushes given up on: answered, and some delivery never came.
    pub(super) given_up: u64,
    /// Deliveries that came when nobody waited for them any more; they are among the received, and not in the delays.
    pub(super) late: u64,
    /// From when a push was due to its answer.
    pub(super) answer: Delays,
    /// From when a push was due to each of its receivers.
    pub(super) each: Delays,
    /// From when a push was due to the first of its receivers.
    pub(super) first: Delays,
    /// From when a push was due until half of its receivers had it.
    pub(super) median: Delays,
    /// From when a push was due to the last of its receivers.
    pub(super) last: Delays,
    /// From when a push was due until it was handed over: what the bench itself added.
    pub(super) sent_late: Delays,
    /// When the last answer or delivery came.
    pub(super) last_at: Option<Instant>,
}

impl Tally {
    pub(super) fn refused(&mut self, status: &Status) {
        self.refused += 1;
        let key = (status.code() as i32, status.message().to_owned());
        if self.refusals.len() < REFUSALS_TOLD || self.refusals.contains_key(&key) {
            *self.refusals.entry(key).or_default() += 1;
        }
    }

    /// Whether every delivery that was promised came, and none besides.
    pub(super) fn adds_up(&self) -> bool {
        self.offered == self.answered && self.expected == self.received
    }

    /// What refusals said, the most frequent first.
    pub(super) fn refusals_in_words(&self) -> Vec<String> {
        let mut refusals: Vec<_> = self.refusals.iter().collect();
        refusals.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words = |((code, message), count): (&(i32, String), &u64)| {
            let name = pushctl::push::code_name(Code::from_i32(*code));
            format!("{count} × {name}: {message}")
        };
        refusals.into_iter().map(words).collect()
    }
}
