//! A node's whole path: bytes of a link in, sends out.

use std::{cell::Cell, io, rc::Rc, sync::Arc, task::Waker};

use anyhow::{Context as _, bail};
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
        state::{Now, Shard, ShardSettings},
        transport::Transport,
    },
    tickets::TicketKeys,
};
use prost::Message as _;
use pushcast_proto::{
    client::v1::{ClientFrame, Connect, client_frame},
    connectnode::v1::{Fill, Heartbeat, Hello},
};
use tokio::sync::Notify;

use crate::{
    Case,
    messages::{MANAGER, MICROS, batch},
};

/// A socket that takes everything and counts it.
struct Sink(Rc<Cell<u64>>);

impl Transport for Sink {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + 1);
        Ok(bytes.len())
    }

    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wake_when_writable(&self, _: &Waker) {}

    fn finish(&self) {}
}

/// Who is there, and what comes for them.
pub(crate) struct Shape {
    pub(crate) sockets: usize,
    /// Rooms; socket `n` is in room `n % rooms`.
    pub(crate) rooms: usize,
    /// Messages per batch, all to room 0 if wanted, else to rooms that nobody is in.
    pub(crate) messages: usize,
    pub(crate) wanted: bool,
}

/// See the file.
pub(crate) struct Delivery {
    shape: Shape,
    shard: Shard<Sink>,
    ingest: Arc<Ingest>,
    owner: Owner,
    keys: Keys,
    sends: Rc<Cell<u64>>,
    /// Sends before the first round.
    connected: u64,
    sent_seq: u64,
    next: Bytes,
    /// As the acknowledgements count them.
    recipients: u64,
}

const NOW: Now = Now { millis: 1, micros: MICROS };

impl Delivery {
    pub(crate) fn new(shape: Shape) -> anyhow::Result<Self> {
        let keys = Keys::default();
        let inbox = Arc::new(Inbox::default());
        let wakes = vec![Arc::new(Notify::new())];
        let settings = IngestSettings::default();
        let ingest = Arc::new(Ingest::new(vec![Arc::clone(&inbox)], wakes, keys.clone(), settings));
        let settings = ShardSettings {
            node_id: "guard".to_owned(),
            heartbeat: 25_000,
            outbox_bytes: 1 << 20,
            ticket_keys: TicketKeys::random(),
            auth: ClientAuth::Open,
            token_warning: 60_000,
            limits: Limits::default().of_clients(),
        };
        let shard = Shard::new(settings, keys.clone(), Arc::clone(&ingest), inbox, ShardMetrics::new(0));
        let hello = Hello { manager_id: MANAGER, ..Hello::default() };
        let owner = ingest.take_over(&hello, NOW.micros).owner;
        ingest.fill(owner, &Fill { first_seq: 1, ..Fill::default() }, NOW.micros)?;
        let mut delivery = Self {
            shape,
            shard,
            ingest,
            owner,
            keys,
            sends: Rc::default(),
            connected: 0,
            sent_seq: 0,
            next: Bytes::new(),
            recipients: 0,
        };
        for n in 0..delivery.shape.sockets {
            delivery.connect(n)?;
        }
        delivery.connected = delivery.sends.get();
        Ok(delivery)
    }

    fn connect(&mut self, n: usize) -> anyhow::Result<()> {
        let socket = Sink(Rc::clone(&self.sends));
        let connection = Connection::new(socket, Format::Protobuf, NOW.millis);
        let key = self.shard.open(connection);
        let connect = Connect {
            user_id: format!("user-{n}"),
            rooms: vec![format!("room-{}", n % self.shape.rooms)],
            ..Connect::default()
        };
        let frame = ClientFrame { id: 1, frame: Some(client_frame::Frame::Connect(connect)) }.encode_to_vec();
        let len = u8::try_from(frame.len()).ok().filter(|len| *len < 126).context("a short connect frame")?;
        // A masked binary frame whose mask is 0.
        let mut bytes = vec![0x82, 0x80 | len, 0, 0, 0, 0];
        bytes.extend_from_slice(&frame);
        self.shard.feed(key, &bytes, NOW);
        Ok(())
    }
}

impl Case for Delivery {
    fn prepare(&mut self) -> anyhow::Result<()> {
        let wanted = self.shape.wanted;
        let room = |n| if wanted { "room-0".to_owned() } else { format!("nobody-{n}") };
        self.next = batch(self.sent_seq + 1, self.shape.messages, room);
        self.sent_seq += self.shape.messages as u64;
        Ok(())
    }

    /// One batch, from the bytes of the link to the acknowledgement.
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        let batch = Batch::decode(std::mem::take(&mut self.next), &self.keys)?;
        let last = batch.last_seq();
        self.ingest.offer(self.owner, batch, NOW.micros)?;
        self.shard.deliver(NOW);
        while self.shard.flush(256, NOW) {}
        self.shard.end_turn();
        let ack = self.ingest.next_ack(self.owner)?.context("the batch is placed")?;
        let beat = Heartbeat { sent_seq: last, acked_seq: last, through: NOW.micros, ..Heartbeat::default() };
        self.ingest.heartbeat(self.owner, &beat, NOW.micros)?;
        for recipients in ack.recipients {
            self.recipients += u64::from(recipients);
        }
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        let Shape { sockets, messages, wanted, .. } = self.shape;
        let placed = if wanted { rounds * messages * sockets } else { 0 };
        let sent = if wanted { rounds * sockets } else { 0 };
        let sends = self.sends.get() - self.connected;
        if self.recipients != placed as u64 || sends != sent as u64 {
            bail!("{} placed and {sends} sends, not {placed} and {sent}", self.recipients);
        }
        Ok(())
    }
}
