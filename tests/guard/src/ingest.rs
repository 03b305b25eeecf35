//! A batch from the bytes of a link, and its way into a window that is full.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use connect_node::{
    batch::Batch,
    ingest::{Ingest, IngestSettings, Owner},
    key::Keys,
    window::WindowLimits,
};
use pushcast_proto::connectnode::v1::{Fill, Heartbeat, Hello};

use crate::{
    Case,
    messages::{MANAGER, MICROS, batch},
};

/// Small, so that it is full soon; a quarter of it is the index.
const WINDOW: WindowLimits = WindowLimits { bytes: 4 << 20, age: u64::MAX };

fn room(n: usize) -> String {
    format!("room-{n}")
}

/// Decoding a batch.
pub(crate) struct Decode {
    messages: usize,
    bytes: Bytes,
    keys: Keys,
    decoded: usize,
}

impl Decode {
    pub(crate) fn new(messages: usize) -> Self {
        Self { messages, bytes: batch(1, messages, room), keys: Keys::default(), decoded: 0 }
    }
}

impl Case for Decode {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        let batch = Batch::decode(self.bytes.clone(), &self.keys)?;
        self.decoded += batch.len();
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        ensure!(self.decoded == rounds * self.messages, "{} messages decoded", self.decoded);
        Ok(())
    }
}

/// Numbering a batch and keeping it, where no shard is to be asked whether it wants it.
pub(crate) struct Insert {
    messages: usize,
    ingest: Ingest,
    owner: Owner,
    keys: Keys,
    sent_seq: u64,
    next: Option<Batch>,
    inserted: usize,
}

impl Insert {
    pub(crate) fn new(messages: usize) -> anyhow::Result<Self> {
        let keys = Keys::default();
        let settings = IngestSettings { window: WINDOW, ..IngestSettings::default() };
        let ingest = Ingest::new(Vec::new(), Vec::new(), keys.clone(), settings);
        let owner = ingest.take_over(&Hello { manager_id: MANAGER, ..Hello::default() }, MICROS).owner;
        ingest.fill(owner, &Fill { first_seq: 1, ..Fill::default() }, MICROS)?;
        let mut insert = Self { messages, ingest, owner, keys, sent_seq: 0, next: None, inserted: 0 };
        let mut filled = 0;
        while filled < WINDOW.bytes {
            insert.prepare()?;
            filled += insert.next.as_ref().map_or(0, Batch::bytes);
            insert.insert()?;
        }
        insert.inserted = 0;
        Ok(insert)
    }

    fn insert(&mut self) -> anyhow::Result<()> {
        let batch = self.next.take().context("a batch is prepared")?;
        self.inserted += self.ingest.offer(self.owner, batch, MICROS)?.new;
        Ok(())
    }
}

impl Case for Insert {
    fn prepare(&mut self) -> anyhow::Result<()> {
        while self.ingest.next_ack(self.owner)?.is_some() {}
        let beat = Heartbeat { sent_seq: self.sent_seq, acked_seq: self.sent_seq, ..Heartbeat::default() };
        self.ingest.heartbeat(self.owner, &beat, MICROS)?;
        let bytes = batch(self.sent_seq + 1, self.messages, room);
        self.sent_seq += self.messages as u64;
        self.next = Some(Batch::decode(bytes, &self.keys)?);
        Ok(())
    }

    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        self.insert()
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        ensure!(self.inserted == rounds * self.messages, "{} messages inserted", self.inserted);
        Ok(())
    }
}
