//! A batch comes in: what is new of it gets its numbers, its place in the window, and is offered to the shards.

use std::{collections::HashMap, sync::Arc};

use pushcast_proto::connectnode::v1::control;
use tokio::sync::Notify;

use super::{Ingest, IngestError, Inner, Owner};
use crate::{
    batch::{Batch, Target},
    placement::{Original, Placement, Silent},
    requests::{Hash, Seen},
};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// Messages that had not arrived before.
    pub new: usize,
    /// Those of them that nobody gets because their request_id was known.
    pub repeats: usize,
}

/// The messages of a batch by what is known of their request_ids.
#[derive(Debug, Default)]
struct Sorted {
    silent: Silent,
    /// Key, hash and index of those that are new.
    fresh: Vec<(Hash, Hash, usize)>,
    repeats: usize,
}

impl Ingest {
    /// Takes a batch: drops what arrived before, numbers the rest, keeps it in the window and offers it to every
    /// shard. Returns how many messages were new. `now` in microseconds.
    pub fn offer(&self, owner: Owner, batch: Batch, now: u64) -> Result<Offered, IngestError> {
        let mut inner = self.lock();
        let (arrivals, open_since) = (inner.arrivals, inner.open_since.unwrap_or(0));
        let allowance = inner.completeness.allowance();
        let state = inner.owned(owner)?;
        state.heard_at = now;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if batch.first_seq() > received + 1 {
            return Err(IngestError::Hole { expected: received + 1, got: batch.first_seq() });
        }
        let skip = (received + 1 - batch.first_seq()) as usize;
        if skip >= batch.len() {
            return Ok(Offered { new: 0, repeats: 0 });
        }
        let new = batch.len() - skip;
        state.received = Some(batch.last_seq());
        let filled = if state.is_filled() { state.filling_since.take() } else { None };
        let placed = Arc::clone(&state.placed);
        let due = state.due;
        let has_requests = batch.has_requests();
        let mut placement = Placement::new(
            batch,
            Some(owner.manager),
            arrivals + 1,
            skip,
            self.inboxes.len(),
            Arc::clone(&placed),
        );
        placement.withhold(|message| {
            message.seq <= due && message.accepted_at < open_since.saturating_sub(allowance)
        });
        let sorted = if has_requests { inner.sort_requests(&placement, &placed) } else { Sorted::default() };
        placement.silence(sorted.silent);
        let placement = Arc::new(placement);
        for (key, hash, index) in sorted.fresh {
            inner.requests.insert(key, hash, &placement, index, now);
        }
        inner.owned(owner)?.acks.offered(Arc::clone(&placement));
        inner.arrivals += new as u64;
        self.keep(&mut inner, &placement);
        self.offer_to_shards(&placement, inner.arrivals);
        if let Some(since) = filled {
            self.metrics.filled(now.saturating_sub(since));
        }
        Ok(Offered { new, repeats: sorted.repeats })
    }

    /// Puts a batch into the window, and its controls aside.
    fn keep(&self, inner: &mut Inner, placement: &Arc<Placement>) {
        let Inner { window, requests, .. } = inner;
        window.insert(placement, |gone| requests.let_go(gone));
        let batch = placement.batch();
        if !batch.has_controls() {
            return;
        }
        let manager = placement.manager().unwrap_or_default();
        for index in placement.skip()..batch.len() {
            if let Target::Control(control) = batch.message(index).target
                && !placement.is_silent(index)
            {
                if let Some(control::Action::Claim(claim)) = &control.action {
                    self.hand_ups.came_down(claim.nonce);
                }
                inner.note_control(batch, index, manager, placement.arrival(index));
            }
        }
    }

    /// Takes a push to this node alone: it has no identity, moves no mark and is acknowledged to nobody.
    pub fn offer_direct(&self, batch: Batch, placed: Arc<Notify>) -> Arc<Placement> {
        let mut inner = self.lock();
        let placement = Placement::new(batch, None, inner.arrivals + 1, 0, self.inboxes.len(), placed);
        let placement = Arc::new(placement);
        inner.arrivals += placement.batch().len() as u64;
        self.offer_to_shards(&placement, inner.arrivals);
        placement
    }

    fn offer_to_shards(&self, placement: &Arc<Placement>, arrival: u64) {
        for (inbox, wake) in self.inboxes.iter().zip(&self.wake) {
            if inbox.offer(placement, arrival) {
                wake.notify_one();
            }
        }
    }
}

impl Inner {
    /// Looks every request_id of a batch up. A repeat becomes another identity of its original.
    fn sort_requests(&mut self, placement: &Placement, placed: &Arc<Notify>) -> Sorted {
        let mut sorted = Sorted::default();
        // What came earlier in this very batch.
        let mut here: HashMap<Hash, (Hash, usize)> = HashMap::new();
        let (batch, manager) = (placement.batch(), placement.manager().unwrap_or_default());
        for index in placement.skip()..batch.len() {
            let message = batch.message(index);
            let (Ok(key), Ok(hash)) =
                (Hash::try_from(message.request_key), Hash::try_from(message.request_hash))
            else {
                continue;
            };
            let seen = match here.get(&key) {
                Some((first, at)) if *first == hash => {
                    Seen::Same { arrival: placement.arrival(*at), original: Original::Here(*at) }
                }
                Some(_) => Seen::Other,
                None => self.requests.seen(&key, &hash),
            };
            match seen {
                Seen::Never => {
                    here.insert(key, (hash, index));
                    sorted.fresh.push((key, hash, index));
                    continue;
                }
                Seen::Same { arrival, original } => {
                    if let Original::There(there, _) = &original {
                        there.notify_too(placed);
                    }
                    self.window.repeat(arrival, (manager, message.seq));
                    sorted.silent.repeat(index, original);
                }
                Seen::Other => sorted.silent.conflict(index),
            }
            sorted.repeats += 1;
        }
        sorted
    }

    pub(super) fn note_control(&mut self, batch: &Batch, index: usize, manager: u64, arrival: u64) {
        if let Some(forgotten) = self.controls.note(batch, index, manager, arrival) {
            self.completeness.controls_only_since(forgotten);
        }
    }
}
