//! Frames through an outbox: straight to a socket that takes them, and after waiting for one that did not.

use std::{cell::Cell, io, task::Waker};

use anyhow::ensure;
use connect_node::shard::{outbox::Outbox, transport::Transport};

use crate::{Case, messages::CONTENT};

/// Frames sent in one round.
const FRAMES: usize = 8;

/// A socket that takes everything or nothing, and counts what it took.
#[derive(Default)]
struct Socket {
    full: Cell<bool>,
    taken: Cell<usize>,
}

impl Transport for Socket {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.taken.set(self.taken.get() + bytes.len());
        Ok(bytes.len())
    }

    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wake_when_writable(&self, _: &Waker) {}

    fn finish(&self) {}
}

/// A binary frame whose length takes two more bytes.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x82, 126, 0, CONTENT as u8];
    frame.resize(frame.len() + CONTENT, b'x');
    frame
}

/// Sending to a socket that takes.
pub(crate) struct Send {
    socket: Socket,
    outbox: Outbox,
    frame: Vec<u8>,
}

impl Send {
    pub(crate) fn new() -> Self {
        Self { socket: Socket::default(), outbox: Outbox::default(), frame: frame() }
    }
}

impl Case for Send {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        for _ in 0..FRAMES {
            self.outbox.send(&self.socket, &self.frame)?;
        }
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        took_all(&self.socket, &self.outbox, rounds * FRAMES * self.frame.len())
    }
}

/// Sending to a socket that refuses, then flushing once it takes.
pub(crate) struct Flush {
    socket: Socket,
    outbox: Outbox,
    frame: Vec<u8>,
}

impl Flush {
    pub(crate) fn new() -> Self {
        Self { socket: Socket::default(), outbox: Outbox::default(), frame: frame() }
    }
}

impl Case for Flush {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        self.socket.full.set(true);
        for _ in 0..FRAMES {
            self.outbox.send(&self.socket, &self.frame)?;
        }
        self.socket.full.set(false);
        self.outbox.flush(&self.socket)?;
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        took_all(&self.socket, &self.outbox, rounds * FRAMES * self.frame.len())
    }
}

fn took_all(socket: &Socket, outbox: &Outbox, bytes: usize) -> anyhow::Result<()> {
    let taken = socket.taken.get();
    ensure!(
        taken == bytes && outbox.is_empty(),
        "{taken} bytes taken, not {bytes}, and {} wait",
        outbox.len()
    );
    Ok(())
}
