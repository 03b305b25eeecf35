//! The controls of the last minutes, for nodes that start from nothing: who joined, left or was kicked has to be
//! known for longer than what was said meanwhile.

use bytes::Bytes;
use pushcast_proto::connectnode::v1::{Control, Message, control::Action, message::Target};

use super::{LogLimits, ring::Ring};
use crate::clock::{Now, SECOND};

/// What is kept of controls: as long as a ticket lives, in about the memory of an eighth of a usual log.
pub const CONTROL_LIMITS: LogLimits = LogLimits { bytes: 16 << 20, age: 600 * SECOND };

/// Controls that are older than what a link starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldControls {
    /// Serialised `MessageBatch`es, in order, of at most [`super::BATCH_BYTES`] each.
    pub batches: Vec<Bytes>,
    /// Accept time of the newest one that is in none of them, at the latest; 0 if they are all there ever were.
    pub left_out_at: u64,
}

/// A ring of controls. They are in the log too, and their seqs have holes here.
#[derive(Debug)]
pub(super) struct Controls {
    ring: Ring,
    /// How many ever came: numbers them without holes.
    n: u64,
}

impl Controls {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self { ring: Ring::new(limits), n: 0 }
    }

    /// Keeps an accepted message if it is a control that lasts. A Claim does not: it ends connections of the moment.
    pub(super) fn note(&mut self, message: &Message, now: Now) {
        let Some(Target::Control(Control { action: Some(action), .. })) = &message.target else { return };
        match action {
            Action::Join(_) | Action::Leave(_) | Action::Kick(_) => {
                self.n += 1;
                self.ring.push(self.n, message, None, now);
            }
            Action::Claim(_) => {}
        }
    }

    pub(super) fn evict(&mut self, mono: u64) {
        self.ring.evict(mono);
    }

    pub(super) fn next_eviction(&self) -> Option<u64> {
        self.ring.next_eviction()
    }

    /// All they take, index included.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.ring.bytes()
    }

    /// Accept time of the newest one dropped, 0 if none was.
    pub(super) fn dropped_at(&self) -> u64 {
        self.ring.dropped_at()
    }

    /// Those with a seq below `seq`.
    pub(super) fn before(&self, seq: u64) -> Vec<Bytes> {
        self.ring.segments().map_while(|segment| segment.head(segment.n_before(seq))).collect()
    }
}
