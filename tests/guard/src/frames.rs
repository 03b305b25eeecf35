//! A message as a frame, once per format.

use anyhow::ensure;
use connect_node::{
    batch::Batch,
    key::Keys,
    shard::frames::{Format, Frames},
};

use crate::{
    Case,
    messages::{MANAGER, batch},
};

/// Frames that are encoded back to back before they are forgotten.
const MESSAGES: usize = 16;

/// Encoding messages in one format.
pub(crate) struct Encode {
    format: Format,
    batch: Batch,
    frames: Frames,
    bytes: usize,
}

impl Encode {
    pub(crate) fn new(format: Format) -> anyhow::Result<Self> {
        let bytes = batch(1_000_000, MESSAGES, |n| format!("room-{n}"));
        let batch = Batch::decode(bytes, &Keys::default())?;
        let mut encode = Self { format, batch, frames: Frames::default(), bytes: 0 };
        // Takes the memory that later rounds use again.
        encode.encode();
        encode.bytes = 0;
        Ok(encode)
    }

    fn encode(&mut self) {
        self.frames.clear(usize::MAX);
        for index in 0..MESSAGES {
            let range = self.frames.push(self.format, Some(MANAGER), &self.batch.message(index));
            self.bytes += (range.end - range.start) as usize;
        }
    }
}

impl Case for Encode {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        self.encode();
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        ensure!(self.bytes == rounds * self.frames.all(self.format).len(), "{} bytes encoded", self.bytes);
        Ok(())
    }
}
