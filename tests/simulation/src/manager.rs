//! One manager process: the product's log, links, nodes and answers, connected as its hub connects them.

use std::collections::{BTreeMap, HashMap};

use push_manager::{
    answers::{Answers, Done, NodeKey},
    link_state::{Acked, Identity, LinkState, Started},
    log::{self, Log, LogLimits},
    nodes::{Change, Nodes},
};
use pushcast_proto::connectnode::v1::Message;

use crate::{
    ledger::Ledger,
    naive::Naive,
    stage::{BEGIN, Clock, Event, MILLI, SECOND, Stage},
    truth::{Accepted, Accepter, Id, Target, handed_up},
};

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) target: Target,
    /// What its content names; itself, if nothing is said.
    pub(crate) content: Option<Id>,
    pub(crate) request: Option<u64>,
}

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
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) answers: Answers<u64>,
    pub(crate) nodes: Nodes,
    pub(crate) peers: BTreeMap<NodeKey, Peer>,
    pub(crate) identity: Identity,
    pub(crate) ledger: Ledger,
    /// Version of the last news, `None` before the first list.
    pub(crate) learned: Option<u64>,
    /// Once it ended: up to where each node process had acknowledged.
    pub(crate) left_pending: Option<HashMap<usize, u64>>,
    /// Node processes that it knows no more, and up to where they had acknowledged.
    pub(crate) forgotten: Vec<(usize, u64)>,
    pub(crate) addresses: BTreeMap<NodeKey, String>,
    settles_at: u64,
}

impl Manager {
    pub(crate) fn new(stage: &mut Stage) -> Self {
        let chance = &mut stage.chance;
        let id = chance.number().max(1);
        let clock = Clock::any(chance, stage.skew);
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
            manager_gone_at: clock.read(stage.now),
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
            clock,
            log: Log::new(limits),
            answers: Answers::new(cap),
            nodes: Nodes::new(),
            peers: BTreeMap::new(),
            identity,
            ledger: Ledger::new(cap),
            learned: None,
            left_pending: None,
            forgotten: Vec::new(),
            addresses: BTreeMap::new(),
            settles_at: u64::MAX,
        }
    }

    /// Whether it never accepted anything.
    pub(crate) fn log_is_empty(&self) -> bool {
        self.log.newest() == 0
    }

    /// Accepts a message. Returns its accept time.
    pub(crate) fn push(&mut self, stage: &mut Stage, push: Push) -> u64 {
        let now = self.now(stage);
        let users = push.target.users().len();
        let own = Id { manager: self.index, seq: self.log.newest() + 1 };
        let mut message = push.target.message(push.content.unwrap_or(own), push.request);
        let accepted = self.append(stage, &mut message, push);
        let chance = &mut stage.chance;
        let deadline = chance.one_in(5).then(|| now.mono + chance.between(10, 900) * MILLI);
        let waiter = (!chance.one_in(6)).then_some(accepted.seq);
        self.ledger.accepted(now.mono, users, deadline.filter(|_| waiter.is_some()), waiter.is_some());
        self.answers.accept(accepted.seq, now.mono, users, deadline, waiter);
        self.settle(stage);
        accepted.accepted_at
    }

    fn append(&mut self, stage: &mut Stage, message: &mut Message, push: Push) -> log::Accepted {
        let accepted = self.log.append(message, push.target.api(), self.now(stage));
        let own = Id { manager: self.index, seq: accepted.seq };
        if let Some(request) = push.request {
            stage.truth.identities.entry(request).or_default().push(own);
        }
        stage.tell(|| format!("{own} at {}: {push:?}", accepted.accepted_at));
        let message_id = match &message.request_hash[..] {
            [] => format!("{:016x}-{}", self.id, accepted.seq),
            hash => hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        stage.truth.managers[self.index].messages.push(Accepted {
            at: accepted.accepted_at,
            real: stage.now,
            target: push.target,
            content: push.content.unwrap_or(own),
            request: push.request,
            message_id,
        });
        stage.findings.counts.accepted += 1;
        accepted
    }

    /// Logs what a node handed up. Nobody waits for it.
    pub(crate) fn hand_up(&mut self, stage: &mut Stage, mut control: Message) -> Option<u64> {
        let target = handed_up(&control)?;
        stage.findings.counts.handed_up += 1;
        let now = self.now(stage);
        let accepted = self.append(stage, &mut control, Push { target, content: None, request: None });
        self.ledger.accepted(now.mono, 0, None, false);
        self.answers.accept(accepted.seq, now.mono, 0, None, None);
        self.settle(stage);
        Some(accepted.accepted_at)
    }

    /// By its own clocks.
    pub(crate) fn now(&self, stage: &Stage) -> push_manager::clock::Now {
        push_manager::clock::Now { wall: self.clock.read(stage.now), mono: stage.now - BEGIN }
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
        self.answers.conflicts(&acked.conflicts);
        self.ledger.acked(key, acked.first, &acked.recipients, &acked.by_user);
        if self.answers.acked(key, acked.first, &acked.recipients, &acked.by_user) || !acked.lost.is_empty() {
            self.settle(stage);
        }
        self.ledger.nothing_is_late(stage, self.now(stage).mono);
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
        let now = self.now(stage).mono;
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
        self.log.evict(self.now(stage).mono);
        self.settle(stage);
    }
}
