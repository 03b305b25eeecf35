//! The log: a manager's recent messages in wire form, in memory, bounded in bytes and age.
//!
//! No I/O and no clock of its own. Every message is encoded once, when it is appended; links take
//! contiguous ranges that are valid batches as they are.

mod controls;
mod ring;
mod segment;

use bytes::Bytes;
use pushcast_proto::connectnode::v1::Message;

pub use self::controls::{CONTROL_LIMITS, OldControls};

use self::{controls::Controls, ring::Ring};
use crate::{api::Api, clock::Now};

/// Bytes of records in one segment, and the most a batch holds. HTTP/2 windows of 1 MiB hold several,
/// so a link never stands still between two batches.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How much a log may hold.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Bytes in all, index included. At least one message is kept however big it is.
    pub bytes: u64,
    /// Microseconds a message is kept at least, as long as `bytes` allows; at most an eighth longer.
    pub age: u64,
}

/// What [`Log::append`] gave a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its number: one more than the message before.
    pub seq: u64,
    /// Microseconds since 1970, later than that of the message before.
    pub accepted_at: u64,
}

/// What follows a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Messages.
    Batch(Batch),
    /// The log no longer has the messages at the cursor; it goes on after `to`.
    Gap {
        /// First seq that is lost, the cursor's.
        from: u64,
        /// Last seq that is lost.
        to: u64,
    },
    /// Nothing yet.
    UpToDate,
}

/// A contiguous range of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// A serialised `MessageBatch`.
    pub records: Bytes,
    /// Seq of its first message.
    pub first: u64,
    /// Seq of its last message.
    pub last: u64,
}

/// The ring of recent messages, and beside it one of controls, which are kept for longer.
#[derive(Debug)]
pub struct Log {
    messages: Ring,
    controls: Controls,
    newest: u64,
    /// The latest time given to a message or promised by [`Log::through`].
    last_time: u64,
}

impl Log {
    /// An empty log; its first message gets seq 1. Controls are kept within [`CONTROL_LIMITS`].
    pub fn new(limits: LogLimits) -> Self {
        Self::with_control_limits(limits, CONTROL_LIMITS)
    }

    /// As [`Log::new`], with other limits for controls.
    pub fn with_control_limits(limits: LogLimits, controls: LogLimits) -> Self {
        Self { messages: Ring::new(limits), controls: Controls::new(controls), newest: 0, last_time: 0 }
    }

    /// Numbers the message, gives it its accept time (both are written into it) and encodes it. `api` is
    /// `None` for a control.
    pub fn append(&mut self, message: &mut Message, api: Option<Api>, now: Now) -> Accepted {
        let accepted_at = now.wall.max(self.last_time + 1);
        self.newest += 1;
        self.last_time = accepted_at;
        message.seq = self.newest;
        message.accepted_at = accepted_at;
        self.messages.push(self.newest, message, api, now);
        self.controls.note(message, now);
        Accepted { seq: self.newest, accepted_at }
    }

    /// Drops what is too old or too much. To be called also when nothing is appended, at
    /// [`Log::next_eviction`].
    pub fn evict(&mut self, mono: u64) {
        self.messages.evict(mono);
        self.controls.evict(mono);
    }

    /// When (by the monotonic clock) [`Log::evict`] next has something to do, if nothing is appended.
    pub fn next_eviction(&self) -> Option<u64> {
        self.messages.next_eviction().into_iter().chain(self.controls.next_eviction()).min()
    }

    /// What follows when everything before seq `next` was taken. A batch holds at least one message,
    /// and at most `max_bytes` if its first message alone does.
    pub fn range(&self, next: u64, max_bytes: usize) -> Range {
        if next > self.newest {
            return Range::UpToDate;
        }
        let oldest = self.oldest();
        if next < oldest {
            return Range::Gap { from: next, to: oldest - 1 };
        }
        let Some(segment) = self.messages.segment_of(next) else {
            unreachable!("seqs from the oldest to the newest are in the log");
        };
        let (records, last) = segment.slice(next, max_bytes);
        Range::Batch(Batch { records, first: next, last })
    }

    /// Oldest seq that is still here; [`Log::newest`] + 1 if none is.
    pub fn oldest(&self) -> u64 {
        self.messages.oldest().unwrap_or(self.newest + 1)
    }

    /// Newest seq accepted, 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// When a message that is still here was accepted.
    pub fn accepted_at(&self, seq: u64) -> Option<u64> {
        Some(self.messages.segment_of(seq)?.entry(seq)?.accepted_at)
    }

    /// By which push each of the messages from `first` through `last` came, `None` for controls. They must be
    /// one batch of [`Log::range`], taken just now.
    pub fn apis(&self, first: u64, last: u64) -> impl Iterator<Item = Option<Api>> + '_ {
        let segment = self.messages.segment_of(first);
        (first..=last).filter_map(move |seq| Some(segment?.entry(seq)?.api))
    }

    /// Accept time of the newest message before `first_seq`, 0 if there never was one. Where that message is
    /// no longer here and newer ones are gone too, the time of the newest that is gone.
    pub fn evicted_before(&self, first_seq: u64) -> u64 {
        match first_seq {
            0 | 1 => 0,
            _ => self.accepted_at(first_seq - 1).unwrap_or(self.messages.dropped_at()),
        }
    }

    /// The controls before `first_seq` that are still kept.
    pub fn controls_before(&self, first_seq: u64) -> OldControls {
        OldControls {
            batches: self.controls.before(first_seq),
            // One that came at `first_seq` or later and is dropped already is none of those left out.
            left_out_at: self.controls.dropped_at().min(self.evicted_before(first_seq)),
        }
    }

    /// A time such that every message accepted up to it is in the log, and every later message gets a
    /// later time.
    pub fn through(&mut self, now: Now) -> u64 {
        self.last_time = self.last_time.max(now.wall);
        self.last_time
    }

    /// The first seq such that the records from it through `last` fit `bytes` and are still here;
    /// `last` + 1 if none do.
    pub fn newest_fitting(&self, bytes: u64, last: u64) -> u64 {
        let (mut left, mut first) = (bytes, last + 1);
        for segment in self.messages.segments().rev() {
            if segment.first > last {
                continue;
            }
            let end = segment.last().min(last);
            first = segment.tail(end, left);
            if first > segment.first {
                break;
            }
            left -= segment.bytes_through(end);
        }
        first
    }

    /// All the log takes, index included; what is kept of controls is not counted.
    pub fn bytes(&self) -> u64 {
        self.messages.bytes()
    }

    /// Microseconds since the oldest message here came, 0 if there is none.
    pub fn age(&self, mono: u64) -> u64 {
        self.messages.age(mono)
    }
}

#[cfg(test)]
mod tests;
