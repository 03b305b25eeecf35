//! The log: a manager's recent messages in wire form, in memory, bounded in bytes and age.
//!
//! No I/O and no clock of its own. Every message is encoded once, when it is appended; links take
//! contiguous ranges that are valid batches as they are.

mod segment;

use std::collections::VecDeque;

use bytes::Bytes;
use pushcast_proto::connectnode::v1::Message;

use self::segment::Segment;
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

/// The ring of recent messages.
#[derive(Debug)]
pub struct Log {
    segments: VecDeque<Segment>,
    newest: u64,
    /// The latest time given to a message or promised by [`Log::through`].
    last_time: u64,
    limits: LogLimits,
    segment_bytes: usize,
    /// Cost of all segments but the last.
    settled_bytes: usize,
}

impl Log {
    /// An empty log; its first message gets seq 1.
    pub fn new(limits: LogLimits) -> Self {
        // A small log still has several segments, so that evicting one does not empty it.
        let eighth = usize::try_from(limits.bytes / 8).unwrap_or(BATCH_BYTES);
        Self {
            segments: VecDeque::new(),
            newest: 0,
            last_time: 0,
            limits,
            segment_bytes: eighth.clamp(1, BATCH_BYTES),
            settled_bytes: 0,
        }
    }

    /// Numbers the message, gives it its accept time (both are written into it) and encodes it.
    pub fn append(&mut self, message: &mut Message, api: Api, now: Now) -> Accepted {
        let accepted_at = now.wall.max(self.last_time + 1);
        self.newest += 1;
        self.last_time = accepted_at;
        message.seq = self.newest;
        message.accepted_at = accepted_at;

        let record_len = Segment::record_len(message);
        self.open_segment(record_len, now).push(message, api, now);
        self.evict(now.mono);
        Accepted { seq: self.newest, accepted_at }
    }

    fn open_segment(&mut self, record_len: usize, now: Now) -> &mut Segment {
        let full = self.segments.back().is_none_or(|open| {
            !open.is_open()
                || open.len_bytes() + record_len > self.segment_bytes
                || open.begun.saturating_add(self.limits.age / 8) < now.mono
        });
        if full {
            if let Some(last) = self.segments.back_mut() {
                last.seal();
                self.settled_bytes += last.cost();
            }
            let capacity = record_len.max(self.segment_bytes);
            self.segments.push_back(Segment::new(self.newest, capacity, now));
        }
        self.segments.back_mut().expect("a segment was just made sure of")
    }

    /// Drops what is too old or too much. To be called also when nothing is appended, at
    /// [`Log::next_eviction`].
    pub fn evict(&mut self, mono: u64) {
        while let Some(front) = self.segments.front() {
            let too_old = front.latest.saturating_add(self.limits.age) < mono;
            let too_much = self.segments.len() > 1 && self.bytes() > self.limits.bytes;
            if !too_old && !too_much {
                break;
            }
            if self.segments.len() > 1 {
                self.settled_bytes -= front.cost();
            }
            self.segments.pop_front();
        }
    }

    /// When (by the monotonic clock) [`Log::evict`] next has something to do, if nothing is appended.
    pub fn next_eviction(&self) -> Option<u64> {
        self.segments.front().map(|front| front.latest.saturating_add(self.limits.age).saturating_add(1))
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
        let Some(segment) = self.segment_of(next) else {
            unreachable!("seqs from the oldest to the newest are in the log");
        };
        let (records, last) = segment.slice(next, max_bytes);
        Range::Batch(Batch { records, first: next, last })
    }

    /// Oldest seq that is still here; [`Log::newest`] + 1 if none is.
    pub fn oldest(&self) -> u64 {
        self.segments.front().map_or(self.newest + 1, |front| front.first)
    }

    /// Newest seq accepted, 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// When a message that is still here was accepted.
    pub fn accepted_at(&self, seq: u64) -> Option<u64> {
        Some(self.segment_of(seq)?.entry(seq)?.accepted_at)
    }

    /// By which rpc a message that is still here came.
    pub fn api(&self, seq: u64) -> Option<Api> {
        Some(self.segment_of(seq)?.entry(seq)?.api)
    }

    /// The rpcs of the messages from `first` through `last`, which must be one batch of
    /// [`Log::range`], taken just now.
    pub fn apis(&self, first: u64, last: u64) -> impl Iterator<Item = Api> + '_ {
        let segment = self.segment_of(first);
        (first..=last).filter_map(move |seq| Some(segment?.entry(seq)?.api))
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
        for segment in self.segments.iter().rev() {
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

    /// All the log takes, index included.
    pub fn bytes(&self) -> u64 {
        (self.settled_bytes + self.segments.back().map_or(0, Segment::cost)) as u64
    }

    /// Microseconds since the oldest message here came, 0 if there is none.
    pub fn age(&self, mono: u64) -> u64 {
        self.segments.front().map_or(0, |front| mono.saturating_sub(front.begun))
    }

    fn segment_of(&self, seq: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        (!segment.is_empty() && seq <= segment.last()).then_some(segment)
    }
}

#[cfg(test)]
mod tests;
