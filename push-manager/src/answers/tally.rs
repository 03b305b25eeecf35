//! What is known so far of one push.

use std::sync::Arc;

use super::NodeKey;

/// Why a push is answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every node that is waited for has acknowledged.
    Complete,
    /// The caller's own deadline.
    CallerDeadline,
    /// The manager's longest wait.
    Cap,
}

/// The answer to one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its number.
    pub seq: u64,
    /// When it was accepted, microseconds of the monotonic clock.
    pub accepted_at: u64,
    /// Nodes that placed it, gone since or not.
    pub acked: u32,
    /// Those of them that had somebody for it.
    pub delivered_nodes: u32,
    /// Connections it was placed in.
    pub recipients: u32,
    /// For a push to several users: connections per user, in the order of its ids.
    pub by_user: Vec<u32>,
    /// Names of the nodes that have not acknowledged it, sorted.
    pub pending: Vec<Arc<str>>,
    /// A node knows its request_id with another target or content, and did not deliver it.
    pub conflict: bool,
    /// Why now.
    pub end: End,
}

impl Answer {
    /// Nodes the push is for: those that placed it and the pending ones.
    pub fn nodes(&self) -> u32 {
        self.acked.saturating_add(u32::try_from(self.pending.len()).unwrap_or(u32::MAX))
    }
}

/// A push that needs no more waiting.
#[derive(Debug)]
pub struct Done<W> {
    /// Who waits for it.
    pub waiter: W,
    /// What to tell.
    pub answer: Answer,
}

#[derive(Debug)]
pub(super) struct Tally<W> {
    pub(super) accepted_at: u64,
    acked: u32,
    delivered_nodes: u32,
    recipients: u32,
    /// Empty unless the push is for several users.
    by_user: Box<[u32]>,
    /// Nodes that will never get it; hardly ever any.
    lost_at: Vec<NodeKey>,
    conflict: bool,
    waiter: Option<W>,
}

impl<W> Tally<W> {
    pub(super) fn new(accepted_at: u64, users: usize, waiter: Option<W>) -> Self {
        Self {
            accepted_at,
            acked: 0,
            delivered_nodes: 0,
            recipients: 0,
            by_user: vec![0; users].into(),
            lost_at: Vec::new(),
            conflict: false,
            waiter,
        }
    }

    pub(super) fn acked(&mut self, recipients: u32) {
        self.acked += 1;
        self.delivered_nodes += u32::from(recipients > 0);
        self.recipients = self.recipients.saturating_add(recipients);
    }

    pub(super) fn count_users(&mut self, recipients: &[u32]) {
        for (sum, n) in self.by_user.iter_mut().zip(recipients) {
            *sum = sum.saturating_add(*n);
        }
    }

    pub(super) fn conflicts(&mut self) {
        self.conflict = true;
    }

    pub(super) fn lost(&mut self, key: NodeKey) {
        self.lost_at.push(key);
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost_at.is_empty()
    }

    pub(super) fn has_lost_at(&self, key: NodeKey) -> bool {
        self.lost_at.contains(&key)
    }

    pub(super) fn take_waiter(&mut self) -> Option<W> {
        self.waiter.take()
    }

    pub(super) fn answer(&mut self, seq: u64, end: End, pending: Vec<Arc<str>>) -> Answer {
        Answer {
            seq,
            accepted_at: self.accepted_at,
            acked: self.acked,
            delivered_nodes: self.delivered_nodes,
            recipients: self.recipients,
            by_user: std::mem::take(&mut self.by_user).into_vec(),
            pending,
            conflict: self.conflict,
            end,
        }
    }
}
