//! Connections between managers and nodes: made, broken, noticed.

use prost::Message as _;
use push_manager::{answers::NodeKey, nodes::Change};
use pushcast_proto::connectnode::v1::{LinkRequest, LinkResponse, MessageBatch, link_request::Frame};

use super::World;
use crate::{
    pipe::{Link, NodeHalf, Pipe},
    stage::{Event, MILLI, SECOND, Side},
};

impl World {
    pub(super) fn dial(&mut self, manager: usize, key: NodeKey) {
        let me = &self.managers[manager];
        let Some(peer) = me.peers.get(&key).filter(|peer| me.alive && peer.link.is_none()) else { return };
        debug_assert!(!peer.state.is_linked());
        let place = me.nodes.get(key).and_then(|node| node.addr.strip_prefix('n')?.parse::<usize>().ok());
        let Some(place) = place.filter(|place| *place < self.places.len()) else { return };
        let node = self.places[place];
        if !self.reaches(manager, place) || !self.nodes[node].alive {
            self.redial(manager, key);
            return;
        }
        let index = self.links.len();
        self.links.push(Link {
            manager,
            key,
            node,
            down: Pipe::default(),
            up: Pipe::default(),
            manager_up: true,
            node_up: true,
            slow: !self.is_calm() && self.stage.chance.one_in(6),
            pump_at: u64::MAX,
            ack_at: u64::MAX,
            half: NodeHalf::default(),
        });
        if let Some(peer) = self.managers[manager].peers.get_mut(&key) {
            peer.link = Some(index);
            peer.state.opened();
        }
        self.pump(index);
    }

    fn redial(&mut self, manager: usize, key: NodeKey) {
        let soon = self.is_calm() || self.stage.chance.one_in(2);
        let most = if soon { 200 * MILLI } else { 2 * SECOND };
        self.stage.within(50 * MILLI, most, Event::Dial { manager, key });
    }

    pub(super) fn send_down(&mut self, index: usize, frame: LinkRequest) {
        let link = &mut self.links[index];
        self.stage.tell(|| format!("link {index}: m{} says {}", link.manager, describe(&frame)));
        if let Some(at) = link.down.send(frame, self.stage.now, &mut self.stage.chance) {
            self.stage.at(at, Event::Arrive { link: index, side: Side::Node });
        }
    }

    pub(super) fn send_up(&mut self, index: usize, frame: LinkResponse) {
        let link = &mut self.links[index];
        self.stage.tell(|| format!("link {index}: node {} says {frame:?}", link.node));
        if let Some(at) = link.up.send(frame, self.stage.now, &mut self.stage.chance) {
            self.stage.at(at, Event::Arrive { link: index, side: Side::Manager });
        }
    }

    pub(super) fn arrive(&mut self, index: usize, side: Side) {
        let now = self.stage.now;
        let link = &mut self.links[index];
        match side {
            Side::Node => {
                if let Some(frame) = link.down.receive(now).filter(|_| link.node_up) {
                    self.node_hears(index, frame);
                }
            }
            Side::Manager => {
                if let Some(frame) = link.up.receive(now).filter(|_| link.manager_up) {
                    self.manager_hears(index, frame);
                }
            }
        }
    }

    /// The connection breaks now: of what is on its way some still arrives, and each side sees the end when
    /// it does, the manager perhaps long before the node.
    pub(super) fn break_link(&mut self, index: usize) {
        let now = self.stage.now;
        let Self { links, stage, .. } = self;
        let link = &mut links[index];
        if !link.manager_up && !link.node_up {
            return;
        }
        stage.findings.counts.breaks += 1;
        stage.tell(|| format!("link {index} breaks"));
        let before = link.down.lost + link.up.lost;
        let longest = if stage.chance.one_in(2) { 20 * MILLI } else { 500 * MILLI };
        // Every third time what the manager sent crawls in behind its back, while it connects anew.
        let crawls = stage.chance.one_in(3);
        let (delay, manager, node) =
            if crawls { (stage.chance.between(200, 800) * MILLI, 100, 2_000) } else { (0, 800, 1_500) };
        for at in link.down.stall(delay) {
            stage.at(at, Event::Arrive { link: index, side: Side::Node });
        }
        link.down.cut(now + delay + stage.chance.between(0, longest));
        link.up.cut(now + stage.chance.between(0, longest));
        stage.findings.counts.lost_frames += link.down.lost + link.up.lost - before;
        stage.within(0, manager * MILLI, Event::Notice { link: index, side: Side::Manager });
        stage.within(delay, node * MILLI, Event::Notice { link: index, side: Side::Node });
    }

    pub(super) fn notice(&mut self, index: usize, side: Side) {
        match side {
            Side::Manager => self.manager_notices(index),
            Side::Node => self.node_notices(index),
        }
    }

    /// The manager gives a connection up.
    pub(super) fn drop_link(&mut self, manager: usize, key: NodeKey) {
        let link = self.managers[manager].peers.get(&key).and_then(|peer| peer.link);
        if let Some(link) = link {
            self.manager_notices(link);
        }
    }

    fn manager_notices(&mut self, index: usize) {
        let (manager, key) = (self.links[index].manager, self.links[index].key);
        if !std::mem::replace(&mut self.links[index].manager_up, false) {
            return;
        }
        // The node sees the end behind everything that was sent.
        let arrives = self.links[index].down.last_arrival();
        self.stage.at(arrives, Event::Notice { link: index, side: Side::Node });
        let me = &mut self.managers[manager];
        let current = me.peers.get(&key).is_some_and(|peer| peer.link == Some(index));
        if !me.alive || !current {
            return;
        }
        let acked = me.peers.get(&key).map_or(0, |peer| peer.state.acked());
        let (changes, again) = me.link_down(&mut self.stage, key);
        if changes.iter().any(|change| matches!(change, Change::Removed(_))) {
            me.forgotten.push((self.links[index].node, acked));
        }
        debug_assert!(!changes.iter().any(|change| matches!(change, Change::Added(_))));
        if again {
            self.redial(manager, key);
        } else if me.stopping {
            self.may_be_stopped(manager);
        }
    }

    fn node_notices(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !std::mem::replace(&mut link.node_up, false) {
            return;
        }
        let arrives = link.up.last_arrival();
        self.stage.at(arrives, Event::Notice { link: index, side: Side::Manager });
        let node = &mut self.nodes[link.node];
        if let Some(owner) = link.half.owner.filter(|_| node.alive) {
            for ingest in &node.ingests {
                ingest.link_down(owner, node.clock.read(self.stage.now));
            }
            let id = self.managers[link.manager].id;
            let standing = node.numbers.standing(id);
            if standing.link == Some(index) {
                standing.link = None;
                standing.unlinked_at = self.stage.now;
            }
            if !self.managers[link.manager].log_is_empty() {
                node.note_knowledge(id, self.stage.now);
            }
        }
    }
}

/// A batch by its seqs, the rest as it is.
fn describe(frame: &LinkRequest) -> String {
    match &frame.frame {
        Some(Frame::Batch(batch)) => {
            let batch = MessageBatch::decode(batch.clone()).unwrap_or_default();
            format!("{:?}", batch.messages.iter().map(|message| message.seq).collect::<Vec<_>>())
        }
        Some(other) => format!("{other:?}"),
        None => "nothing".to_owned(),
    }
}
