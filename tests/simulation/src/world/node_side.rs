//! The node's half of links: what it hears.

use std::ops::RangeInclusive;

use bytes::Bytes;
use connect_node::{
    ingest::IngestError,
    link_state::{LinkError, Me, Outcome},
};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{LinkRequest, Message, MessageBatch, link_request::Frame, message};

use super::World;
use crate::{
    findings::Check,
    naive::Naive,
    stage::{Event, SECOND, Side},
    truth::Id,
};

impl World {
    pub(super) fn node_hears(&mut self, index: usize, mut frame: LinkRequest) {
        let node = self.links[index].node;
        if !self.nodes[node].alive {
            return;
        }
        self.send_to_shards(index, &frame);
        let said = Said::of(&frame);
        match &mut frame.frame {
            Some(Frame::Hello(hello)) if self.stage.is(Naive::AcksNotRepeated) => {
                hello.acked_seq = hello.newest_seq;
            }
            Some(Frame::Hello(hello)) if self.stage.is(Naive::GoneIsUnsaid) => hello.manager_gone_at = 0,
            Some(Frame::Heartbeat(beat)) if self.stage.is(Naive::GoneIsUnsaid) => beat.manager_gone_at = 0,
            Some(Frame::Fill(fill))
                if self.stage.is(Naive::NothingIsFilled) || self.stage.is(Naive::LeftOutIsUnsaid) =>
            {
                fill.left_out_at = 0;
                fill.controls_left_out_at = 0;
            }
            Some(Frame::Gap(gap)) if self.stage.is(Naive::HolesAreIgnored) => {
                frame.frame = Some(Frame::Batch(nothing(gap.from..=gap.to, self.stage.now)));
            }
            Some(Frame::Batch(batch)) if self.stage.is(Naive::ArrivalDecides) => {
                *batch = as_arrived(batch, self.nodes[node].clock.read(self.stage.now));
            }
            Some(Frame::Batch(batch)) if self.stage.is(Naive::RetriesAreNew) => *batch = without_keys(batch),
            Some(Frame::Batch(batch)) => {
                *batch = self.sent_again(index, batch);
                if self.is_taken_naively(index, batch) {
                    return;
                }
            }
            _ => {}
        }
        let batch = if let Some(Frame::Batch(batch)) = &frame.frame { Some(batch.clone()) } else { None };
        let me = &self.nodes[node];
        let who = Me { node_id: &me.name, instance: &me.instance };
        let half = &mut self.links[index].half;
        match half.state.on_frame(frame, me.ingest(), &me.keys, who, me.clock.read(self.stage.now)) {
            Ok(outcome) => {
                if let Some(batch) = &batch {
                    self.took(index, batch);
                }
                self.outcome(index, outcome, &said);
            }
            Err(LinkError::Ingest(IngestError::Superseded)) => {
                if let Some(batch) = batch.filter(|_| self.stage.is(Naive::NoOwner)) {
                    return self.alone(node, batch);
                }
                return self.superseded(index);
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

    /// What is the first of its request here, is so also where it is too old for everybody.
    fn took(&mut self, index: usize, batch: &Bytes) {
        let (node, manager) = (self.links[index].node, self.links[index].manager);
        let batch = MessageBatch::decode(batch.clone()).unwrap_or_default();
        let ids = batch.messages.iter().map(|message| Id { manager, seq: message.seq });
        self.nodes[node].numbers.took(&self.stage.truth, ids);
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
                standing.link = Some(index);
                standing.closed = false;
                if let (Some(_), Said::Hello { acked }) = (received, said) {
                    half.held = *acked;
                    half.next_ack = 1 + standing.confirmed.max((*acked).min(standing.acked));
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

/// Naive: messages for nobody in place of those that are lost.
fn nothing(seqs: RangeInclusive<u64>, now: u64) -> Bytes {
    let message = |seq| Message {
        seq,
        accepted_at: now - 30 * SECOND + seq,
        target: Some(message::Target::RoomId("nobody's".to_owned())),
        ..Message::default()
    };
    Bytes::from(MessageBatch { messages: seqs.map(message).collect() }.encode_to_vec())
}

/// Naive: a batch as if it had been accepted when it arrived.
fn as_arrived(batch: &Bytes, now: u64) -> Bytes {
    let mut batch = MessageBatch::decode(batch.clone()).unwrap_or_default();
    (now..).zip(&mut batch.messages).for_each(|(at, message)| message.accepted_at = at);
    Bytes::from(batch.encode_to_vec())
}

/// Naive: the messages of a batch without what tells retries.
fn without_keys(batch: &Bytes) -> Bytes {
    let mut batch = MessageBatch::decode(batch.clone()).unwrap_or_default();
    batch.messages.iter_mut().for_each(|message| message.request_key = Bytes::new());
    Bytes::from(batch.encode_to_vec())
}

fn last_seq(batch: &Bytes) -> Option<u64> {
    MessageBatch::decode(batch.clone()).ok()?.messages.last().map(|message| message.seq)
}
