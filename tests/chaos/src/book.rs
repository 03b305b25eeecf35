//! What callers sent, and what became of it as far as they were told.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes that name a message at the start of its content.
const NAME: usize = 8;

/// A message by its caller and its number there, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Which caller.
    pub caller: u32,
    /// The caller's how manyth push.
    pub number: u32,
}

impl Name {
    /// A content of `bytes` that carries it.
    pub fn content(self, bytes: usize) -> Bytes {
        let mut content = BytesMut::with_capacity(bytes.max(NAME));
        content.put_u32(self.caller);
        content.put_u32(self.number);
        content.resize(bytes.max(NAME), b'.');
        content.freeze()
    }

    /// Reads it from a content.
    pub fn of(content: &[u8]) -> Option<Self> {
        let caller = u32::from_be_bytes(content.get(..4)?.try_into().ok()?);
        let number = u32::from_be_bytes(content.get(4..NAME)?.try_into().ok()?);
        Some(Self { caller, number })
    }

    /// The same at every retry.
    pub fn request_id(self) -> String {
        format!("{}-{}", self.caller, self.number)
    }
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum To {
    /// A room's clients.
    Room(u32),
    /// One client.
    User(u32),
    /// All.
    Everyone,
}

/// What the caller was told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or an error: it may or may not have been accepted.
    Nothing,
    /// Accepted, and some nodes are pending.
    Pending,
    /// Accepted, and acknowledged by all nodes.
    Certain,
}

/// One push.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Which of the caller's streams it was first sent on.
    pub stream: u32,
    /// Just before it was first sent.
    pub at: Instant,
    /// Whom it is for.
    pub to: To,
    /// The last word about it.
    pub told: Told,
    /// It was sent more than once, so its place in the order is not that of its first sending.
    pub retried: bool,
}

impl Sent {
    /// Whether a manager said that it took it.
    pub fn accepted(&self) -> bool {
        self.told != Told::Nothing
    }
}

/// All pushes of all callers.
#[derive(Debug)]
pub struct Book {
    callers: Vec<Mutex<Vec<Sent>>>,
}

impl Book {
    /// An empty one for so many callers.
    pub fn new(callers: usize) -> Self {
        Self { callers: (0..callers).map(|_| Mutex::default()).collect() }
    }

    /// The pushes of one caller, by number.
    ///
    /// # Panics
    /// If there is no such caller.
    pub fn of(&self, caller: u32) -> MutexGuard<'_, Vec<Sent>> {
        self.callers[caller as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything.
    pub fn all(&self) -> Vec<Vec<Sent>> {
        (0..self.callers.len() as u32).map(|caller| self.of(caller).clone()).collect()
    }
}
