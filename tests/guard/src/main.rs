//! Drives a node's delivery path without a socket: bytes of a link in, sends out.
//!
//! `delivery-driver CASE ROUNDS` sets the case up and then runs so many rounds of it. To be run under
//! `valgrind --tool=callgrind`, which counts inside of `Driver::measured_round` alone.

use std::{cell::Cell, io, rc::Rc, sync::Arc, task::Waker};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use connect_node::{
    ShardMetrics,
    batch::Batch,
    inbox::Inbox,
    ingest::{Ingest, IngestSettings, Owner},
    key::Keys,
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
    connectnode::v1::{Fill, Heartbeat, Hello, Message, MessageBatch, message::Target},
};
use tokio::sync::Notify;

/// A manager; any number but 0.
const MANAGER: u64 = 7;

/// Content of every message, bytes: the size the budgets of DESIGN 10 speak of.
const CONTENT: usize = 128;

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

/// What is measured.
struct Case {
    sockets: usize,
    /// Rooms; socket `n` is in room `n % rooms`.
    rooms: usize,
    /// Messages per batch, all to room 0 if wanted, else to rooms that nobody is in.
    messages: usize,
    wanted: bool,
}

impl Case {
    fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "one_in_flight" => Self { sockets: 500, rooms: 1, messages: 1, wanted: true },
            "eight_in_flight" => Self { sockets: 500, rooms: 1, messages: 8, wanted: true },
            "unwanted" => Self { sockets: 1000, rooms: 1000, messages: 64, wanted: false },
            _ => bail!("no case is called {name:?}"),
        })
    }
}

struct Driver {
    shard: Shard<Sink>,
    ingest: Arc<Ingest>,
    owner: Owner,
    keys: Keys,
    sends: Rc<Cell<u64>>,
}

const NOW: Now = Now { millis: 1, micros: 1_000_000 };

impl Driver {
    fn new(case: &Case) -> anyhow::Result<Self> {
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
        };
        let shard = Shard::new(settings, keys.clone(), Arc::clone(&ingest), inbox, ShardMetrics::default());
        let hello = Hello { manager_id: MANAGER, ..Hello::default() };
        let owner = ingest.take_over(&hello, NOW.micros).owner;
        ingest.fill(owner, &Fill { first_seq: 1, ..Fill::default() }, NOW.micros)?;
        let mut driver = Self { shard, ingest, owner, keys, sends: Rc::default() };
        for n in 0..case.sockets {
            driver.connect(n, case.rooms)?;
        }
        Ok(driver)
    }

    fn connect(&mut self, n: usize, rooms: usize) -> anyhow::Result<()> {
        let socket = Sink(Rc::clone(&self.sends));
        let connection = Connection::new(socket, Format::Protobuf, NOW.millis);
        let key = self.shard.open(connection);
        let connect = Connect {
            user_id: format!("user-{n}"),
            rooms: vec![format!("room-{}", n % rooms)],
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

    /// One batch, from the bytes of the link to the acknowledgement. Returns what the ack counts.
    #[inline(never)]
    fn measured_round(&mut self, batch: Bytes) -> anyhow::Result<u64> {
        let batch = Batch::decode(batch, &self.keys)?;
        let last = batch.last_seq();
        self.ingest.offer(self.owner, batch, NOW.micros)?;
        self.shard.deliver(NOW);
        while self.shard.flush(256, NOW) {}
        self.shard.end_turn();
        let ack = self.ingest.next_ack(self.owner)?.context("the batch is placed")?;
        let beat = Heartbeat { sent_seq: last, acked_seq: last, through: NOW.micros, ..Heartbeat::default() };
        self.ingest.heartbeat(self.owner, &beat, NOW.micros)?;
        Ok(ack.recipients.iter().map(|n| u64::from(*n)).sum())
    }
}

fn batch(case: &Case, round: usize) -> Bytes {
    let message = |n: usize| {
        let room = if case.wanted { "room-0".to_owned() } else { format!("nobody-{n}") };
        Message {
            seq: (round * case.messages + n + 1) as u64,
            accepted_at: NOW.micros,
            target: Some(Target::RoomId(room)),
            content: Bytes::from(vec![b'x'; CONTENT]),
            ..Message::default()
        }
    };
    let messages = (0..case.messages).map(message).collect();
    Bytes::from(MessageBatch { messages }.encode_to_vec())
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let case = Case::named(&args.next().context("which case?")?)?;
    let rounds: usize = args.next().context("how many rounds?")?.parse()?;
    let mut driver = Driver::new(&case)?;
    let connected = driver.sends.get();
    let mut recipients = 0;
    for round in 0..rounds {
        recipients += driver.measured_round(batch(&case, round))?;
    }
    let placed = if case.wanted { rounds * case.messages * case.sockets } else { 0 };
    let sent = if case.wanted { rounds * case.sockets } else { 0 };
    if recipients != placed as u64 || driver.sends.get() - connected != sent as u64 {
        bail!("{recipients} placed and {} sends, not {placed} and {sent}", driver.sends.get() - connected);
    }
    Ok(())
}
