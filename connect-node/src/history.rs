//! What shards ask of ingest for clients that resume: may they be told that nothing is missing, and what did they
//! miss?

use std::sync::Arc;

use pushcast_proto::connectnode::v1::Claim;

use crate::{controls::Obeyed, floor::Floor, ingest::Ingest, key::Key, position::Marks, window::Kept};

/// Seqs that a position may be ahead of the newest one this node heard of: some seconds of the fastest manager. What
/// is further ahead was never accepted.
const PLAUSIBLY_AHEAD: u64 = 10_000_000;

/// Why a client cannot be told that nothing is missing; the value of the metric label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Missing {
    /// This node has not everything since then. A neighbour may.
    Incomplete,
    /// The controls kept do not reach back to the ticket.
    Controls,
    /// Messages for this client may have left the window.
    Window,
    /// Its position names what no manager can have accepted.
    Position,
}

impl Missing {
    /// A neighbour may have it: a node that has not everything of the time before some moment has not the controls
    /// either.
    pub(crate) fn is_here_alone(self) -> bool {
        matches!(self, Self::Incomplete | Self::Controls)
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Controls => "controls",
            Self::Window => "window",
            Self::Position => "position",
        }
    }
}

/// How much history a node has, for those who look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryLevels {
    pub(crate) window_bytes: usize,
    pub(crate) window_messages: usize,
    /// Microseconds, as the next two.
    pub(crate) window_age: u64,
    pub(crate) requests_age: u64,
    pub(crate) clock_offset: u64,
    pub(crate) requests: usize,
    pub(crate) controls: usize,
    pub(crate) complete_since: u64,
}

impl Ingest {
    /// What a time quoted elsewhere is worth less here, microseconds.
    pub(crate) fn allowance(&self) -> u64 {
        self.lock().completeness.allowance()
    }

    /// Whether a client with this floor, in these rooms, which knows of controls up to `decided_at`, can be made
    /// whole here. To be
    /// asked once the shard's interest covers `keys`.
    pub(crate) fn missing(&self, floor: &Floor, keys: &[Key], decided_at: u64, now: u64) -> Option<Missing> {
        let inner = self.lock();
        let since = &inner.completeness;
        let limit = floor.as_of().saturating_sub(since.allowance());
        let plausible = |(manager, seq): (u64, u64)| {
            let known = inner.managers.get(&manager).and_then(|state| state.received);
            known.is_none_or(|received| seq <= received.saturating_add(PLAUSIBLY_AHEAD))
        };
        if !floor.position().all(plausible) || floor.as_of() > now.saturating_add(since.allowance()) {
            return Some(Missing::Position);
        }
        // What of a manager came before this node had it whole.
        let whole = |(manager, seq): (u64, u64)| {
            let state = inner.managers.get(&manager).filter(|state| state.received.is_some());
            state.is_none_or(|state| state.whole_from <= seq.saturating_add(1))
        };
        let ahead = inner.managers.values().any(|state| self.expects(state) && state.may_be_ahead(now));
        if limit < since.messages_since() || !inner.listed || ahead || !floor.position().all(whole) {
            return Some(Missing::Incomplete);
        }
        if decided_at.saturating_sub(since.allowance()) < since.controls_since() {
            return Some(Missing::Controls);
        }
        (!inner.window.reaches_back(floor, keys, limit)).then_some(Missing::Window)
    }

    /// Arrival numbers of what a client missed, as [`crate::window::Window::find`].
    pub(crate) fn find_missed(
        &self,
        keys: &[Key],
        floor: &Floor,
        after: Option<u64>,
        through: u64,
        most: usize,
    ) -> Option<Vec<u64>> {
        self.lock().window.find(keys, floor, after, through, most)
    }

    /// Messages by their arrival numbers; `None` if one of them left the window.
    pub(crate) fn fetch(&self, arrivals: &[u64]) -> Option<Vec<Kept>> {
        let inner = self.lock();
        arrivals.iter().map(|arrival| inner.window.get(*arrival)).collect()
    }

    /// Further identities of a message.
    pub(crate) fn repeats_of(&self, arrival: u64) -> Vec<(u64, u64)> {
        self.lock().window.repeats_of(arrival).to_vec()
    }

    /// The controls about a connection of a user that `floor` does not cover, by accept time.
    pub(crate) fn controls_since(
        &self,
        app: &str,
        user: &str,
        connection: u64,
        floor: &Floor,
    ) -> Vec<Arc<Obeyed>> {
        self.lock().controls.since(app, user, connection, floor)
    }

    /// Hands up that a client has resumed a connection.
    pub(crate) fn claim(&self, app: &str, connection_id: u64, claim: Claim) {
        self.hand_ups.claim(app, connection_id, claim);
    }

    /// The connection that a claim was for has ended.
    pub(crate) fn withdraw_claim(&self, nonce: u64) {
        self.hand_ups.came_down(nonce);
    }

    pub(crate) fn levels(&self, now: u64) -> HistoryLevels {
        let inner = self.lock();
        HistoryLevels {
            window_bytes: inner.window.bytes(),
            window_messages: inner.window.messages(),
            window_age: inner.window.age(now),
            requests_age: inner.requests.horizon(now),
            clock_offset: inner.completeness.largest_offset(),
            requests: inner.requests.len(),
            controls: inner.controls.len(),
            complete_since: inner.completeness.messages_since(),
        }
    }
}

/// Whether a shard that is at these marks has placed everything a floor covers.
pub(crate) fn is_past(marks: &Marks, as_of: u64, floor: &Floor) -> bool {
    let placed = |(manager, seq): (u64, u64)| {
        marks.get(manager).and_then(|mark| mark.seq).is_some_and(|placed| placed >= seq)
    };
    as_of >= floor.as_of() && floor.position().all(placed)
}
