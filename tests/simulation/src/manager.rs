//! One manager process: the product's log, links, nodes and answers, connected as its hub connects them.

use std::collections::BTreeMap;

use push_manager::{
    answers::{Answers, Done, NodeKey},
    link_state::{Acked, Identity, LinkState, Started},
    log::{Log, LogLimits},
    nodes::{Change, Nodes},
};

use crate::{
    ledger::Ledger,
    naive::Naive,
    stage::{Event, MILLI, SECOND, Stage},
    truth::{Accepted, Accepter, Target},
};

/// What a manager keeps for one node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) state: LinkState,
    /// The present connection.
    pub(crate) link: Option<usize>,
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) index: usize,
    pub(crate) id: u64,
    pub(crate) alive: bool,
    /// Takes pushes.
    pub(crate) open: bool,
    pub(crate) stopping: bool,
    pub(crate) started_at: u64,
    pub(crate) log: Log,
    pub(crate) answers: Answers<u64>,
    pub(crate) nodes: Nodes,
    pub(crate) peers: BTreeMap<NodeKey, Peer>,
    pub(crate) identity: Identity,
    pub(crate) ledger: Ledger,
    /// Version of the last news, `None` before the first list.
    pub(crate) learned: Option<u64>,
    settles_at: u64,
}

impl Manager {
    pub(crate) fn new(stage: &mut Stage) -> Self {
        let chance = &mut stage.chance;
        let id = chance.number().max(1);
        let cap = if chance.one_in(4) { 300 * MILLI } else { 5 * SECOND };
        // Small logs, so that a node that was away finds a Gap.
        let limits = match chance.below(4) {
            0 => LogLimits { bytes: 1_500, age: 100 * SECOND },
            1 => LogLimits { bytes: 4_000, age: SECOND },
            _ => LogLimits { bytes: 1 << 20, age: 100 * SECOND },
        };
        let identity = Identity {
            manager_id: id,
            version: "simulated".to_owned(),
            managers: Vec::new(),
            manager_gone_at: stage.now,
        };
        let index = stage.truth.managers.len();
        stage.truth.managers.push(Accepter { id, messages: Vec::new() });
        Self {
            index,
            id,
            alive: true,
            open: false,
            stopping: false,
            started_at: stage.now,
            log: Log::new(limits),
            answers: Answers::new(cap),
            nodes: Nodes::new(),
            peers: BTreeMap::new(),
            identity,
            ledger: Ledger::new(cap),
            learned: None,
            settles_at: u64::MAX,
        }
    }

    /// Whether it never accepted anything.
    pub(crate) fn log_is_empty(&self) -> bool {
        self.log.newest() == 0
    }

    /// Accepts a message. Returns its accept time.
    pub(crate) fn push(&mut self, stage: &mut Stage, target: Target) -> u64 {
        let now = stage.manager_now();
        let users = target.users().len();
        let mut message = target.message(self.index, self.log.newest() + 1);
        let accepted = self.log.append(&mut message, target.api(), now);
        let chance = &mut stage.chance;
        let deadline = chance.one_in(5).then(|| now.mono + chance.between(10, 900) * MILLI);
        let waiter = (!chance.one_in(6)).then_some(accepted.seq);
        self.ledger.accepted(now.mono, users, deadline.filter(|_| waiter.is_some()), waiter.is_some());
        stage.truth.managers[self.index].messages.push(Accepted { at: accepted.accepted_at, target });
        stage.findings.counts.accepted += 1;
        self.answers.accept(accepted.seq, now.mono, users, deadline, waiter);
        self.settle(stage);
        accepted.accepted_at
    }

    /// The other half of a link answered Hello.
    pub(crate) fn started(&mut self, stage: &mut Stage, key: NodeKey, started: &Started) {
        self.nodes.linked(key, &started.node_id, &started.instance);
        for (key, node) in self.nodes.iter() {
            self.answers.rename_node(key, node.name());
        }
        self.answers.link(key, started.not_for_it);
        self.ledger.linked(key, started.not_for_it);
        self.settle(stage);
    }

    pub(crate) fn acked(&mut self, stage: &mut Stage, key: NodeKey, acked: &Acked) {
        for &(from, to) in &acked.lost {
            self.ledger.lost(key, from, to);
            if !stage.is(Naive::GapIsNotPending) {
                self.answers.lost(key, from, to);
            }
        }
        self.ledger.acked(key, acked.first, &acked.recipients, &acked.by_user);
        if self.answers.acked(key, acked.first, &acked.recipients, &acked.by_user) || !acked.lost.is_empty() {
            self.settle(stage);
        }
        self.ledger.nothing_is_late(stage, stage.manager_now().mono);
    }

    /// A connection ended. Returns what that changed, and whether the link has to be tried again.
    pub(crate) fn link_down(&mut self, stage: &mut Stage, key: NodeKey) -> (Vec<Change>, bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return (Vec::new(), false) };
        let (was_linked, was_closed) = (peer.state.is_linked(), peer.state.is_closed());
        peer.state.closed();
        peer.link = None;
        let mut changes = Vec::new();
        if was_linked {
            if !stage.is(Naive::WaitForUnlinked) {
                self.answers.unlink(key);
            }
            self.ledger.unlinked(key);
            changes.extend(self.nodes.unlinked(key));
            self.record(&changes);
            self.settle(stage);
        }
        (changes, !was_closed && self.peers.contains_key(&key))
    }

    /// Keeps answers and links in step with the nodes.
    pub(crate) fn record(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Added(key) => {
                    let Some(node) = self.nodes.get(*key) else { continue };
                    self.answers.add_node(*key, node.name());
                    self.ledger.add(*key, node.name());
                    self.peers.insert(*key, Peer { state: LinkState::new(), link: None });
                }
                Change::Removed(key) => {
                    self.answers.remove_node(*key);
                    self.ledger.remove(*key);
                    self.peers.remove(key);
                }
                Change::Relink(_) => {}
            }
        }
    }

    /// Answers what needs no more waiting, and looks again when that may change by itself.
    pub(crate) fn settle(&mut self, stage: &mut Stage) {
        let now = stage.manager_now().mono;
        let ledger = &mut self.ledger;
        self.answers.advance(now, |Done { waiter, answer }| {
            debug_assert_eq!(waiter, answer.seq);
            ledger.answered(stage, &answer, now);
        });
        ledger.nothing_is_late(stage, now);
        let due = self.answers.next_due();
        if due < self.settles_at {
            self.settles_at = due;
            stage.at(crate::stage::BEGIN + due, Event::Settle(self.index));
        }
    }

    /// Time passed.
    pub(crate) fn on_time(&mut self, stage: &mut Stage) {
        self.settles_at = u64::MAX;
        self.log.evict(stage.manager_now().mono);
        self.settle(stage);
    }
}
