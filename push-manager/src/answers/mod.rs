//! When a push is answered, and with what. No I/O and no clock of its own.
//!
//! Nodes acknowledge in order, so pushes are answered in order too: all up to the smallest
//! acknowledged seq among the nodes that are waited for. A push costs one entry in a queue until then,
//! whoever waits for it; an acknowledgement of many messages pops them from the front.
//!
//! A node is waited for while it is linked and its oldest unacknowledged message is younger than
//! [`PATIENCE`]. So no push waits longer than that, and one slow node delays nobody after its first second.

mod tally;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
};

use pushcast_proto::connectnode::v1::UserCounts;

use self::tally::Tally;
use crate::clock::SECOND;

pub use self::tally::{Answer, Done, End};

/// How long a message may stay unacknowledged before its node is no longer waited for, in microseconds.
pub const PATIENCE: u64 = SECOND;

/// A node, as this manager numbers them; never used again after the node is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u32);

#[derive(Debug)]
struct Node {
    name: Arc<str>,
    linked: bool,
    /// Everything up to it is acknowledged by this node, was not for it, or is lost to it.
    acked: u64,
}

/// The pushes that are waited for. `W` is whoever waits for one: a caller, or an item of a stream.
///
/// All times are microseconds of one clock that never goes back.
#[derive(Debug)]
pub struct Answers<W> {
    nodes: BTreeMap<NodeKey, Node>,
    /// Pushes of at least the last second, by seq without holes.
    tallies: VecDeque<Tally<W>>,
    /// Seq of the first of them.
    first: u64,
    /// All pushes up to it are answered.
    done: u64,
    deadlines: BinaryHeap<Reverse<(u64, u64)>>,
    /// No push waits longer.
    cap: u64,
    /// Nothing changes by itself before.
    next_due: u64,
}

impl<W> Answers<W> {
    /// Nobody waits for more than `cap` microseconds, nor for more than [`PATIENCE`].
    pub fn new(cap: u64) -> Self {
        Self {
            nodes: BTreeMap::new(),
            tallies: VecDeque::new(),
            first: 1,
            done: 0,
            deadlines: BinaryHeap::new(),
            cap,
            next_due: u64::MAX,
        }
    }

    // === Nodes ===

    /// A node is known from now on; pending for every push until it acknowledges.
    pub fn add_node(&mut self, key: NodeKey, name: &str) {
        self.nodes.insert(key, Node { name: name.into(), linked: false, acked: 0 });
    }

    /// Another name for a node, once it has told it.
    pub fn rename_node(&mut self, key: NodeKey, name: &str) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.name = name.into();
        }
    }

    /// A node is gone. What it acknowledged still counts. Follow with [`Answers::advance`].
    pub fn remove_node(&mut self, key: NodeKey) {
        self.nodes.remove(&key);
    }

    /// A node answered Hello: it is waited for, and what is not for it is not pending at it.
    pub fn link(&mut self, key: NodeKey, not_for_it: u64) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.linked = true;
            node.acked = node.acked.max(not_for_it);
            let acked = node.acked;
            self.note_due_of(acked);
        }
    }

    /// A node's link is down; it is not waited for. Follow with [`Answers::advance`].
    pub fn unlink(&mut self, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.linked = false;
        }
    }

    /// Whether any node is known, linked or not.
    pub fn has_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    // === Pushes and acknowledgements ===

    /// A push was accepted as `seq`, the one after the last. `users` is how many user ids it names, 0 if
    /// it is not for several users. `deadline` is the caller's own, if it is before the cap. Follow with
    /// [`Answers::advance`].
    pub fn accept(&mut self, seq: u64, now: u64, users: usize, deadline: Option<u64>, waiter: Option<W>) {
        if self.tallies.is_empty() {
            self.first = seq;
        }
        debug_assert_eq!(seq, self.first + self.tallies.len() as u64, "seqs have no holes");
        let patience_ends = now.saturating_add(PATIENCE.min(self.cap));
        self.next_due = self.next_due.min(patience_ends);
        if let Some(deadline) = deadline.filter(|&deadline| waiter.is_some() && deadline < patience_ends) {
            self.deadlines.push(Reverse((deadline, seq)));
            self.next_due = self.next_due.min(deadline);
        }
        self.tallies.push_back(Tally::new(now, users, waiter));
    }

    /// A node placed the messages from `first` on, one per entry of `recipients`. Follow with
    /// [`Answers::advance`] if this returns true.
    pub fn acked(&mut self, key: NodeKey, first: u64, recipients: &[u32], by_user: &[UserCounts]) -> bool {
        let Some(node) = self.nodes.get_mut(&key) else { return false };
        let last = (first + recipients.len() as u64).saturating_sub(1);
        if last <= node.acked {
            return false;
        }
        let was_waited_for = node.acked <= self.done;
        let counted_before = node.acked.max(self.done);
        node.acked = last;
        for seq in first.max(counted_before + 1).max(self.first)..=last {
            if let Some(tally) = self.tallies.get_mut((seq - self.first) as usize) {
                tally.acked(recipients[(seq - first) as usize]);
            }
        }
        for counts in by_user.iter().filter(|counts| counts.seq > counted_before) {
            if let Some(tally) = at(&mut self.tallies, self.first, counts.seq) {
                tally.count_users(&counts.recipients);
            }
        }
        self.note_due_of(last);
        was_waited_for
    }

    /// A node knows the request_ids of these with another target or content. To be told before the
    /// acknowledgement they came with; once a push is answered it is too late.
    pub fn conflicts(&mut self, seqs: &[u64]) {
        for &seq in seqs {
            if let Some(tally) = at(&mut self.tallies, self.first, seq) {
                tally.conflicts();
            }
        }
    }

    /// A node will never get these seqs: a Gap. They stay pending at it, but nobody waits for them.
    /// Follow with [`Answers::advance`].
    pub fn lost(&mut self, key: NodeKey, from: u64, to: u64) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        for seq in from.max(node.acked + 1).max(self.done + 1)..=to {
            if let Some(tally) = at(&mut self.tallies, self.first, seq) {
                tally.lost(key);
            }
        }
        node.acked = node.acked.max(to);
    }

    // === Time ===

    /// Answers everything that needs no more waiting, in the order of acceptance.
    pub fn advance(&mut self, now: u64, mut done: impl FnMut(Done<W>)) {
        let (answered, due) = self.answered_up_to(now);
        self.complete_up_to(answered, now, &mut done);
        self.end_deadlines(now, &mut done);
        self.forget(now);
        let deadline = self.deadlines.peek().map_or(u64::MAX, |&Reverse((deadline, _))| deadline);
        self.next_due = match self.tallies.back() {
            // Only memory is left to give back.
            Some(newest) if self.done == self.newest() => newest.accepted_at.saturating_add(PATIENCE),
            _ => due.min(deadline),
        };
    }

    /// When [`Answers::advance`] is to be called again even if nothing happens; `u64::MAX` for never.
    /// May be too early, never too late.
    pub fn next_due(&self) -> u64 {
        self.next_due
    }

    /// Callers' own deadlines that ended before the push was answered.
    fn end_deadlines(&mut self, now: u64, done: &mut impl FnMut(Done<W>)) {
        while let Some(&Reverse((deadline, seq))) = self.deadlines.peek() {
            if seq > self.done && deadline > now {
                break;
            }
            self.deadlines.pop();
            if seq > self.done {
                let behind = self.behind(seq);
                self.finish(seq, End::CallerDeadline, &behind, done);
            }
        }
    }

    /// The last seq that nobody needs to wait for any more, and when that may change by itself.
    fn answered_up_to(&self, now: u64) -> (u64, u64) {
        let newest = self.newest();
        let mut answered = newest;
        let mut due = u64::MAX;
        for node in self.nodes.values().filter(|node| node.linked && node.acked < newest) {
            // A message too old to be remembered is older than anybody's patience.
            let Some(unacked_at) = self.accepted_at(node.acked + 1) else { continue };
            let patience_ends = unacked_at.saturating_add(PATIENCE);
            if patience_ends > now {
                answered = answered.min(node.acked);
                due = due.min(patience_ends);
            }
        }
        while let Some(capped_at) = self.accepted_at(answered + 1).map(|at| at.saturating_add(self.cap)) {
            if capped_at > now {
                due = due.min(capped_at);
                break;
            }
            answered += 1;
        }
        (answered, due)
    }

    fn complete_up_to(&mut self, answered: u64, now: u64, done: &mut impl FnMut(Done<W>)) {
        if answered <= self.done {
            return;
        }
        let behind = self.behind(answered);
        for seq in self.done + 1..=answered {
            let capped = self.accepted_at(seq).is_some_and(|at| at.saturating_add(self.cap) <= now);
            self.finish(seq, if capped { End::Cap } else { End::Complete }, &behind, done);
        }
        self.done = answered;
    }

    fn finish(&mut self, seq: u64, end: End, behind: &[NodeKey], done: &mut impl FnMut(Done<W>)) {
        let Some(tally) = at(&mut self.tallies, self.first, seq) else { return };
        let Some(waiter) = tally.take_waiter() else { return };
        let mut pending: Vec<Arc<str>> = Vec::new();
        // Without a straggler there is nobody to look for: the usual case costs nothing here.
        if !behind.is_empty() || tally.has_lost() {
            let is_pending = |key: &NodeKey, node: &Node| node.acked < seq || tally.has_lost_at(*key);
            pending = self
                .nodes
                .iter()
                .filter(|(key, node)| is_pending(key, node))
                .map(|(_, n)| Arc::clone(&n.name))
                .collect();
            pending.sort_unstable();
        }
        let answer = tally.answer(seq, end, pending);
        done(Done { waiter, answer });
    }

    /// Nodes that have not acknowledged `seq`.
    fn behind(&self, seq: u64) -> Vec<NodeKey> {
        self.nodes.iter().filter(|(_, node)| node.acked < seq).map(|(&key, _)| key).collect()
    }

    /// Drops what is answered and too old to tell whether a node is slow.
    fn forget(&mut self, now: u64) {
        while self.first <= self.done
            && self.tallies.front().is_some_and(|tally| tally.accepted_at.saturating_add(PATIENCE) <= now)
        {
            self.tallies.pop_front();
            self.first += 1;
        }
        // A burst must not keep its memory for ever.
        if self.tallies.capacity() > 1024 && self.tallies.len() < self.tallies.capacity() / 4 {
            self.tallies.shrink_to(self.tallies.len() * 2);
        }
    }

    /// Nothing is waited for beyond when this node's oldest unacknowledged message loses patience.
    fn note_due_of(&mut self, acked: u64) {
        if let Some(unacked_at) = self.accepted_at(acked + 1) {
            self.next_due = self.next_due.min(unacked_at.saturating_add(PATIENCE));
        }
    }

    fn accepted_at(&self, seq: u64) -> Option<u64> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        Some(self.tallies.get(index)?.accepted_at)
    }

    fn newest(&self) -> u64 {
        (self.first + self.tallies.len() as u64).saturating_sub(1).max(self.done)
    }
}

fn at<W>(tallies: &mut VecDeque<Tally<W>>, first: u64, seq: u64) -> Option<&mut Tally<W>> {
    tallies.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
}

#[cfg(test)]
mod tests;
