//! Recent messages of all targets, for clients that resume: a client may come from another node.
//!
//! Messages stay in the order of arrival and go from the front, by bytes or by age. What a client missed is found
//! without looking at everything: messages whose keys fall into one of 64 Ki buckets are chained from the newest
//! back. When a message goes, its bucket remembers its accept time, so that a client of a quiet room is not refused
//! because a busy room moved on. Owns the batches as they came; never does I/O, reads no clock.

mod chain;
mod runs;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use self::{
    chain::Chains,
    runs::{Run, Runs},
};
use crate::{floor::Floor, key::Key, placement::Placement};

/// How much a window may hold.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// Bytes in all, index included.
    pub bytes: usize,
    /// Microseconds since a message was accepted.
    pub age: u64,
}

/// A message in the window.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) placement: Arc<Placement>,
    pub(crate) index: usize,
    /// Manager and seq of each time it came: with a request_id a message may come through several managers.
    pub(crate) identities: Vec<(u64, u64)>,
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Window {
    limits: WindowLimits,
    segments: VecDeque<Segment>,
    chains: Chains,
    runs: Runs,
    /// Further identities of messages, by arrival.
    repeats: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Identities in it.
    repeated: usize,
    /// Of all segments.
    bytes: usize,
    messages: usize,
}

/// A batch.
#[derive(Debug)]
struct Segment {
    placement: Arc<Placement>,
    /// The link of its first key, and of the first key behind it.
    first_link: u64,
    end_link: u64,
    bytes: usize,
}

impl Segment {
    fn messages(&self) -> usize {
        self.placement.batch().len() - self.placement.skip()
    }

    fn last_arrival(&self) -> u64 {
        self.placement.first_arrival() + self.messages() as u64 - 1
    }

    /// When the message with this arrival number was accepted.
    fn accepted_at(&self, arrival: u64) -> u64 {
        let offset = (arrival - self.placement.first_arrival()) as usize;
        self.placement.batch().accepted_at(self.placement.skip() + offset)
    }

    fn newest_at(&self) -> u64 {
        self.accepted_at(self.last_arrival())
    }
}

/// What one identity of a repeated message takes, about.
const REPEAT_BYTES: usize = 64;

impl Window {
    pub(crate) fn new(limits: WindowLimits) -> Self {
        Self {
            limits,
            segments: VecDeque::new(),
            chains: Chains::default(),
            runs: Runs::default(),
            repeats: BTreeMap::new(),
            repeated: 0,
            bytes: 0,
            messages: 0,
        }
    }

    /// Takes a batch whose messages arrived just now, and makes room for it. What has to go is handed to `gone`.
    pub(crate) fn insert(&mut self, placement: &Arc<Placement>, gone: impl FnMut(&Arc<Placement>)) {
        let batch = placement.batch();
        let first_link = self.chains.next();
        for index in placement.skip()..batch.len() {
            if !placement.is_silent(index) {
                let arrival = placement.arrival(index);
                batch.each_key(index, |key| self.chains.push(key, arrival));
            }
        }
        let bytes = placement.bytes();
        let segment =
            Segment { placement: Arc::clone(placement), first_link, end_link: self.chains.next(), bytes };
        if let Some(manager) = placement.manager() {
            let run = Run {
                first_seq: batch.first_seq() + placement.skip() as u64,
                last_seq: batch.last_seq(),
                first_arrival: placement.first_arrival(),
                last_at: segment.newest_at(),
            };
            self.runs.push(manager, run);
        }
        self.messages += segment.messages();
        self.bytes += bytes;
        self.segments.push_back(segment);
        self.shrink(gone);
    }

    /// The message with this arrival number came once more as `(manager, seq)`.
    pub(crate) fn repeat(&mut self, arrival: u64, identity: (u64, u64)) {
        // One that went already is forgotten with the next that goes.
        self.repeats.entry(arrival).or_default().push(identity);
        self.repeated += 1;
    }

    /// Lets go of what is too old. What goes is handed to `gone`.
    pub(crate) fn expire(&mut self, now: u64, mut gone: impl FnMut(&Arc<Placement>)) {
        let too_old = now.saturating_sub(self.limits.age);
        while self.segments.front().is_some_and(|front| front.newest_at() < too_old) {
            self.pop(&mut gone);
        }
    }

    fn shrink(&mut self, mut gone: impl FnMut(&Arc<Placement>)) {
        while self.bytes() > self.limits.bytes && !self.segments.is_empty() {
            self.pop(&mut gone);
        }
    }

    fn pop(&mut self, gone: &mut impl FnMut(&Arc<Placement>)) {
        let Some(segment) = self.segments.pop_front() else { return };
        self.chains.pop(segment.first_link, segment.end_link, |arrival| segment.accepted_at(arrival));
        if let Some(manager) = segment.placement.manager() {
            self.runs.pop(manager);
        }
        if !self.repeats.is_empty() {
            let kept = self.repeats.split_off(&(segment.last_arrival() + 1));
            let gone = std::mem::replace(&mut self.repeats, kept);
            self.repeated -= gone.values().map(Vec::len).sum::<usize>();
        }
        self.bytes -= segment.bytes;
        self.messages -= segment.messages();
        gone(&segment.placement);
    }

    /// Everything it takes, index included.
    pub(crate) fn bytes(&self) -> usize {
        let segments = self.segments.capacity() * size_of::<Segment>();
        self.bytes + segments + self.chains.bytes() + self.runs.bytes() + self.repeated * REPEAT_BYTES
    }

    /// Messages in it.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Microseconds since its oldest message was accepted, 0 if it is empty.
    pub(crate) fn age(&self, now: u64) -> u64 {
        let oldest = self.segments.front();
        oldest.map_or(0, |front| now.saturating_sub(front.accepted_at(front.placement.first_arrival())))
    }

    /// Whether nothing that `floor` does not cover has gone for any of these keys. `limit` is the time up to which
    /// it covers everything.
    pub(crate) fn reaches_back(&self, floor: &Floor, keys: &[Key], limit: u64) -> bool {
        self.runs.all_kept_behind(floor, limit)
            || keys.iter().all(|key| self.chains.evicted_at(*key) <= limit)
    }

    /// Arrival numbers, ascending, of the first messages for these keys behind `after` and up to `through`, as many
    /// as `most`; from where `floor` may not cover them. `None` if `after`, or at the start something that `floor` does
    /// not cover, is not in the window any more.
    pub(crate) fn find(
        &self,
        keys: &[Key],
        floor: &Floor,
        after: Option<u64>,
        through: u64,
        most: usize,
    ) -> Option<Vec<u64>> {
        let from = match after {
            Some(after) if self.chains.newest_evicted() > after => return None,
            Some(after) => after + 1,
            None if !self.reaches_back(floor, keys, floor.unnamed_after()) => return None,
            None => self.runs.first_uncovered(floor).unwrap_or(u64::MAX),
        };
        let mut found = Vec::new();
        for key in keys {
            self.chains.walk(*key, from, through, |arrival| found.push(arrival));
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(most);
        Some(found)
    }

    /// The message with this arrival number, if it is still here.
    pub(crate) fn get(&self, arrival: u64) -> Option<Kept> {
        let after = self.segments.partition_point(|segment| segment.placement.first_arrival() <= arrival);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        if arrival > segment.last_arrival() {
            return None;
        }
        let placement = Arc::clone(&segment.placement);
        let index = placement.skip() + (arrival - placement.first_arrival()) as usize;
        let mut identities = self.repeats.get(&arrival).cloned().unwrap_or_default();
        if let Some(manager) = placement.manager() {
            identities.insert(0, (manager, placement.batch().message(index).seq));
        }
        Some(Kept { placement, index, identities })
    }

    /// Further identities of a message.
    pub(crate) fn repeats_of(&self, arrival: u64) -> &[(u64, u64)] {
        self.repeats.get(&arrival).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
