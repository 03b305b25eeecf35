//! What has to hold once nothing went wrong for a while: everything arrived, everybody got what was theirs,
//! all is acknowledged and answered. Checks `Deliveries`, `Arrivals`, `Numbers` and `Progress`.

use std::collections::{HashMap, HashSet};

use super::World;
use crate::{
    client::{Client, Wants},
    findings::Check,
    node::Node,
    numbers::Numbers,
    stage::{BEGIN, SECOND, Stage},
    truth::Id,
};

/// How old the newest `as_of` may be: a heartbeat a second, and what it takes on its way.
const FRESH: u64 = 2_500_000;

impl World {
    pub(super) fn end(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive {
                for shard in 0..self.nodes[node].seats.len() {
                    self.turn(node, shard);
                    while self.nodes[node].seats[shard].flushing {
                        self.turn(node, shard);
                    }
                }
                self.everything_arrived(node);
                self.as_of_is_fresh(node);
            }
            self.everybody_got_theirs(node);
        }
        self.persons_have_theirs();
        self.everything_is_answered();
    }

    fn everything_arrived(&mut self, node: usize) {
        let node = &self.nodes[node];
        for manager in self.managers.iter().filter(|manager| manager.alive && manager.open) {
            // What a node handed up just now is on its way.
            let newest = self.stage.truth.managers[manager.index].newest_before(self.stage.now - SECOND);
            let next = node.numbers.standings.get(&manager.id).and_then(|standing| standing.next);
            let missing = match next {
                None => Some(0),
                Some(next) => node.numbers.first_missing(&self.stage, manager.index, next, newest + 1),
            };
            if let Some(missing) = missing {
                let what = format!("{} never got m{}-{missing} of {newest}", node.name, manager.index);
                self.stage.broken(Check::Numbers, what);
            }
        }
    }

    fn as_of_is_fresh(&mut self, node: usize) {
        let node = &self.nodes[node];
        // Without a registry a manager that is gone is waited for 10 s.
        if !node.dynamic && self.managers.iter().any(|manager| !manager.alive) {
            return;
        }
        // It is told by the managers' clocks.
        let clocks = self.managers.iter().map(|manager| manager.clock).chain([node.clock]);
        let slowest = clocks.map(|clock| BEGIN.saturating_sub(clock.read(BEGIN))).max().unwrap_or(0);
        for seat in &node.seats {
            let as_of = seat.shard.marks().as_of(node.clock.read(self.stage.now));
            if as_of + FRESH + slowest < self.stage.now {
                let late = (self.stage.now - as_of) / SECOND;
                let what = format!("as_of of {} is {late} s old", node.name);
                self.stage.broken(Check::Progress, what);
            }
        }
    }

    fn everything_is_answered(&mut self) {
        for manager in self.managers.iter().filter(|manager| manager.alive) {
            let newest = manager.log.newest();
            // What a node handed up just now is on its way.
            let due = self.stage.truth.managers[manager.index].newest_before(self.stage.now - SECOND);
            let behind = manager.peers.values().find(|p| !p.state.is_linked() || p.state.acked() < due);
            if let Some(peer) = behind {
                let (linked, acked) = (peer.state.is_linked(), peer.state.acked());
                let what = format!("m{}: {acked} of {newest} acknowledged, linked: {linked}", manager.index);
                self.stage.broken(Check::Progress, what);
            }
            if !manager.ledger.is_settled() {
                let what = format!("m{} has pushes that are not answered", manager.index);
                self.stage.broken(Check::Answers, what);
            }
        }
    }

    fn everybody_got_theirs(&mut self, node: usize) {
        for shard in 0..self.nodes[node].seats.len() {
            for client in 0..self.nodes[node].seats[shard].clients.len() {
                let me = &self.nodes[node];
                let client = &me.seats[shard].clients[client];
                check_what_it_got(&mut self.stage, client, &me.numbers);
                check_what_it_missed(&mut self.stage, me, client);
            }
        }
    }
}

/// Nothing twice, nothing in another order, nothing that is not for it.
fn check_what_it_got(stage: &mut Stage, client: &Client, numbers: &Numbers) {
    let who = &client.name;
    let mut newest: HashMap<usize, u64> = HashMap::new();
    let mut seen = HashSet::new();
    let mut last = None;
    for id in &client.got {
        let manager = stage.truth.managers[id.manager].id;
        let is_its = stage.truth.message(*id).is_some_and(|m| client.wants(manager, id.seq, m) != Wants::No);
        if !is_its {
            stage.broken(Check::Deliveries, format!("{who} got {id}, which is not for it"));
        }
        if !seen.insert(*id) {
            stage.broken(Check::Deliveries, format!("{who} got {id} twice"));
        } else if let Some(before) = newest.insert(id.manager, id.seq).filter(|before| *before > id.seq) {
            stage.broken(Check::Deliveries, format!("{who} got {id} after {before}"));
        }
        let arrival = numbers.place_of(*id);
        if arrival < last {
            stage.broken(Check::Arrivals, format!("{who} got {id} in another order than it arrived"));
        }
        last = arrival;
    }
}

/// Nothing that its node had for it is missing: all of it if it is still there, else all that is covered by
/// the last position it was told.
fn check_what_it_missed(stage: &mut Stage, node: &Node, client: &Client) {
    let who = &client.name;
    let got: HashSet<Id> = client.got.iter().copied().collect();
    let stays = node.alive && client.is_open();
    for id in &node.numbers.arrived {
        let manager = stage.truth.managers[id.manager].id;
        let Some(message) = stage.truth.message(*id) else { continue };
        if got.contains(id)
            || node.numbers.is_before_clients(message.real)
            || client.wants(manager, id.seq, message) != Wants::Yes
        {
            continue;
        }
        if id.seq <= client.position.at(manager) {
            stage.broken(Check::Deliveries, format!("{who} misses {id}, and was told it is behind it"));
        } else if stays {
            stage.broken(Check::Deliveries, format!("{who} misses {id}"));
        }
    }
}
