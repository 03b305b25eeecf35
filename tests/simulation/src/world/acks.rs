//! What a node acknowledges, and check `Acknowledgements`.

use connect_node::{ingest::Owner, link_state};
use pushcast_proto::connectnode::v1::{Ack, LinkResponse, link_response};

use super::World;
use crate::{
    findings::Check,
    naive::Naive,
    node::take_permit,
    stage::{BEGIN, Event, MILLI, SECOND, Side},
    truth::Id,
};

impl World {
    pub(super) fn acknowledge_soon(&mut self, index: usize) {
        let at = self.stage.now + self.stage.chance.between(0, 5 * MILLI);
        if at < self.links[index].ack_at {
            self.links[index].ack_at = at;
            self.stage.at(at, Event::Acknowledge(index));
        }
    }

    /// Links that were told that something of theirs is placed. The one that waits longest is told first, even
    /// if another one took over from it; it then finds that out at once.
    pub(super) fn acknowledge_placed(&mut self, node: usize) {
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if link.node == node && link.node_up && link.half.placed.as_ref().is_some_and(|p| take_permit(p))
            {
                match link.half.owner.map(|owner| self.nodes[node].ingest().progress(owner)) {
                    Some(Err(_)) => self.superseded(index),
                    _ => self.acknowledge_soon(index),
                }
            }
        }
    }

    pub(super) fn acknowledge(&mut self, index: usize) {
        self.links[index].ack_at = u64::MAX;
        let link = &self.links[index];
        let node = link.node;
        let Some(owner) = link.half.owner.filter(|_| link.node_up && self.nodes[node].alive) else { return };
        let now = self.nodes[node].clock.read(self.stage.now);
        while !self.stage.is(Naive::ClaimsDropped)
            && let Some(hand_up) = self.nodes[node].ingest().next_hand_up(owner, now)
        {
            self.send_up(index, LinkResponse { frame: Some(link_response::Frame::HandUp(hand_up)) });
        }
        loop {
            match self.nodes[node].ingest().next_ack(owner) {
                Ok(Some(_)) if self.stage.is(Naive::AckOnReceipt) => {}
                Ok(Some(ack)) => self.send_ack(index, ack),
                Ok(None) => return,
                Err(_) => return self.superseded(index),
            }
        }
    }

    pub(super) fn send_ack(&mut self, index: usize, ack: Ack) {
        self.check_ack(index, &ack);
        self.send_up(index, LinkResponse { frame: Some(link_response::Frame::Ack(ack)) });
    }

    pub(super) fn check_ack(&mut self, index: usize, ack: &Ack) {
        let Self { links, nodes, managers, stage, .. } = self;
        let link = &mut links[index];
        let manager = link.manager;
        let id = managers[manager].id;
        let standing = nodes[link.node].numbers.standing(id);
        stage.findings.counts.repeated_acks += u64::from(ack.first_seq <= standing.acked);
        standing.acked = standing.acked.max(ack.first_seq + ack.recipients.len() as u64 - 1);
        let node = &nodes[link.node];
        let who = format!("{} to m{manager}", node.name);
        let (next, held) = (link.half.next_ack, link.half.held);
        // What is lost is never acknowledged, what the manager said it holds not again.
        let left_out = |seq: u64| {
            node.numbers.standings.get(&id).is_some_and(|standing| {
                let lost = standing.gaps.iter().any(|(from, to)| (from..=to).contains(&&seq));
                lost || seq <= standing.confirmed.max(held)
            })
        };
        if ack.first_seq < next || (next..ack.first_seq).any(|seq| !left_out(seq)) {
            let what = format!("{who}: acknowledged from {} on where {next} was due", ack.first_seq);
            stage.broken(Check::Acknowledgements, what);
        }
        link.half.next_ack = ack.first_seq + ack.recipients.len() as u64;
        for (seq, told) in (ack.first_seq..).zip(&ack.recipients) {
            let Some(accepted) = stage.truth.message(Id { manager, seq }) else { continue };
            if accepted.target.is_control() || node.numbers.is_before_clients(accepted.real) {
                continue;
            }
            // A repeat is told with the counts of its original, another push under its request_id with none.
            let first = accepted.request.and_then(|request| node.numbers.requests.get(&request)).copied();
            let first = first.unwrap_or(Id { manager, seq });
            let Some(original) = stage.truth.message(first) else { continue };
            let conflicts = original.content != accepted.content;
            if conflicts != ack.conflicts.contains(&seq) {
                let what = format!("{who}: {seq} conflicts: {conflicts}, told: {:?}", ack.conflicts);
                stage.findings.broken(Check::Requests, stage.now - BEGIN, what);
            }
            // An original from before clients may have been kept from everybody.
            let kept = node.numbers.is_before_clients(original.real);
            let count = |user| {
                let id = stage.truth.managers[first.manager].id;
                let placed = node.recipients(id, first.seq, original, user, &stage.truth);
                match conflicts {
                    true => 0..=0,
                    false if kept => 0..=*placed.end(),
                    false => placed,
                }
            };
            let check = if first.manager == manager && first.seq == seq {
                Check::Acknowledgements
            } else {
                Check::Requests
            };
            let placed = count(None);
            if !placed.contains(told) {
                let what = format!("{who}: {told} connections told for {seq}, it was placed in {placed:?}");
                stage.findings.broken(check, stage.now - BEGIN, what);
            }
            let by_user = ack.by_user.iter().find(|counts| counts.seq == seq);
            for (at, user) in accepted.target.users().iter().enumerate() {
                let told = by_user.and_then(|counts| counts.recipients.get(at)).copied().unwrap_or(0);
                let placed = count(Some(*user));
                if !placed.contains(&told) {
                    let what = format!("{who}: {told} told for user {user} of {seq}, it is {placed:?}");
                    stage.findings.broken(check, stage.now - BEGIN, what);
                }
            }
        }
    }

    pub(super) fn beat(&mut self, index: usize) {
        let link = &self.links[index];
        let node = &self.nodes[link.node];
        let Some(owner) = link.half.owner.filter(|_| link.node_up && node.alive) else { return };
        match link_state::heartbeat(owner, node.ingest(), node.clock.read(self.stage.now)) {
            Ok(beat) => {
                self.was_woken(index, owner);
                self.send_up(index, beat);
                self.acknowledge_soon(index);
                self.stage.at(self.stage.now + SECOND, Event::Beat(index));
            }
            Err(_) => self.superseded(index),
        }
    }

    /// What is placed when a heartbeat is due, this link was woken for already.
    fn was_woken(&mut self, index: usize, owner: Owner) {
        let link = &self.links[index];
        let node = &self.nodes[link.node];
        if link.ack_at == u64::MAX
            && !self.stage.is(Naive::AckOnReceipt)
            && let Ok(Some(ack)) = node.ingest().next_ack(owner)
        {
            let what =
                format!("{} was not woken to acknowledge {} to m{}", node.name, ack.first_seq, link.manager);
            self.stage.broken(Check::Progress, what);
            self.send_ack(index, ack);
        }
    }

    /// Another link took over from this one, which ends. They share the wake-up: what this one was woken for is
    /// the other's.
    pub(super) fn superseded(&mut self, index: usize) {
        self.stage.findings.counts.superseded += 1;
        let link = &self.links[index];
        let node = link.node;
        if let Some(placed) = link.half.placed.as_ref().filter(|_| !self.stage.is(Naive::WakeIsKept)) {
            placed.notify_one();
        }
        self.notice(index, Side::Node);
        self.acknowledge_placed(node);
    }
}
