//! What goes wrong: links break, parts cannot reach each other, processes crash or stop, the registry loses
//! everything. After it all heals in time.

use std::collections::HashMap;

use push_manager::answers::NodeKey;

use super::World;
use crate::{
    node::LEASE,
    stage::{Event, MILLI, Process, SECOND, Side},
};

impl World {
    pub(super) fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let pause = self.fault_every;
        self.stage.within(0, 2 * pause, Event::Fault);
        match self.stage.chance.below(16) {
            12 => self.drain_one(),
            13 | 14 => self.freeze_one(),
            15 => {
                let most = self.stage.chance.between(500 * MILLI, 3 * SECOND);
                self.silent_until = (self.stage.now + most).min(self.calm_at);
            }
            0..=5 => self.break_one(),
            6 | 7 => self.part(),
            8 => self.crash_node(),
            9 => self.crash_manager(),
            10 => self.stop_one(),
            _ => {
                if self.stage.chance.one_in(2) {
                    self.wipe_registry();
                }
            }
        }
    }

    fn break_one(&mut self) {
        let up: Vec<usize> = (0..self.links.len()).filter(|link| self.links[*link].manager_up).collect();
        if let Some(link) = self.stage.chance.pick(&up) {
            self.break_link(link);
        }
    }

    /// A manager and a node cannot reach each other for a while.
    fn part(&mut self) {
        let (Some(manager), Some(place)) =
            (self.stage.chance.index(self.managers.len()), self.stage.chance.index(self.places.len()))
        else {
            return;
        };
        let until = self.stage.now + self.stage.chance.between(200 * MILLI, 3 * SECOND);
        self.partitions.push((manager, place, until.min(self.calm_at)));
        let between: Vec<usize> = (0..self.links.len())
            .filter(|link| {
                self.links[*link].manager == manager && self.nodes[self.links[*link].node].place == place
            })
            .collect();
        for link in between {
            self.break_link(link);
        }
    }

    fn crash_node(&mut self) {
        let Some(place) = self.stage.chance.index(self.places.len()) else { return };
        let node = self.places[place];
        if !self.nodes[node].alive {
            return;
        }
        self.stage.findings.counts.crashes += 1;
        self.end_node(node);
    }

    /// A node is told to stop: its clients go, one after another, and then it.
    fn drain_one(&mut self) {
        let open = self.open_nodes();
        let Some(node) = self.stage.chance.pick(&open) else { return };
        self.stage.findings.counts.drains += 1;
        let spread = self.stage.chance.between(100, 1_000);
        let now = self.nodes[node].now(&self.stage);
        self.nodes[node].draining = true;
        for shard in 0..self.nodes[node].seats.len() {
            self.nodes[node].seats[shard].shard.start_drain(spread, now);
        }
        self.stage.at(self.stage.now + spread * MILLI + 2_300 * MILLI, Event::Drained(node));
    }

    /// A node stands still, perhaps for longer than its record lives and its links wait.
    fn freeze_one(&mut self) {
        let open = self.open_nodes();
        let Some(node) = self.stage.chance.pick(&open) else { return };
        self.stage.findings.counts.freezes += 1;
        let still = self.stage.chance.between(300 * MILLI, 5 * SECOND);
        let until = (self.stage.now + still).min(self.calm_at);
        let still = until - self.stage.now;
        self.nodes[node].frozen = true;
        self.nodes[node].woke_at = until;
        if still > LEASE {
            self.stage.at(self.stage.now + LEASE, Event::Unregister(Process::Node(node)));
            self.stage.at(until, Event::Register(Process::Node(node)));
            // Managers that come meanwhile do not know of it.
            let from = self.stage.now + LEASE;
            self.wiped_at.extend((from..=until + SECOND).step_by(SECOND as usize));
        }
        for link in 0..self.links.len() {
            if self.links[link].node == node && self.links[link].manager_up && still > 3 * SECOND {
                self.stage.at(self.stage.now + 3 * SECOND, Event::Notice { link, side: Side::Manager });
            }
        }
    }

    /// What would happen to a process that stands still happens when it goes on.
    pub(super) fn unless_frozen(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Turn { node, .. } | Event::Writable { node, .. } | Event::LateInterest { node, .. } => {
                *node
            }
            Event::Sweep(node) | Event::MayTakeClients(node) => *node,
            Event::Acknowledge(link) | Event::Beat(link) => self.links[*link].node,
            Event::Arrive { link, side: Side::Node } => self.links[*link].node,
            Event::Notice { link, side: Side::Node } => self.links[*link].node,
            Event::Learn(Process::Node(node), _) => *node,
            _ => return Some(event),
        };
        let me = &mut self.nodes[node];
        me.frozen = me.frozen && self.stage.now < me.woke_at;
        if !me.frozen || !me.alive {
            return Some(event);
        }
        let at = me.woke_at;
        self.stage.at(at, event);
        None
    }

    /// A node process is there no more.
    pub(super) fn end_node(&mut self, node: usize) {
        if !self.nodes[node].alive {
            return;
        }
        self.nodes[node].alive = false;
        self.all_are_cut_from(node);
        for link in 0..self.links.len() {
            if self.links[link].node == node {
                self.break_link(link);
                self.links[link].node_up = false;
            }
        }
        if self.nodes[node].draining {
            // It takes its record with it.
            self.stage.within(0, 50 * MILLI, Event::Unregister(Process::Node(node)));
            self.stage.within(100 * MILLI, 600 * MILLI, Event::Restart(Process::Node(node)));
            return;
        }
        self.forget_and_replace(Process::Node(node));
    }

    fn crash_manager(&mut self) {
        let alive: Vec<usize> = (0..self.managers.len()).filter(|m| self.managers[*m].alive).collect();
        if let Some(manager) = self.stage.chance.pick(&alive) {
            self.stage.findings.counts.crashes += 1;
            self.end_manager(manager);
            self.forget_and_replace(Process::Manager(manager));
        }
    }

    fn stop_one(&mut self) {
        let open: Vec<usize> = (0..self.managers.len())
            .filter(|m| self.managers[*m].alive && !self.managers[*m].stopping)
            .collect();
        if let Some(manager) = self.stage.chance.pick(&open) {
            self.stop_manager(manager);
            self.stage.within(0, 2 * SECOND, Event::Restart(Process::Manager(manager)));
        }
    }

    /// A manager is there no more. Its record and the nodes' ends of its links may outlive it.
    pub(super) fn end_manager(&mut self, manager: usize) {
        self.managers[manager].alive = false;
        self.managers[manager].open = false;
        let me = &self.managers[manager];
        let place = |key: &NodeKey| -> Option<usize> {
            let place: usize = me.nodes.get(*key)?.addr.strip_prefix('n')?.parse().ok()?;
            self.places.get(place).copied()
        };
        let acked = me.peers.iter().filter_map(|(key, peer)| Some((place(key)?, peer.state.acked())));
        let acked = acked.collect();
        let mut acked: HashMap<usize, u64> = acked;
        // A node that it forgot had not got more.
        for (node, upto) in &me.forgotten {
            acked.entry(*node).or_insert(*upto);
        }
        self.managers[manager].left_pending = Some(acked);
        for link in 0..self.links.len() {
            if self.links[link].manager == manager {
                let closed = self.managers[manager]
                    .peers
                    .get(&self.links[link].key)
                    .is_some_and(|peer| peer.link == Some(link) && peer.state.is_closed());
                if closed {
                    // The end of a stream that said Close arrives behind it.
                    self.notice(link, Side::Manager);
                } else {
                    self.break_link(link);
                    self.links[link].manager_up = false;
                }
            }
        }
    }

    fn forget_and_replace(&mut self, process: Process) {
        // It was kept alive at every third of it.
        self.stage.within(LEASE * 2 / 3, LEASE, Event::Unregister(process));
        // A node's successor waits until the record is gone; a manager's has another id.
        let (low, high) = match process {
            Process::Node(_) => (LEASE, 3 * SECOND),
            Process::Manager(_) => (0, 2 * SECOND),
        };
        self.stage.within(low, high, Event::Restart(process));
    }
}
