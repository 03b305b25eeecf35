//! A client's socket: remembers what it is sent, in order, and refuses for a while when told to.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::Waker,
};

use connect_node::shard::transport::Transport;

/// What both ends share.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    bytes: RefCell<Vec<u8>>,
    /// Bytes it still takes before it refuses; `None` takes everything.
    room: Cell<Option<usize>>,
    refused: Cell<u64>,
    /// Nobody is at the other end.
    broken: Cell<bool>,
}

impl Socket {
    /// Bytes not looked at yet. What is not a whole frame is to be left in.
    pub(crate) fn received(&self) -> &RefCell<Vec<u8>> {
        &self.bytes
    }

    pub(crate) fn refuse_after(&self, bytes: usize) {
        self.room.set(Some(bytes));
    }

    pub(crate) fn accept_all(&self) {
        self.room.set(None);
    }

    pub(crate) fn break_off(&self) {
        self.broken.set(true);
    }

    /// Whether something of what was sent may not be in `received`.
    pub(crate) fn refuses(&self) -> bool {
        self.room.get().is_some() || self.broken.get()
    }

    /// How often it refused since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        self.refused.take()
    }
}

/// The node's end.
#[derive(Debug)]
pub(crate) struct Wire(pub(crate) Rc<Socket>);

impl Transport for Wire {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = self.0.room.get();
        let taken = room.map_or(bytes.len(), |room| room.min(bytes.len()));
        self.0.room.set(room.map(|room| room - taken));
        if taken == 0 && !bytes.is_empty() {
            self.0.refused.set(self.0.refused.get() + 1);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.bytes.borrow_mut().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wake_when_writable(&self, _: &Waker) {}

    fn finish(&self) {}
}
