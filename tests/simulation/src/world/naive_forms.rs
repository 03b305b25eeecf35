//! Mechanisms in their naive form, built from what the product offers; see [`Naive`]. Each is only reached when
//! the schedule asks for it.

use std::sync::Arc;

use bytes::Bytes;
use connect_node::{
    batch::Batch,
    key::Key,
    link_state::{LinkState, Me},
};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Ack, LinkRequest, MessageBatch};
use tokio::sync::Notify;

use super::World;
use crate::{
    naive::Naive,
    stage::{Event, MILLI},
};

impl World {
    /// Naive: the interest that the product just added is taken back and comes later.
    pub(super) fn add_interest_late(&mut self, node: usize, shard: usize, keys: Vec<connect_node::key::Key>) {
        if self.stage.is(Naive::LateInterest) && !keys.is_empty() {
            self.nodes[node].seats[shard].inbox.unsubscribe(&keys);
            self.stage.within(0, 200 * MILLI, Event::LateInterest { node, shard, keys });
        }
    }

    pub(super) fn late_interest(&mut self, node: usize, shard: usize, keys: &[Key]) {
        debug_assert!(self.stage.is(Naive::LateInterest));
        let now = self.nodes[node].now(&self.stage);
        let seat = &mut self.nodes[node].seats[shard];
        // Nothing is queued after this, so that nothing is lost in what `subscribe` hands out.
        seat.shard.deliver(now);
        seat.inbox.subscribe(keys, &mut connect_node::inbox::Taken::default());
        self.after_shard(node, shard);
        self.turn_soon(node, shard);
    }

    /// The naive forms of taking a batch. True if it was taken.
    pub(super) fn is_taken_naively(&mut self, index: usize, bytes: &Bytes) -> bool {
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
                self.nodes[node].ingest().gap(owner, last, self.stage.now).is_ok()
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
    pub(super) fn send_to_shards(&mut self, index: usize, frame: &LinkRequest) {
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
            let _outcome =
                state.on_frame(frame, &me.ingests[shard], &me.keys, who, me.clock.read(self.stage.now));
            self.look(self.links[index].node);
        }
    }

    /// Naive: acknowledges what arrived with what is counted so far.
    pub(super) fn acknowledge_at_once(&mut self, index: usize, batch: Bytes) {
        let Ok(batch) = MessageBatch::decode(batch) else { return };
        let seqs: Vec<u64> = batch.messages.iter().map(|message| message.seq).collect();
        let next = self.links[index].half.next_ack;
        let recipients: Vec<u32> = seqs.iter().filter(|seq| **seq >= next).map(|_| 0).collect();
        if !recipients.is_empty() {
            let first_seq = seqs[seqs.len() - recipients.len()];
            self.send_ack(index, Ack { first_seq, recipients, ..Ack::default() });
        }
    }
}
