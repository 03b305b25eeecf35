//! What one process of a node has been sent and has acknowledged.

use std::collections::VecDeque;

use pushcast_proto::connectnode::v1::Ack;

use super::{Acked, Counted, Event, LinkError};
use crate::api::Api;

/// Messages of one kind in a row, sent and not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    /// `None` for controls.
    api: Option<Api>,
}

/// Runs kept for a node that reads and acknowledges nothing: 1 MiB. What it acknowledges then is not counted
/// in the metrics of broadcasting.
const MAX_RUNS: usize = 64 * 1024;

/// Sent and acknowledged seqs of a node's present process; starts anew with each `instance`.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// `None` before the first Start.
    instance: Option<String>,
    /// Everything up to it is acknowledged, lost, or was never asked for.
    acked: u64,
    /// Everything up to it was sent in a batch or a Gap on this or an earlier connection.
    sent: u64,
    /// Acknowledgements up to it do not count in the metrics: they are fills, or repeat what an
    /// earlier life of this value may have counted.
    uncounted: u64,
    /// The process knew this manager before we knew it: up to here it may repeat counts, from anywhere and
    /// with holes where it was told of Gaps that we have forgotten. 0 once it has come so far.
    repeats_to: u64,
    /// Newest seq repeated so far.
    repeated: u64,
    /// Gaps said and not passed by an acknowledgement yet.
    gaps: VecDeque<(u64, u64)>,
    /// The kinds of what is sent and not acknowledged: the log may drop it before the answer comes.
    runs: VecDeque<Run>,
}

impl Process {
    pub(super) fn is_known(&self) -> bool {
        self.instance.is_some()
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// Newest seq of which this value holds the acknowledgement, all before it included.
    pub(super) fn held(&self) -> u64 {
        if self.repeats_to > 0 { self.repeated } else { self.acked }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn next(&self) -> u64 {
        self.sent + 1
    }

    /// The process has everything up to `after`. Returns up to where it will not acknowledge.
    pub(super) fn continues(&mut self, instance: &str, after: u64, newest: u64) -> Result<u64, LinkError> {
        if self.instance.as_deref() != Some(instance) {
            if after > newest {
                return Err(LinkError::StartAhead { claimed: after, sent: newest });
            }
            *self = Self {
                instance: Some(instance.to_owned()),
                acked: after,
                sent: after,
                uncounted: after,
                repeats_to: after,
                ..Self::default()
            };
            return Ok(after);
        }
        if after > self.sent {
            return Err(LinkError::StartAhead { claimed: after, sent: self.sent });
        }
        if after < self.acked {
            return Err(LinkError::StartBehind { claimed: after, acked: self.acked });
        }
        self.sent = after;
        self.gaps.retain(|&(from, _)| from <= after);
        while self.runs.back().is_some_and(|run| run.last > after) {
            // The run may have begun before the cut; its part after it is sent anew.
            let cut = self.runs.pop_back().expect("it was just looked at");
            if self.runs.back().map_or(self.acked, |run| run.last) < after {
                self.runs.push_back(Run { last: after, ..cut });
            }
        }
        Ok(0)
    }

    /// The process has nothing of this manager and gets it from `first` on; up to `last` it is filled.
    pub(super) fn fills(&mut self, instance: &str, first: u64, last: u64) {
        *self = Self {
            instance: Some(instance.to_owned()),
            acked: first - 1,
            sent: first - 1,
            uncounted: last,
            ..Self::default()
        };
    }

    pub(super) fn sent_gap(&mut self, from: u64, to: u64) {
        self.gaps.push_back((from, to));
        self.sent = to;
    }

    pub(super) fn sent_batch(&mut self, last: u64, apis: impl Iterator<Item = Option<Api>>) {
        for (seq, api) in (self.sent + 1..).zip(apis) {
            match self.runs.back_mut() {
                Some(run) if run.api == api => run.last = seq,
                _ => self.runs.push_back(Run { last: seq, api }),
            }
        }
        if self.runs.len() > MAX_RUNS {
            self.runs.clear();
            self.uncounted = last;
        }
        self.sent = last;
    }

    /// Takes an acknowledgement, all of it or nothing.
    pub(super) fn acknowledged(&mut self, ack: Ack) -> Result<Event, LinkError> {
        let lost = self.gaps_before(ack.first_seq)?;
        let n_acked = ack.recipients.len() as u64;
        let last = ack.first_seq.saturating_sub(1).saturating_add(n_acked);
        if last > self.sent {
            return Err(LinkError::AckAhead { last, sent: self.sent });
        }
        if let Some(&(from, _)) = self.gaps.get(lost.len()).filter(|&&(from, _)| from <= last) {
            return Err(LinkError::AckInGap(from));
        }
        if let Some(counts) = ack.by_user.iter().find(|c| c.seq < ack.first_seq || c.seq > last) {
            return Err(LinkError::CountsOutside(counts.seq));
        }
        check_conflicts(&ack.conflicts, ack.first_seq, last)?;

        self.gaps.drain(..lost.len());
        self.acked = self.acked.max(last);
        self.repeated = last;
        if last >= self.repeats_to {
            self.repeats_to = 0;
        }
        let counted = self.count(&ack);
        Ok(Event::Acked(Acked {
            lost,
            first: ack.first_seq,
            recipients: ack.recipients,
            by_user: ack.by_user,
            conflicts: ack.conflicts,
            counted,
        }))
    }

    /// The Gaps that lie between the last acknowledgement and one that starts at `first`.
    fn gaps_before(&self, first: u64) -> Result<Vec<(u64, u64)>, LinkError> {
        if self.repeats_to > 0 && (self.repeated + 1..=self.repeats_to + 1).contains(&first) {
            return Ok(Vec::new());
        }
        let mut expected = self.acked + 1;
        let mut passed = Vec::new();
        for &(from, to) in &self.gaps {
            if expected == first || from != expected {
                break;
            }
            passed.push((from, to));
            expected = to + 1;
        }
        if expected == first { Ok(passed) } else { Err(LinkError::AckNotNext { first, expected }) }
    }

    fn count(&mut self, ack: &Ack) -> [Counted; 4] {
        let mut counted = [Counted::default(); 4];
        for (seq, &n_recipients) in (ack.first_seq..).zip(&ack.recipients) {
            while self.runs.front().is_some_and(|run| run.last < seq) {
                self.runs.pop_front();
            }
            if seq <= self.uncounted || ack.conflicts.binary_search(&seq).is_ok() {
                continue;
            }
            if let Some(api) = self.runs.front().and_then(|run| run.api) {
                let count = &mut counted[api.index()];
                count.nodes += 1;
                count.delivered += u64::from(n_recipients > 0);
            }
        }
        while self.runs.front().is_some_and(|run| run.last <= self.acked) {
            self.runs.pop_front();
        }
        counted
    }
}

fn check_conflicts(conflicts: &[u64], first: u64, last: u64) -> Result<(), LinkError> {
    if let Some(pair) = conflicts.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(LinkError::ConflictsUnordered(pair[1]));
    }
    match conflicts.iter().find(|&&seq| seq < first || seq > last) {
        Some(&seq) => Err(LinkError::ConflictOutside(seq)),
        None => Ok(()),
    }
}
