//! A client's end of a connection without a socket, and a shard in virtual time to connect it to.

#![allow(dead_code, reason = "each of the test binaries uses a part")]

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, sync::Arc, task::Waker};

use bytes::Bytes;
use connect_node::{
    ShardMetrics,
    auth::ClientAuth,
    batch::Batch,
    inbox::Inbox,
    ingest::{Ingest, IngestSettings, Owner},
    key::Keys,
    limits::Limits,
    shard::{
        connection::Connection,
        frames::Format,
        slab::SlabKey,
        state::{Now, Shard, ShardSettings},
        transport::Transport,
    },
    tickets::TicketKeys,
};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Fill, Heartbeat, Hello, Message, MessageBatch, message::Target};
use serde_json::Value;
use tokio::sync::Notify;

pub(crate) const OUTBOX_BYTES: usize = 64 * 1024;
pub(crate) const HEARTBEAT: u64 = 25_000;
/// When the tests begin, microseconds since 1970.
pub(crate) const EPOCH: u64 = 1_000_000_000;
pub(crate) const MANAGER: u64 = 0x8f14_e45f_ceea_167a;

/// What the network holds for one client.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Bytes the client sent that the node has not read.
    pub(crate) to_node: VecDeque<u8>,
    pub(crate) received: Vec<u8>,
    /// Bytes that the client's kernel still takes; `None`: any.
    pub(crate) room: Option<usize>,
    pub(crate) finished: bool,
    pub(crate) client_gone: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Peer(pub(crate) Rc<RefCell<Wire>>);

impl Transport for Peer {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let n = wire.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wire.room = wire.room.map(|room| room - n);
        wire.received.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.to_node.is_empty() {
            return if wire.client_gone { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let n = buffer.len().min(wire.to_node.len());
        for (to, from) in buffer.iter_mut().zip(wire.to_node.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }

    fn wake_when_writable(&self, _: &Waker) {}

    fn finish(&self) {
        self.0.borrow_mut().finished = true;
    }
}

/// What a client was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Json(Value),
    Binary(Vec<u8>),
    Close(u16, String),
    Pong(Vec<u8>),
}

impl Peer {
    /// Takes the whole frames received so far.
    pub(crate) fn frames(&self) -> Vec<Got> {
        let mut wire = self.0.borrow_mut();
        let mut frames = Vec::new();
        while let Some((opcode, header, len)) = header(&wire.received)
            && wire.received.len() >= header + len
        {
            let payload: Vec<u8> = wire.received.drain(..header + len).skip(header).collect();
            frames.push(match opcode {
                0x1 => Got::Json(serde_json::from_slice(&payload).expect("text frames are JSON")),
                0x2 => Got::Binary(payload),
                0x8 if payload.is_empty() => Got::Close(1005, String::new()),
                0x8 => Got::Close(
                    u16::from_be_bytes([payload[0], payload[1]]),
                    String::from_utf8(payload[2..].to_vec()).expect("reasons are UTF-8"),
                ),
                0xa => Got::Pong(payload),
                other => panic!("a frame of type {other}"),
            });
        }
        frames
    }

    pub(crate) fn close_code(&self) -> Option<u16> {
        self.frames().into_iter().find_map(|frame| match frame {
            Got::Close(code, _) => Some(code),
            _ => None,
        })
    }
}

fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let opcode = bytes.first()? & 0xf;
    Some(match *bytes.get(1)? {
        126 => (opcode, 4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (opcode, 10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (opcode, 2, len.into()),
    })
}

/// A frame as a client sends it, masked.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// One shard of a node, its ingest and a link of one manager, in virtual time.
pub(crate) struct Node {
    pub(crate) shard: Shard<Peer>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) owner: Owner,
    keys: Keys,
    pub(crate) seq: u64,
    pub(crate) millis: u64,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(IngestSettings::default(), TicketKeys::default())
    }

    /// A node that takes clients, with one manager linked and filled from its first message.
    pub(crate) fn with(settings: IngestSettings, ticket_keys: TicketKeys) -> Self {
        Self::with_auth(settings, ticket_keys, ClientAuth::Open)
    }

    /// The same, where clients prove who they are.
    pub(crate) fn with_auth(settings: IngestSettings, ticket_keys: TicketKeys, auth: ClientAuth) -> Self {
        Self::of(settings, ticket_keys, auth, &Limits::default())
    }

    /// The same, where clients may take as much as these limits say.
    pub(crate) fn with_limits(limits: &Limits, ticket_keys: TicketKeys) -> Self {
        Self::of(IngestSettings::default(), ticket_keys, ClientAuth::Open, limits)
    }

    fn of(settings: IngestSettings, ticket_keys: TicketKeys, auth: ClientAuth, limits: &Limits) -> Self {
        let keys = Keys::default();
        let inbox = Arc::new(Inbox::default());
        let wakes = vec![Arc::new(Notify::new())];
        let ingest = Arc::new(Ingest::new(vec![Arc::clone(&inbox)], wakes, keys.clone(), settings));
        let settings = ShardSettings {
            node_id: "n1".to_owned(),
            heartbeat: HEARTBEAT,
            outbox_bytes: OUTBOX_BYTES,
            ticket_keys,
            auth,
            token_warning: 60_000,
            limits: limits.of_clients(),
        };
        let shard = Shard::new(settings, keys.clone(), Arc::clone(&ingest), inbox, ShardMetrics::new(0));
        let hello = Hello { manager_id: MANAGER, ..Hello::default() };
        let owner = ingest.take_over(&hello, EPOCH).owner;
        let fill = Fill { first_seq: 1, ..Fill::default() };
        ingest.fill(owner, &fill, EPOCH).expect("the link just took over");
        ingest.open(EPOCH);
        Self { shard, ingest, owner, keys, seq: 0, millis: 0 }
    }

    pub(crate) fn now(&self) -> Now {
        Now { millis: self.millis, micros: EPOCH + self.millis * 1000 }
    }

    pub(crate) fn open(&mut self, format: Format) -> (SlabKey, Peer) {
        let peer = Peer::default();
        let connection = Connection::new(peer.clone(), format, self.millis);
        (self.shard.open(connection), peer)
    }

    /// A JSON client that is connected, with the answer to connect taken.
    pub(crate) fn client(&mut self, user: &str, rooms: &[&str]) -> (SlabKey, Peer) {
        let (key, peer) = self.open(Format::Json);
        let connect = serde_json::json!({"id": 1, "connect": {"user_id": user, "rooms": rooms}});
        self.text(key, &connect.to_string());
        let frames = peer.frames();
        assert!(
            matches!(&frames[..], [Got::Json(frame)] if frame["connected"]["user_id"] == user),
            "{frames:?}"
        );
        (key, peer)
    }

    pub(crate) fn text(&mut self, key: SlabKey, text: &str) {
        self.shard.feed(key, &masked(0x1, text.as_bytes()), self.now());
        self.flush();
    }

    /// Sends a message as the manager does, through ingest.
    pub(crate) fn push(&mut self, target: Target, content: &[u8]) {
        let content = Bytes::copy_from_slice(content);
        self.push_message(Message { target: Some(target), content, ..Message::default() });
    }

    /// The same with whatever else the message says; seq and accept time are given.
    pub(crate) fn push_message(&mut self, message: Message) {
        self.seq += 1;
        let message = Message { seq: self.seq, accepted_at: self.now().micros + self.seq, ..message };
        let bytes = MessageBatch { messages: vec![message] }.encode_to_vec();
        let batch = Batch::decode(Bytes::from(bytes), &self.keys).expect("it is a batch");
        self.ingest.offer(self.owner, batch, self.now().micros).expect("the link owns the manager");
    }

    pub(crate) fn push_to_room(&mut self, room: &str, content: &[u8]) {
        self.push(Target::RoomId(room.to_owned()), content);
    }

    /// Places what was pushed and sends it.
    pub(crate) fn deliver(&mut self) {
        self.shard.deliver(self.now());
        while self.shard.replay(self.now()) {
            self.flush();
        }
        self.flush();
    }

    /// A heartbeat of the manager: everything up to now was sent.
    pub(crate) fn beat(&mut self) {
        let now = self.now().micros;
        let beat = Heartbeat { sent_seq: self.seq, through: now, sent_at: now, ..Heartbeat::default() };
        self.ingest.heartbeat(self.owner, &beat, now).expect("the link owns the manager");
    }

    pub(crate) fn flush(&mut self) {
        while self.shard.flush(1, self.now()) {}
        self.shard.end_turn();
    }

    /// Lets time pass as the event loop does.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.pass_by(50, millis);
    }

    /// The same in other steps: an event loop that was kept from its work takes long ones.
    pub(crate) fn pass_by(&mut self, step: u64, millis: u64) {
        let until = self.millis + millis;
        while self.millis < until {
            self.millis = until.min(self.millis + step);
            self.shard.sweep(self.now());
            self.flush();
        }
    }

    /// What the manager would be told: recipients of the messages placed since the last call.
    pub(crate) fn recipients(&mut self) -> Vec<u32> {
        let ack = self.ingest.next_ack(self.owner).expect("the link owns the manager");
        ack.map(|ack| ack.recipients).unwrap_or_default()
    }
}
