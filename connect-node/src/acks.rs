//! What this node has still to tell one manager about placed messages.
//!
//! Counts are kept until the manager's heartbeat confirms that it holds them, so that a link which breaks
//! between placing and acknowledging costs no count. Owned by the manager's state in ingest.

use std::{collections::VecDeque, sync::Arc};

use pushcast_proto::connectnode::v1::{Ack, UserCounts};

use crate::placement::Placement;

/// Messages one Ack may cover, and users of one Ack: 64 Ki varints each keep the frame far below the 2 MiB that
/// a link takes.
const MAX_ACK_MESSAGES: usize = 64 * 1024;
const MAX_ACK_USERS: usize = 64 * 1024;

/// Counts kept for a manager that does not confirm, those per user included: at 16 bytes each 16 MiB, ten
/// seconds of 100,000/s. Beyond it the oldest are told as 0 if they have to be repeated.
const MAX_KEPT: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Acks {
    in_flight: VecDeque<InFlight>,
    unplaced_bytes: usize,
    /// Placed and not yet confirmed, consecutive up to `placed`, gaps left out.
    kept: VecDeque<Placed>,
    by_user: VecDeque<UserCounts>,
    /// Users in `by_user`.
    users: usize,
    conflicts: VecDeque<u64>,
    placed: u64,
    sent: u64,
    confirmed: u64,
    /// Last seq whose count was given up to stay within `MAX_KEPT`.
    dropped: u64,
    filled: u64,
    arrived: Arrived,
}

/// Messages placed since the last look, by whether anybody here was for them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Arrived {
    pub(crate) with_users: u64,
    pub(crate) without_users: u64,
}

#[derive(Debug)]
enum InFlight {
    Batch(Arc<Placement>),
    Gap { to: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    seq: u64,
    recipients: u32,
}

impl Acks {
    /// Starts after `seq`, for a manager of which this node has nothing; what comes up to `filled` is a fill
    /// and not counted as arrived.
    pub(crate) fn start(&mut self, seq: u64, filled: u64) {
        *self = Self { placed: seq, sent: seq, confirmed: seq, filled, ..Self::default() };
    }

    /// A batch was offered to the shards: their counts come with it.
    pub(crate) fn offered(&mut self, placement: Arc<Placement>) {
        self.unplaced_bytes += placement.batch().bytes();
        self.in_flight.push_back(InFlight::Batch(placement));
    }

    /// The seqs up to `to` will never come.
    pub(crate) fn skipped(&mut self, to: u64) {
        self.in_flight.push_back(InFlight::Gap { to });
    }

    /// Bytes of batches that some shard has not placed yet.
    pub(crate) fn unplaced_bytes(&self) -> usize {
        self.unplaced_bytes
    }

    /// Last seq that is placed, all before it too.
    pub(crate) fn placed(&self) -> u64 {
        self.placed
    }

    /// A new link begins, and the manager holds acknowledgements up to `acked`: repeats what is after it. Forgets
    /// nothing: a Hello may come late, and speak of the process before this one.
    pub(crate) fn rewind(&mut self, acked: u64) {
        self.sent = acked.clamp(self.confirmed, self.placed);
    }

    /// The manager holds the acknowledgements up to `seq`.
    pub(crate) fn confirm(&mut self, seq: u64) {
        self.confirmed = self.confirmed.max(seq.min(self.placed));
        let confirmed = self.confirmed;
        while self.kept.pop_front_if(|placed| placed.seq <= confirmed).is_some() {}
        self.forget_users(confirmed);
    }

    /// The next acknowledgement to send, if anything was placed since the last one.
    pub(crate) fn next(&mut self) -> Option<Ack> {
        self.settle();
        if self.sent >= self.placed {
            return None;
        }
        if self.sent < self.dropped {
            return Some(self.repeat_without_counts());
        }
        let from = self.kept.partition_point(|placed| placed.seq <= self.sent);
        let first_seq = self.kept.get(from).map_or(self.placed + 1, |placed| placed.seq);
        let (by_user, before) = self.users_from(first_seq);
        let recipients: Vec<u32> = self
            .kept
            .range(from..)
            .take(MAX_ACK_MESSAGES)
            .enumerate()
            .take_while(|(offset, placed)| placed.seq == first_seq + *offset as u64 && placed.seq < before)
            .map(|(_, placed)| placed.recipients)
            .collect();
        let end = first_seq + recipients.len() as u64;
        self.sent = if recipients.is_empty() { self.placed } else { end - 1 };
        let by_user = by_user.into_iter().take_while(|counts| counts.seq < end).collect();
        let conflicts = self.conflicts.iter().copied().filter(|seq| (first_seq..end).contains(seq)).collect();
        Some(Ack { first_seq, recipients, by_user, conflicts })
    }

    /// The counts per user from `first_seq` on, as many as one Ack takes, and the seq before which it has to
    /// end for that.
    fn users_from(&self, first_seq: u64) -> (Vec<UserCounts>, u64) {
        let from = self.by_user.partition_point(|counts| counts.seq < first_seq);
        let mut taken = Vec::new();
        let mut users = 0;
        for counts in self.by_user.range(from..) {
            users += counts.recipients.len();
            if users > MAX_ACK_USERS && !taken.is_empty() {
                return (taken, counts.seq);
            }
            taken.push(counts.clone());
        }
        (taken, u64::MAX)
    }

    /// What was placed since the last call.
    pub(crate) fn take_arrived(&mut self) -> Arrived {
        std::mem::take(&mut self.arrived)
    }

    fn repeat_without_counts(&mut self) -> Ack {
        let first_seq = self.sent + 1;
        let messages = (self.dropped - self.sent).min(MAX_ACK_MESSAGES as u64);
        self.sent += messages;
        Ack { first_seq, recipients: vec![0; messages as usize], ..Ack::default() }
    }

    /// Takes over the counts of batches that every shard has placed, in order.
    fn settle(&mut self) {
        loop {
            match self.in_flight.front() {
                Some(InFlight::Batch(placement)) if placement.is_settled() => {
                    let placement = Arc::clone(placement);
                    self.settle_batch(&placement);
                }
                Some(InFlight::Gap { to }) => self.placed = *to,
                Some(InFlight::Batch(_)) | None => break,
            }
            self.in_flight.pop_front();
        }
        self.bound();
    }

    fn settle_batch(&mut self, placement: &Placement) {
        let batch = placement.batch();
        self.unplaced_bytes -= batch.bytes();
        self.placed = batch.last_seq();
        let first_seq = batch.first_seq();
        let mut by_user = placement.counts_by_user();
        let mut repeats = placement.take_repeats().into_iter().peekable();
        for index in placement.skip()..batch.len() {
            let repeated = repeats.next_if(|(at, _)| *at == index).map(|(_, counts)| counts);
            let recipients = repeated.as_ref().map_or_else(|| placement.recipients(index), |c| c.recipients);
            let seq = first_seq + index as u64;
            self.kept.push_back(Placed { seq, recipients });
            if let Some(counts) = repeated.filter(|counts| !counts.by_user.is_empty()) {
                by_user.push((index, counts.by_user));
            }
            if seq > self.filled && !placement.is_silent(index) && !batch.is_control(index) {
                self.arrived.with_users += u64::from(recipients > 0);
                self.arrived.without_users += u64::from(recipients == 0);
            }
        }
        by_user.sort_unstable_by_key(|(index, _)| *index);
        for (index, recipients) in by_user {
            self.users += recipients.len();
            self.by_user.push_back(UserCounts { seq: first_seq + index as u64, recipients });
        }
        self.conflicts.extend(placement.conflicts());
    }

    /// What was never sent is always kept: it is bounded by what the link lets in.
    fn bound(&mut self) {
        while self.kept.len() + self.users > MAX_KEPT
            && let Some(placed) = self.kept.pop_front_if(|placed| placed.seq <= self.sent)
        {
            self.dropped = placed.seq;
            self.forget_users(placed.seq);
        }
    }

    fn forget_users(&mut self, through: u64) {
        while let Some(counts) = self.by_user.pop_front_if(|counts| counts.seq <= through) {
            self.users -= counts.recipients.len();
        }
        while self.conflicts.pop_front_if(|seq| *seq <= through).is_some() {}
    }
}
