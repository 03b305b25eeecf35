//! A connection between a manager and a node: two pipes that delay, keep order, and lose their end when the
//! connection breaks.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use connect_node::{ingest::Owner, link_state::LinkState};
use push_manager::answers::NodeKey;
use pushcast_proto::connectnode::v1::{LinkRequest, LinkResponse};
use tokio::sync::Notify;

use crate::{chance::Chance, stage::MILLI};

/// One direction.
#[derive(Debug)]
pub(crate) struct Pipe<F> {
    frames: VecDeque<(u64, F)>,
    last_arrival: u64,
    /// What frames take longer than usual.
    delay: u64,
    /// Frames that would arrive later are lost.
    cut: u64,
    pub(crate) lost: u64,
}

impl<F> Default for Pipe<F> {
    fn default() -> Self {
        Self { frames: VecDeque::new(), last_arrival: 0, delay: 0, cut: u64::MAX, lost: 0 }
    }
}

impl<F> Pipe<F> {
    /// Sends a frame; returns when it arrives, `None` if it never does.
    pub(crate) fn send(&mut self, frame: F, now: u64, chance: &mut Chance) -> Option<u64> {
        // Mostly a local network, now and then a stall.
        let most = if chance.one_in(30) { 300 * MILLI } else { 5 * MILLI };
        let at = (now + self.delay + chance.between(50, most)).max(self.last_arrival);
        self.last_arrival = at;
        if at > self.cut {
            self.lost += 1;
            return None;
        }
        self.frames.push_back((at, frame));
        Some(at)
    }

    /// The frame that arrives now.
    pub(crate) fn receive(&mut self, now: u64) -> Option<F> {
        let (at, _) = self.frames.front()?;
        if *at > now || *at > self.cut {
            return None;
        }
        self.frames.pop_front().map(|(_, frame)| frame)
    }

    /// From now on everything takes longer, what is on its way too. Returns when each frame arrives now.
    pub(crate) fn stall(&mut self, delay: u64) -> impl Iterator<Item = u64> {
        self.delay = delay;
        self.last_arrival += delay;
        self.frames.iter_mut().map(move |(at, _)| {
            *at += delay;
            *at
        })
    }

    /// Loses everything that would arrive after `at`.
    pub(crate) fn cut(&mut self, at: u64) {
        self.cut = self.cut.min(at);
        let before = self.frames.len();
        self.frames.retain(|(arrives, _)| *arrives <= at);
        self.lost += (before - self.frames.len()) as u64;
    }

    pub(crate) fn last_arrival(&self) -> u64 {
        self.last_arrival
    }
}

/// A connection, and the node's half of the link on it. The manager's half outlives connections.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) manager: usize,
    pub(crate) key: NodeKey,
    pub(crate) node: usize,
    pub(crate) down: Pipe<LinkRequest>,
    pub(crate) up: Pipe<LinkResponse>,
    /// Whether this side still believes in the connection.
    pub(crate) manager_up: bool,
    pub(crate) node_up: bool,
    /// Sends late, as over a thin line.
    pub(crate) slow: bool,
    pub(crate) pump_at: u64,
    pub(crate) ack_at: u64,
    pub(crate) half: NodeHalf,
}

/// The node's half.
#[derive(Debug, Default)]
pub(crate) struct NodeHalf {
    pub(crate) state: LinkState,
    pub(crate) owner: Option<Owner>,
    pub(crate) placed: Option<Arc<Notify>>,
    /// Last batch that came, and its last seq.
    pub(crate) last_batch: Option<(Bytes, u64)>,
    /// Where the next acknowledgement has to start, Gaps aside; 0 while nothing is to be acknowledged.
    pub(crate) next_ack: u64,
    /// Acknowledgements that Hello said the manager holds, perhaps those of the process before.
    pub(crate) held: u64,
    /// Naive: halves for the ingests of the other shards, and when the last frame for each arrives.
    pub(crate) shard_states: Vec<(LinkState, u64)>,
}
