//! A stretch of the log: consecutive messages in wire form, with an index.

use std::ops::Range;

use bytes::Bytes;
use prost::{Message as _, encoding};
use pushcast_proto::connectnode::v1::{Message, MessageBatch};

use crate::{api::Api, clock::Now};

/// The tag of `MessageBatch.messages` (field 1, length-delimited).
const RECORD_TAG: u8 = 0x0a;

/// What is known of one message without decoding it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) accepted_at: u64,
    /// Where its record ends in the segment.
    end: u32,
    /// `None` for what is no push.
    pub(super) api: Option<Api>,
}

/// Consecutive messages, each a record of `MessageBatch`, so that any run of them is a valid batch.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    data: Data,
    entries: Vec<Entry>,
    /// When the first and the last message came, by the monotonic clock.
    pub(super) begun: u64,
    pub(super) latest: u64,
}

#[derive(Debug)]
enum Data {
    Open(Vec<u8>),
    Sealed(Bytes),
}

impl Segment {
    pub(super) fn new(first: u64, capacity: usize, now: Now) -> Self {
        let data = Data::Open(Vec::with_capacity(capacity));
        Self { first, data, entries: Vec::new(), begun: now.mono, latest: now.mono }
    }

    /// Bytes the record of `message` takes.
    pub(super) fn record_len(message: &Message) -> usize {
        let body = message.encoded_len();
        1 + encoding::encoded_len_varint(body as u64) + body
    }

    pub(super) fn push(&mut self, message: &Message, api: Option<Api>, now: Now) {
        let Data::Open(data) = &mut self.data else {
            unreachable!("only the last segment is written, and it is open");
        };
        data.reserve(Self::record_len(message));
        data.push(RECORD_TAG);
        message.encode_length_delimited(data).expect("a vector takes every message");
        let end = u32::try_from(data.len()).expect("a segment is far below 4 GiB");
        self.entries.push(Entry { accepted_at: message.accepted_at, end, api });
        self.latest = now.mono;
    }

    /// Ends writing. A segment that is mostly empty gives back what it did not use.
    pub(super) fn seal(&mut self) {
        self.entries.shrink_to_fit();
        if let Data::Open(data) = &mut self.data {
            let data = std::mem::take(data);
            // Exactly its length, as it is counted: three contents of 64 KiB leave a quarter of it unused.
            self.data = Data::Sealed(Bytes::from(data.into_boxed_slice()));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.data, Data::Open(_))
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn newest_accepted_at(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.accepted_at)
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.end as usize)
    }

    /// All it takes, index and unused capacity included.
    pub(super) fn cost(&self) -> usize {
        let data = match &self.data {
            Data::Open(data) => data.capacity(),
            Data::Sealed(data) => data.len(),
        };
        size_of::<Self>() + data + self.entries.capacity() * size_of::<Entry>()
    }

    /// The records from `seq` on that fit `max_bytes`, at least one, and the last seq among them.
    /// A sealed segment lends its bytes, an open one copies them.
    pub(super) fn slice(&self, seq: u64, max_bytes: usize) -> (Bytes, u64) {
        let from = (seq - self.first) as usize;
        let start = self.start_of(from);
        let fitting = self.entries[from..].partition_point(|e| e.end as usize - start <= max_bytes);
        let to = from + fitting.max(1) - 1;
        (self.bytes(start..self.entries[to].end as usize), self.first + to as u64)
    }

    /// The first `n` records; `None` if that is none.
    pub(super) fn head(&self, n: usize) -> Option<Bytes> {
        let last = self.entries.get(n.checked_sub(1)?)?;
        Some(self.bytes(0..last.end as usize))
    }

    /// How many of its messages have a seq below `seq`. For a segment whose seqs have holes, so that they have to be
    /// read out of the records.
    pub(super) fn n_before(&self, seq: u64) -> usize {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.seq_of(middle) < seq { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn seq_of(&self, index: usize) -> u64 {
        let record = self.bytes(self.start_of(index)..self.entries[index].end as usize);
        let batch = MessageBatch::decode(record).expect("it was encoded here");
        batch.messages.first().map_or(0, |message| message.seq)
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        match &self.data {
            Data::Open(data) => Bytes::copy_from_slice(&data[range]),
            Data::Sealed(data) => data.slice(range),
        }
    }

    /// The first seq such that the records from it through `last` fit `bytes`; `last` + 1 if none does.
    pub(super) fn tail(&self, last: u64, bytes: u64) -> u64 {
        let to = (last - self.first) as usize;
        let end = u64::from(self.entries[to].end);
        let too_long = |start: u64| end - start > bytes;
        if !too_long(0) {
            return self.first;
        }
        // A record starts where the one before it ends.
        let skipped = 1 + self.entries[..=to].partition_point(|entry| too_long(u64::from(entry.end)));
        self.first + skipped as u64
    }

    /// Bytes of the records from the first through `seq`.
    pub(super) fn bytes_through(&self, seq: u64) -> u64 {
        u64::from(self.entries[(seq - self.first) as usize].end)
    }

    fn start_of(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.entries[index - 1].end as usize }
    }
}
