//! Two nodes, and a client that leaves the one and comes back to the other.

use bytes::Bytes;
use connect_node::{
    ingest::IngestSettings, limits::Limits, shard::frames::Format, shard::slab::SlabKey, tickets::TicketKeys,
};
use pushcast_proto::connectnode::v1::{Control, Message, control, message::Target};
use serde_json::{Value, json};

use crate::peer::{self, Got, Node, Peer};

/// Two nodes with one key that get the same messages.
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(&IngestSettings::default())
    }

    pub(crate) fn with(settings: &IngestSettings) -> Self {
        Self::at(20_000, settings)
    }

    /// This long after their start, milliseconds.
    pub(crate) fn at(millis: u64, settings: &IngestSettings) -> Self {
        let keys = TicketKeys::random();
        let node = || Node::with(settings.clone(), keys.clone());
        Self::of([node(), node()], millis)
    }

    /// Whose clients may take as much as these limits say.
    pub(crate) fn with_limits(limits: &Limits) -> Self {
        let keys = TicketKeys::random();
        let node = || Node::with_limits(limits, keys.clone());
        Self::of([node(), node()], 20_000)
    }

    fn of(mut nodes: [Node; 2], millis: u64) -> Self {
        for node in &mut nodes {
            node.millis = millis;
            node.beat();
        }
        Self { nodes }
    }

    pub(crate) fn push(&mut self, target: &Target, content: &str) {
        let content = Bytes::copy_from_slice(content.as_bytes());
        self.push_message(&Message { target: Some(target.clone()), content, ..Message::default() });
    }

    pub(crate) fn push_to_room(&mut self, room: &str, content: &str) {
        self.push(&Target::RoomId(room.to_owned()), content);
    }

    pub(crate) fn push_message(&mut self, message: &Message) {
        for node in &mut self.nodes {
            node.push_message(message.clone());
            node.deliver();
        }
    }

    pub(crate) fn control(&mut self, whose: control::Whose, action: control::Action) {
        let control = Control { whose: Some(whose), action: Some(action) };
        self.push_message(&Message { target: Some(Target::Control(control)), ..Message::default() });
    }

    pub(crate) fn of_user(&mut self, action: control::Action) {
        self.control(control::Whose::UserId("u".to_owned()), action);
    }

    /// Lets a second pass, with a heartbeat of the manager.
    pub(crate) fn second(&mut self) {
        for node in &mut self.nodes {
            node.millis += 1000;
            node.beat();
        }
    }
}

/// What a client keeps to resume with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) ticket: String,
    pub(crate) position: serde_json::Map<String, Value>,
    pub(crate) as_of: Option<String>,
    pub(crate) contents: Vec<String>,
    pub(crate) recovered: Option<bool>,
    pub(crate) rooms: Vec<String>,
    pub(crate) id: String,
    pub(crate) closed: Option<(u16, String)>,
}

impl Kept {
    pub(crate) fn read(&mut self, peer: &Peer) {
        for frame in peer.frames() {
            let frame = match frame {
                Got::Json(frame) => frame,
                Got::Close(code, reason) => {
                    self.closed = Some((code, reason));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            if let Some(ticket) = frame.get("ticket") {
                // An empty one is left out, as all that is empty.
                self.ticket = ticket["ticket"].as_str().unwrap_or_default().to_owned();
            }
            for place in ["connected", "heartbeat"] {
                if let Some(position) = frame[place]["position"].as_object() {
                    self.position.extend(position.clone());
                }
                if let Some(as_of) = frame[place]["as_of"].as_str() {
                    self.as_of = Some(as_of.to_owned());
                }
            }
            if let Some(connected) = frame.get("connected") {
                self.recovered = connected["recovered"].as_bool();
                self.rooms = rooms(&connected["rooms"]);
                self.id = connected["connection_id"].as_str().unwrap().to_owned();
            }
            if let Some(text) = frame["push"]["text"].as_str() {
                self.contents.push(text.to_owned());
                let (manager, seq) = (&frame["push"]["manager"], &frame["push"]["seq"]);
                self.position.insert(manager.as_str().unwrap().to_owned(), seq.clone());
            }
            if let Some(changed) = frame.get("rooms") {
                let left = rooms(&changed["left"]);
                self.rooms.retain(|room| !left.contains(room));
                self.rooms.extend(rooms(&changed["joined"]));
            }
        }
    }

    pub(crate) fn resume(&self, attempt: u32) -> Value {
        let as_of = self.as_of.clone().unwrap_or_default();
        json!({"ticket": self.ticket, "position": self.position, "as_of": as_of, "attempt": attempt})
    }

    pub(crate) fn take_contents(&mut self) -> Vec<String> {
        std::mem::take(&mut self.contents)
    }
}

pub(crate) fn rooms(of: &Value) -> Vec<String> {
    let rooms = of.as_array().into_iter().flatten();
    rooms.filter_map(|room| room.as_str().map(str::to_owned)).collect()
}

pub(crate) fn connect(
    node: &mut Node,
    rooms: &[&str],
    kept: &mut Kept,
    resume: Option<Value>,
) -> (SlabKey, Peer) {
    let (key, peer) = node.open(Format::Json);
    let mut connect = json!({"user_id": "u", "rooms": rooms});
    if let Some(resume) = resume {
        connect["resume"] = resume;
    }
    node.text(key, &json!({"id": 1, "connect": connect}).to_string());
    node.deliver();
    kept.closed = None;
    kept.recovered = None;
    kept.read(&peer);
    (key, peer)
}

/// A client that was on the first node and has gone without a word.
pub(crate) fn gone(pair: &mut Pair, rooms: &[&str]) -> Kept {
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], rooms, &mut kept, None);
    assert_eq!(kept.recovered, Some(false));
    assert!(!kept.ticket.is_empty());
    peer.0.borrow_mut().client_gone = true;
    pair.nodes[0].shard.feed(key, &peer::masked(0x8, &1000_u16.to_be_bytes()), pair.nodes[0].now());
    kept
}

pub(crate) fn come_back(pair: &mut Pair, kept: &mut Kept) -> (SlabKey, Peer) {
    let resume = kept.resume(0);
    connect(&mut pair.nodes[1], &[], kept, Some(resume))
}
