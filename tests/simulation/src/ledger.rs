//! What a manager was told by its nodes, kept beside the product's `Answers`: check `Answers`.

use std::collections::BTreeMap;

use push_manager::answers::{Answer, End, NodeKey, PATIENCE};
use pushcast_proto::connectnode::v1::UserCounts;

use crate::{findings::Check, stage::Stage};

#[derive(Debug)]
struct Node {
    name: String,
    linked: bool,
    /// Up to it nothing is owed.
    acked: u64,
    lost: Vec<(u64, u64)>,
}

/// A push, from its acceptance on.
#[derive(Debug, Default)]
struct Push {
    accepted_at: u64,
    deadline: Option<u64>,
    answered: bool,
    acked: u32,
    delivered_nodes: u32,
    recipients: u32,
    by_user: Vec<u32>,
}

/// See the file. Times are the manager's monotonic clock.
#[derive(Debug)]
pub(crate) struct Ledger {
    nodes: BTreeMap<NodeKey, Node>,
    /// By seq, from 1.
    pushes: Vec<Push>,
    /// All before this index are answered.
    answered: usize,
    cap: u64,
}

impl Ledger {
    pub(crate) fn new(cap: u64) -> Self {
        Self { nodes: BTreeMap::new(), pushes: Vec::new(), answered: 0, cap }
    }

    pub(crate) fn add(&mut self, key: NodeKey, name: &str) {
        let node = Node { name: name.to_owned(), linked: false, acked: 0, lost: Vec::new() };
        self.nodes.insert(key, node);
    }

    pub(crate) fn remove(&mut self, key: NodeKey) {
        self.nodes.remove(&key);
    }

    pub(crate) fn linked(&mut self, key: NodeKey, not_for_it: u64) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.linked = true;
            node.acked = node.acked.max(not_for_it);
        }
    }

    pub(crate) fn unlinked(&mut self, key: NodeKey) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.linked = false;
        }
    }

    /// A push was accepted; `awaited` if somebody waits for its answer.
    pub(crate) fn accepted(&mut self, at: u64, users: usize, deadline: Option<u64>, awaited: bool) {
        let by_user = vec![0; users];
        self.pushes.push(Push { accepted_at: at, deadline, by_user, answered: !awaited, ..Push::default() });
    }

    pub(crate) fn lost(&mut self, key: NodeKey, from: u64, to: u64) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.lost.push((from.max(node.acked + 1), to));
            node.acked = node.acked.max(to);
        }
    }

    pub(crate) fn acked(&mut self, key: NodeKey, first: u64, recipients: &[u32], by_user: &[UserCounts]) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        for (seq, recipients) in (first..).zip(recipients).filter(|(seq, _)| *seq > node.acked) {
            let Some(push) = self.pushes.get_mut(seq as usize - 1) else { continue };
            push.acked += 1;
            push.delivered_nodes += u32::from(*recipients > 0);
            push.recipients += recipients;
            for counts in by_user.iter().filter(|counts| counts.seq == seq) {
                push.by_user.iter_mut().zip(&counts.recipients).for_each(|(sum, n)| *sum += n);
            }
        }
        node.acked = node.acked.max((first + recipients.len() as u64).saturating_sub(1));
    }

    /// A node that an answer to `seq` has to wait for at `now`.
    fn waits_for(&self, seq: u64, now: u64) -> Option<&str> {
        let patient = |node: &&Node| {
            let oldest = self.pushes.get(node.acked as usize);
            node.linked && node.acked < seq && oldest.is_some_and(|push| push.accepted_at + PATIENCE > now)
        };
        self.nodes.values().find(patient).map(|node| node.name.as_str())
    }

    /// An answer was given.
    pub(crate) fn answered(&mut self, stage: &mut Stage, answer: &Answer, now: u64) {
        let seq = answer.seq;
        let Some(push) = self.pushes.get(seq as usize - 1) else {
            stage.broken(Check::Answers, format!("an answer to {seq}, which was not accepted"));
            return;
        };
        let mut pending: Vec<&str> = self
            .nodes
            .values()
            .filter(|node| node.acked < seq || node.lost.iter().any(|(from, to)| (from..=to).contains(&&seq)))
            .map(|node| node.name.as_str())
            .collect();
        pending.sort_unstable();
        stage.findings.counts.pending_answers += u64::from(!pending.is_empty());
        let told: Vec<&str> = answer.pending.iter().map(|name| &**name).collect();
        let counts = (push.acked, push.delivered_nodes, push.recipients, &push.by_user);
        if counts != (answer.acked, answer.delivered_nodes, answer.recipients, &answer.by_user) {
            let what = format!("{seq} was answered with {answer:?}, acknowledged was {counts:?}");
            stage.broken(Check::Answers, what);
        }
        if pending != told {
            stage.broken(Check::Answers, format!("{seq} was answered pending {told:?}, it is {pending:?}"));
        }
        let too_early = match answer.end {
            End::Complete => self.waits_for(seq, now).map(|node| format!("without waiting for {node}")),
            End::CallerDeadline if push.deadline.is_none_or(|deadline| now < deadline) => {
                Some("before its deadline".to_owned())
            }
            End::Cap if now < push.accepted_at + self.cap => Some("before the longest wait".to_owned()),
            End::CallerDeadline | End::Cap => None,
        };
        if let Some(how) = too_early {
            stage.broken(Check::Answers, format!("{seq} was answered {how}"));
        }
        if push.answered {
            stage.broken(Check::Answers, format!("{seq} was answered twice"));
        }
        self.pushes[seq as usize - 1].answered = true;
    }

    /// Whether every push is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.pushes.iter().all(|push| push.answered)
    }

    /// Everything that can be answered at `now` is.
    pub(crate) fn nothing_is_late(&mut self, stage: &mut Stage, now: u64) {
        while self.pushes.get(self.answered).is_some_and(|push| push.answered) {
            self.answered += 1;
        }
        let Some(push) = self.pushes.get(self.answered) else { return };
        let seq = self.answered as u64 + 1;
        let over =
            push.accepted_at + self.cap <= now || push.deadline.is_some_and(|deadline| deadline <= now);
        if over || self.waits_for(seq, now).is_none() {
            stage.broken(Check::Answers, format!("{seq} waits for nobody and is not answered"));
        }
    }
}
