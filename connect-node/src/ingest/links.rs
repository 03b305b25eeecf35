//! What links say besides messages: who speaks for a manager, where it starts, what is lost, that it is well.

use std::sync::Arc;

use pushcast_proto::connectnode::v1::{Fill, Heartbeat, Hello};
use tracing::warn;

use super::{Ingest, IngestError, Inner, Owner, TakenOver};
use crate::batch::Batch;

/// Of the window's bytes, what may be asked of a manager as a fill: in the window a small message takes almost twice
/// what it takes on the wire.
const FILL_PART: usize = 2;

impl Ingest {
    /// A link said hello: it speaks for its manager from now on, holds acknowledgements up to `acked_seq`, and has
    /// to bring `newest_seq` before the node counts as filled.
    pub fn take_over(&self, hello: &Hello, now: u64) -> TakenOver {
        let mut inner = self.lock();
        let Inner { managers, tokens, completeness, .. } = &mut *inner;
        *tokens += 1;
        let token = *tokens;
        if completeness.heard_clock(hello.manager_id, hello.sent_at, now) {
            warn_of_clock(hello.manager_id, hello.sent_at, now);
        }
        completeness.manager_gone(hello.manager_id, hello.manager_gone_at, hello.sent_at);
        let state = managers.entry(hello.manager_id).or_default();
        if std::mem::take(&mut state.was_gone) && state.received.is_some() {
            // What others quote did not wait for it meanwhile.
            completeness.only_since(now);
        }
        state.owner = Some(token);
        state.due = hello.newest_seq;
        state.heard_at = now;
        state.closed = false;
        state.lapsed = false;
        if state.received.is_some() {
            state.acks.rewind(hello.acked_seq);
        }
        let taken = TakenOver {
            owner: Owner { manager: hello.manager_id, token },
            received: state.received,
            fill_bytes: (self.settings.window.bytes / FILL_PART) as u64,
            placed: Arc::clone(&state.placed),
        };
        self.expect_all(&inner);
        taken
    }

    /// What follows starts where `fill` says; only for a manager of which nothing was received.
    pub fn fill(&self, owner: Owner, fill: &Fill, now: u64) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let before = fill.first_seq.saturating_sub(1);
        state.received = Some(before);
        state.due = fill.last_seq;
        state.heard_at = now;
        state.whole_from = fill.first_seq;
        state.filling_since = Some(now);
        state.acks.start(before, fill.last_seq);
        inner.completeness.filled(fill.left_out_at, fill.controls_left_out_at);
        // Left out after clients came: they miss it.
        let left_out = fill.left_out_at.saturating_add(inner.completeness.allowance());
        if fill.left_out_at > 0 && inner.open_since.is_some_and(|open| left_out > open) {
            self.hole(&mut inner, now);
        }
        self.mark_all(|marks| marks.advance(owner.manager, Some(before), 0));
        Ok(())
    }

    /// Takes controls that are older than what is filled.
    pub fn controls(&self, owner: Owner, batch: &Batch) -> Result<(), IngestError> {
        let mut inner = self.lock();
        inner.owned(owner)?;
        for index in 0..batch.len() {
            inner.note_control(batch, index, owner.manager, 0);
        }
        Ok(())
    }

    /// The manager's log no longer has the seqs up to `to`: a hole. Returns how many are lost.
    pub fn gap(&self, owner: Owner, to: u64, now: u64) -> Result<u64, IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        state.heard_at = now;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if to <= received {
            return Ok(0);
        }
        state.received = Some(to);
        state.whole_from = to + 1;
        state.acks.skipped(to);
        self.hole(&mut inner, now);
        self.mark_all(|marks| marks.advance(owner.manager, Some(to), 0));
        Ok(to - received)
    }

    /// Something is missing here from now on: who is connected has to go elsewhere.
    pub(crate) fn hole(&self, inner: &mut Inner, now: u64) {
        inner.completeness.only_since(now);
        if inner.open_since.is_none() {
            return;
        }
        self.metrics.hole();
        for (inbox, wake) in self.inboxes.iter().zip(&self.wake) {
            if inbox.hole() {
                wake.notify_one();
            }
        }
    }

    /// A heartbeat: everything accepted up to `through` came before it, the manager holds acknowledgements
    /// up to `acked_seq` and knows `managers` to be registered.
    pub fn heartbeat(&self, owner: Owner, beat: &Heartbeat, now: u64) -> Result<(), IngestError> {
        let mut inner = self.lock();
        let state = inner.owned(owner)?;
        let received = state.received.ok_or(IngestError::NotStarted)?;
        if beat.sent_seq != received {
            return Err(IngestError::Hole { expected: received + 1, got: beat.sent_seq.saturating_add(1) });
        }
        state.heard_at = now;
        state.acks.confirm(beat.acked_seq);
        if inner.completeness.heard_clock(owner.manager, beat.sent_at, now) {
            warn_of_clock(owner.manager, beat.sent_at, now);
        }
        inner.completeness.manager_gone(owner.manager, beat.manager_gone_at, beat.sent_at);
        self.mark_all(|marks| marks.advance(owner.manager, None, beat.through));
        let just_came = inner.just_came(now);
        let Inner { managers, completeness, .. } = &mut *inner;
        for (manager, state) in managers {
            if !beat.managers.contains(manager) && state.unnamed(owner.manager, self.settings.registry, now) {
                completeness.only_since(now);
            }
        }
        for manager in &beat.managers {
            let state = inner.managers.entry(*manager).or_default();
            if state.named_by.insert(owner.manager) && !state.registered {
                state.known_at = now;
                state.may_be_old |= just_came;
            }
        }
        self.expect_all(&inner);
        Ok(())
    }

    /// The manager ended cleanly: nothing more is expected of it.
    pub fn close(&self, owner: Owner) -> Result<(), IngestError> {
        let mut inner = self.lock();
        inner.owned(owner)?.closed = true;
        self.expect_all(&inner);
        Ok(())
    }
}

fn warn_of_clock(manager: u64, sent_at: u64, now: u64) {
    let ahead_ms = sent_at as i64 / 1000 - now as i64 / 1000;
    warn!(manager = format!("{manager:016x}"), ahead_ms, "A manager's clock is far from this node's.");
}
