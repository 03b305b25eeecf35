//! The node's half of links: what it hears, acknowledges and says every second. Check `Acknowledgements`.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use connect_node::{
    batch::Batch,
    ingest::IngestError,
    link_state::{self, LinkError, LinkState, Me, Outcome},
};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Ack, LinkRequest, LinkResponse, MessageBatch, link_request::Frame, link_response,
};
use tokio::sync::Notify;

use super::World;
use crate::{
    findings::Check,
    naive::Naive,
    node::take_permit,
    stage::{BEGIN, Event, MILLI, SECOND, Side},
    truth::Id,
};

impl World {
    pub(super) fn node_hears(&mut self, index: usize, mut frame: LinkRequest) {
        let node = self.links[index].node;
        if !self.nodes[node].alive {
            return;
        }
        self.send_to_shards(index, &frame);
        match &mut frame.frame {
            Some(Frame::Hello(hello)) if self.stage.is(Naive::AcksNotRepeated) => {
                hello.acked_seq = hello.newest_seq;
            }
            Some(Frame::Batch(batch)) => {
                *batch = self.sent_again(index, batch);
                if self.is_taken_naively(index, batch) {
                    return;
                }
            }
            _ => {}
        }
        let batch = if let Some(Frame::Batch(batch)) = &frame.frame { Some(batch.clone()) } else { None };
        let said = Said::of(&frame);
        let me = &self.nodes[node];
        let who = Me { node_id: &me.name, instance: &me.instance };
        let half = &mut self.links[index].half;
        match half.state.on_frame(frame, me.ingest(), &me.keys, who, self.stage.now) {
            Ok(outcome) => self.outcome(index, outcome, &said),
            Err(LinkError::Ingest(IngestError::Superseded)) => {
                self.stage.findings.counts.superseded += 1;
                if let Some(batch) = batch.filter(|_| self.stage.is(Naive::NoOwner)) {
                    return self.alone(node, batch);
                }
                return self.notice(index, Side::Node);
            }
            Err(error) => {
                let what = format!("{} ends the link of m{}: {error}", me.name, self.links[index].manager);
                self.stage.broken(Check::Conversation, what);
                self.notice(index, Side::Node);
            }
        }
        self.look(node);
        if let Some(batch) = batch.filter(|_| self.stage.is(Naive::AckOnReceipt)) {
            self.acknowledge_at_once(index, batch);
        }
        self.acknowledge_soon(index);
    }

    /// What a frame that the node took means for what is checked.
    fn outcome(&mut self, index: usize, outcome: Outcome, said: &Said) {
        let (node, manager) = (self.links[index].node, self.links[index].manager);
        let id = self.managers[manager].id;
        let now = self.stage.now;
        match outcome {
            Outcome::Started { answer, taken_over, received } => {
                let half = &mut self.links[index].half;
                half.owner = Some(taken_over.owner);
                half.placed = Some(taken_over.placed);
                let me = &mut self.nodes[node];
                me.owners.retain(|owner| owner.manager != id);
                me.owners.push(taken_over.owner);
                let standing = me.numbers.standing(id);
                standing.links += 1;
                standing.closed = false;
                if let (Some(_), Said::Hello { acked }) = (received, said) {
                    standing.confirmed = standing.confirmed.max(*acked);
                    half.next_ack = 1 + standing.confirmed;
                }
                self.send_up(index, answer);
                self.stage.at(now + SECOND, Event::Beat(index));
            }
            Outcome::Received { duplicates, .. } => {
                self.stage.findings.counts.duplicates += u64::from(duplicates > 0);
            }
            Outcome::Lost { .. } => {
                if let Said::Gap { lost } = said {
                    self.nodes[node].numbers.standing(id).gaps.push((*lost.start(), *lost.end()));
                }
            }
            Outcome::Closed => {
                self.stage.findings.counts.closes += 1;
                self.nodes[node].numbers.standing(id).closed = true;
                self.nodes[node].note_knowledge(id, now);
            }
            Outcome::Nothing => match said {
                Said::Fill { first } => {
                    self.nodes[node].numbers.filled_from(id, *first);
                    self.links[index].half.next_ack = *first;
                }
                Said::Heartbeat { acked } => {
                    let standing = self.nodes[node].numbers.standing(id);
                    standing.confirmed = standing.confirmed.max(*acked);
                }
                Said::Hello { .. } | Said::Gap { .. } | Said::Other => {}
            },
        }
    }

    /// Now and then a batch comes twice, or with the one before it in front.
    fn sent_again(&mut self, index: usize, batch: &Bytes) -> Bytes {
        let half = &mut self.links[index].half;
        let again = self.stage.chance.one_in(8);
        let Some((before, last)) = half.last_batch.take().filter(|_| again) else {
            let last = last_seq(batch);
            half.last_batch = last.map(|last| (batch.clone(), last));
            return batch.clone();
        };
        let first = MessageBatch::decode(batch.clone()).ok().and_then(|b| Some(b.messages.first()?.seq));
        if first == Some(last + 1) { Bytes::from([&before[..], &batch[..]].concat()) } else { batch.clone() }
    }

    /// The naive forms of taking a batch. True if it was taken.
    fn is_taken_naively(&mut self, index: usize, bytes: &Bytes) -> bool {
        let node = self.links[index].node;
        let Some(owner) = self.links[index].half.owner else { return false };
        let Ok(progress) = self.nodes[node].ingest().progress(owner) else { return false };
        let Ok(batch) = MessageBatch::decode(bytes.clone()) else { return false };
        match self.stage.naive {
            Some(Naive::NoDuplicateCheck)
                if batch.messages.first().is_some_and(|message| message.seq <= progress.received) =>
            {
                self.alone(node, bytes.clone());
                // What is new in it the product takes.
                false
            }
            Some(Naive::TaskPerMessage) => {
                let last = batch.messages.last().map_or(0, |message| message.seq);
                for message in batch.messages {
                    let batch = Bytes::from(MessageBatch { messages: vec![message] }.encode_to_vec());
                    self.stage.within(0, 20 * MILLI, Event::Alone { node, batch });
                }
                // Progress is as if they were placed.
                self.nodes[node].ingest().gap(owner, last).is_ok()
            }
            _ => false,
        }
    }

    /// Naive: takes messages without asking who brings them.
    pub(super) fn alone(&mut self, node: usize, batch: Bytes) {
        let me = &self.nodes[node];
        if let Ok(batch) = Batch::decode(batch, &me.keys)
            && me.alive
        {
            me.ingest().offer_direct(batch, Arc::new(Notify::new()));
            self.look(node);
        }
    }

    /// Naive: each shard but the first has an ingest of its own that takes the frames by itself.
    fn send_to_shards(&mut self, index: usize, frame: &LinkRequest) {
        if !self.stage.is(Naive::ArrivalPerShard) {
            return;
        }
        let link = &mut self.links[index];
        let shards = self.nodes[link.node].ingests.len();
        link.half.shard_states.resize_with(shards, || (LinkState::default(), 0));
        for shard in 1..shards {
            let last = link.half.shard_states[shard].1;
            let at = last.max(self.stage.now + self.stage.chance.between(0, 30 * MILLI));
            link.half.shard_states[shard].1 = at;
            self.stage.at(at, Event::ShardFrame { link: index, shard, frame: frame.clone() });
        }
    }

    pub(super) fn shard_frame(&mut self, index: usize, shard: usize, frame: LinkRequest) {
        let link = &mut self.links[index];
        let me = &self.nodes[link.node];
        if me.alive {
            let who = Me { node_id: &me.name, instance: &me.instance };
            let state = &mut link.half.shard_states[shard].0;
            // What it answers nobody hears.
            let _outcome = state.on_frame(frame, &me.ingests[shard], &me.keys, who, self.stage.now);
            self.look(self.links[index].node);
        }
    }

    pub(super) fn acknowledge_soon(&mut self, index: usize) {
        let at = self.stage.now + self.stage.chance.between(0, 5 * MILLI);
        if at < self.links[index].ack_at {
            self.links[index].ack_at = at;
            self.stage.at(at, Event::Acknowledge(index));
        }
    }

    /// Links that were told that something of theirs is placed. The one that waits longest is told first, even
    /// if another one took over from it.
    pub(super) fn acknowledge_placed(&mut self, node: usize) {
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if link.node == node && link.node_up && link.half.placed.as_ref().is_some_and(|p| take_permit(p)) {
                self.acknowledge_soon(index);
            }
        }
    }

    pub(super) fn acknowledge(&mut self, index: usize) {
        self.links[index].ack_at = u64::MAX;
        let link = &self.links[index];
        let node = link.node;
        let Some(owner) = link.half.owner.filter(|_| link.node_up && self.nodes[node].alive) else { return };
        loop {
            match self.nodes[node].ingest().next_ack(owner) {
                Ok(Some(_)) if self.stage.is(Naive::AckOnReceipt) => {}
                Ok(Some(ack)) => self.send_ack(index, ack),
                Ok(None) => return,
                Err(_) => {
                    self.stage.findings.counts.superseded += 1;
                    return self.notice(index, Side::Node);
                }
            }
        }
    }

    /// Naive: acknowledges what arrived with what is counted so far.
    fn acknowledge_at_once(&mut self, index: usize, batch: Bytes) {
        let Ok(batch) = MessageBatch::decode(batch) else { return };
        let seqs: Vec<u64> = batch.messages.iter().map(|message| message.seq).collect();
        let next = self.links[index].half.next_ack;
        let recipients: Vec<u32> = seqs.iter().filter(|seq| **seq >= next).map(|_| 0).collect();
        if !recipients.is_empty() {
            let first_seq = seqs[seqs.len() - recipients.len()];
            self.send_ack(index, Ack { first_seq, recipients, by_user: Vec::new() });
        }
    }

    fn send_ack(&mut self, index: usize, ack: Ack) {
        self.check_ack(index, &ack);
        self.send_up(index, LinkResponse { frame: Some(link_response::Frame::Ack(ack)) });
    }

    fn check_ack(&mut self, index: usize, ack: &Ack) {
        let Self { links, nodes, managers, stage, .. } = self;
        let link = &mut links[index];
        let manager = link.manager;
        let id = managers[manager].id;
        let standing = nodes[link.node].numbers.standing(id);
        stage.findings.counts.repeated_acks += u64::from(ack.first_seq <= standing.acked);
        standing.acked = standing.acked.max(ack.first_seq + ack.recipients.len() as u64 - 1);
        let node = &nodes[link.node];
        let who = format!("{} to m{manager}", node.name);
        let next = link.half.next_ack;
        // What is lost is never acknowledged, what the manager said it holds not again.
        let left_out = |seq: u64| {
            node.numbers.standings.get(&id).is_some_and(|standing| {
                let lost = standing.gaps.iter().any(|(from, to)| (from..=to).contains(&&seq));
                lost || seq <= standing.confirmed
            })
        };
        if ack.first_seq < next || (next..ack.first_seq).any(|seq| !left_out(seq)) {
            let what = format!("{who}: acknowledged from {} on where {next} was due", ack.first_seq);
            stage.broken(Check::Acknowledgements, what);
        }
        link.half.next_ack = ack.first_seq + ack.recipients.len() as u64;
        for (seq, told) in (ack.first_seq..).zip(&ack.recipients) {
            let Some(accepted) = stage.truth.message(Id { manager, seq }) else { continue };
            if node.numbers.is_before_clients(accepted.at) {
                continue;
            }
            let placed = node.recipients(id, seq, &accepted.target);
            if placed != *told {
                let what = format!("{who}: {told} connections told for {seq}, it was placed in {placed}");
                stage.findings.broken(Check::Acknowledgements, stage.now - BEGIN, what);
            }
            let by_user = ack.by_user.iter().find(|counts| counts.seq == seq);
            for (at, user) in accepted.target.users().iter().enumerate() {
                let told = by_user.and_then(|counts| counts.recipients.get(at)).copied().unwrap_or(0);
                let placed = node.recipients_of(id, seq, &accepted.target, *user);
                if told != placed {
                    let what = format!("{who}: {told} told for user {user} of {seq}, it is {placed}");
                    stage.findings.broken(Check::Acknowledgements, stage.now - BEGIN, what);
                }
            }
        }
    }

    pub(super) fn beat(&mut self, index: usize) {
        let link = &self.links[index];
        let node = &self.nodes[link.node];
        let Some(owner) = link.half.owner.filter(|_| link.node_up && node.alive) else { return };
        match link_state::heartbeat(owner, node.ingest(), self.stage.now) {
            Ok(beat) => {
                self.send_up(index, beat);
                self.acknowledge_soon(index);
                self.stage.at(self.stage.now + SECOND, Event::Beat(index));
            }
            Err(_) => self.notice(index, Side::Node),
        }
    }
}

/// What of a frame is needed once the product has taken it.
#[derive(Debug)]
enum Said {
    Hello { acked: u64 },
    Fill { first: u64 },
    Gap { lost: RangeInclusive<u64> },
    Heartbeat { acked: u64 },
    Other,
}

impl Said {
    fn of(frame: &LinkRequest) -> Self {
        match &frame.frame {
            Some(Frame::Hello(hello)) => Self::Hello { acked: hello.acked_seq },
            Some(Frame::Fill(fill)) => Self::Fill { first: fill.first_seq },
            Some(Frame::Gap(gap)) => Self::Gap { lost: gap.from..=gap.to },
            Some(Frame::Heartbeat(beat)) => Self::Heartbeat { acked: beat.acked_seq },
            _ => Self::Other,
        }
    }
}

fn last_seq(batch: &Bytes) -> Option<u64> {
    MessageBatch::decode(batch.clone()).ok()?.messages.last().map(|message| message.seq)
}
