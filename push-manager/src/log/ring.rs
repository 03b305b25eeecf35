//! Segments in a row, bounded in bytes and age: the oldest is dropped first, and its time remembered.

use std::collections::VecDeque;

use pushcast_proto::connectnode::v1::Message;

use super::{BATCH_BYTES, LogLimits, segment::Segment};
use crate::{api::Api, clock::Now};

/// Messages in the order they came, numbered without holes.
#[derive(Debug)]
pub(super) struct Ring {
    segments: VecDeque<Segment>,
    limits: LogLimits,
    segment_bytes: usize,
    /// Cost of all segments but the last.
    settled_bytes: usize,
    /// Accept time of the newest message dropped, 0 if none was.
    dropped_at: u64,
}

impl Ring {
    pub(super) fn new(limits: LogLimits) -> Self {
        // A small ring still has several segments, so that dropping one does not empty it.
        let eighth = usize::try_from(limits.bytes / 8).unwrap_or(BATCH_BYTES);
        Self {
            segments: VecDeque::new(),
            limits,
            segment_bytes: eighth.clamp(1, BATCH_BYTES),
            settled_bytes: 0,
            dropped_at: 0,
        }
    }

    /// Takes a message; `number` is one more than that of the last.
    pub(super) fn push(&mut self, number: u64, message: &Message, api: Option<Api>, now: Now) {
        self.open_segment(number, Segment::record_len(message), now).push(message, api, now);
        self.evict(now.mono);
    }

    fn open_segment(&mut self, number: u64, record_len: usize, now: Now) -> &mut Segment {
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
            self.segments.push_back(Segment::new(number, capacity, now));
        }
        self.segments.back_mut().expect("a segment was just made sure of")
    }

    /// Drops what is too old or too much.
    pub(super) fn evict(&mut self, mono: u64) {
        while let Some(front) = self.segments.front() {
            let too_old = front.latest.saturating_add(self.limits.age) < mono;
            let too_much = self.segments.len() > 1 && self.bytes() > self.limits.bytes;
            if !too_old && !too_much {
                break;
            }
            if self.segments.len() > 1 {
                self.settled_bytes -= front.cost();
            }
            self.dropped_at = front.newest_accepted_at().max(self.dropped_at);
            self.segments.pop_front();
        }
    }

    /// When (by the monotonic clock) [`Ring::evict`] next has something to do, if nothing comes.
    pub(super) fn next_eviction(&self) -> Option<u64> {
        self.segments.front().map(|front| front.latest.saturating_add(self.limits.age).saturating_add(1))
    }

    /// Accept time of the newest message dropped, 0 if none was.
    pub(super) fn dropped_at(&self) -> u64 {
        self.dropped_at
    }

    /// Oldest first.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Number of the oldest message, if there is one.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|front| front.first)
    }

    /// The segment that has this message.
    pub(super) fn segment_of(&self, number: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= number);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        (!segment.is_empty() && number <= segment.last()).then_some(segment)
    }

    /// All it takes, index included.
    pub(super) fn bytes(&self) -> u64 {
        (self.settled_bytes + self.segments.back().map_or(0, Segment::cost)) as u64
    }

    /// Microseconds since the oldest message here came, 0 if there is none.
    pub(super) fn age(&self, mono: u64) -> u64 {
        self.segments.front().map_or(0, |front| mono.saturating_sub(front.begun))
    }
}
