//! A batch as it came from a link: the bytes as received and where in them each message's fields are.
//!
//! Owns the received bytes, without copying content. Promises that ids and uris are UTF-8 and that seqs are
//! consecutive. Never looks at tables.

use bytes::Bytes;
use pushcast_proto::connectnode::v1::Control;

use crate::key::Key;

mod decode;

pub use decode::BadBatch;

/// Consecutive messages of one manager.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
    messages: Vec<Entry>,
    /// The users of messages to several users, back to back.
    users: Vec<(Span, Key)>,
    controls: Vec<Control>,
    /// Rooms that controls put somebody into, by index.
    joins: Vec<(u32, Key)>,
}

/// A message of a batch, borrowed from it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its number at its manager.
    pub seq: u64,
    /// When it was accepted, microseconds by the manager's clock.
    pub accepted_at: u64,
    /// Tenant.
    pub app: &'a [u8],
    /// Whom it is for.
    pub target: Target<'a>,
    /// What is delivered.
    pub content: &'a [u8],
    /// `Service/NotifyType`.
    pub uri: &'a [u8],
    /// 16 bytes if the push had a request_id: the hash of all that makes it what it is.
    pub request_hash: &'a [u8],
    /// 16 bytes if the push had a request_id: the hash of tenant and request_id.
    pub request_key: &'a [u8],
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A room.
    Room(&'a [u8], Key),
    /// A user.
    User(&'a [u8], Key),
    /// Several users.
    Users(Users<'a>),
    /// Everyone of the message's tenant.
    App(Key),
    /// Everyone.
    Everyone,
    /// No push but something to be done to connections.
    Control(&'a Control),
}

/// The users of a message to several.
#[derive(Debug, Clone, Copy)]
pub struct Users<'a> {
    bytes: &'a [u8],
    spans: &'a [(Span, Key)],
}

impl<'a> Users<'a> {
    /// Ids and keys, in the order of the push.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a [u8], Key)> {
        self.spans.iter().map(move |(span, key)| (span.of(self.bytes), *key))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone)]
struct Entry {
    seq: u64,
    accepted_at: u64,
    key: Key,
    app: Span,
    target: Span,
    content: Span,
    uri: Span,
    request_hash: Span,
    request_key: Span,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Room,
    User,
    Users,
    App,
    Everyone,
    Control,
}

impl Batch {
    /// Seq of the first message.
    pub fn first_seq(&self) -> u64 {
        self.messages[0].seq
    }

    /// Seq of the last message.
    pub fn last_seq(&self) -> u64 {
        self.messages[self.messages.len() - 1].seq
    }

    /// How many messages; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes that this batch keeps alive.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
            + self.messages.capacity() * size_of::<Entry>()
            + self.users.capacity() * size_of::<(Span, Key)>()
            + self.controls.capacity() * size_of::<Control>()
            // About what their strings take.
            + self.controls.iter().map(prost::Message::encoded_len).sum::<usize>()
    }

    /// When the message at `index` was accepted.
    pub fn accepted_at(&self, index: usize) -> u64 {
        self.messages[index].accepted_at
    }

    /// Rooms that controls put somebody into: index of the control, ascending, and key of the room.
    pub fn joins(&self) -> &[(u32, Key)] {
        &self.joins
    }

    /// Whether a message of it is a control.
    pub fn has_controls(&self) -> bool {
        !self.controls.is_empty()
    }

    /// Whether the message at `index` is a control.
    pub fn is_control(&self, index: usize) -> bool {
        self.messages[index].kind == Kind::Control
    }

    /// Whether a message of it came with a request_id.
    pub fn has_requests(&self) -> bool {
        self.messages.iter().any(|entry| entry.request_key.start != entry.request_key.end)
    }

    /// The keys that the message at `index` can be found by; none for a control.
    pub fn each_key(&self, index: usize, mut each: impl FnMut(Key)) {
        let entry = &self.messages[index];
        match entry.kind {
            Kind::Room | Kind::User | Kind::App | Kind::Everyone => each(entry.key),
            Kind::Users => self.users_of(entry).iter().for_each(|(_, key)| each(*key)),
            Kind::Control => {}
        }
    }

    /// The message at `index`, which must be below `len`.
    pub fn message(&self, index: usize) -> Message<'_> {
        let entry = &self.messages[index];
        Message {
            seq: entry.seq,
            accepted_at: entry.accepted_at,
            app: entry.app.of(&self.bytes),
            target: self.target(entry),
            content: entry.content.of(&self.bytes),
            uri: entry.uri.of(&self.bytes),
            request_hash: entry.request_hash.of(&self.bytes),
            request_key: entry.request_key.of(&self.bytes),
        }
    }

    /// Whether `wants` holds for a key that the message at `index` is for.
    pub fn wanted(&self, index: usize, mut wants: impl FnMut(Key) -> bool) -> bool {
        let entry = &self.messages[index];
        match entry.kind {
            // A control is for whoever has connections at all.
            Kind::Room | Kind::User | Kind::App | Kind::Everyone | Kind::Control => wants(entry.key),
            Kind::Users => self.users_of(entry).iter().any(|(_, key)| wants(*key)),
        }
    }

    fn target(&self, entry: &Entry) -> Target<'_> {
        match entry.kind {
            Kind::Room => Target::Room(entry.target.of(&self.bytes), entry.key),
            Kind::User => Target::User(entry.target.of(&self.bytes), entry.key),
            Kind::Users => Target::Users(Users { bytes: &self.bytes, spans: self.users_of(entry) }),
            Kind::App => Target::App(entry.key),
            Kind::Everyone => Target::Everyone,
            Kind::Control => Target::Control(&self.controls[entry.target.start as usize]),
        }
    }

    /// For `Kind::Users` the target span counts entries of `users`, for `Kind::Control` its start is an index of
    /// `controls`, instead of bytes.
    fn users_of(&self, entry: &Entry) -> &[(Span, Key)] {
        &self.users[entry.target.start as usize..entry.target.end as usize]
    }
}
