//! What is delivered.

use bytes::Bytes;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Message, MessageBatch, message::Target};

/// A manager; any number but 0.
pub(crate) const MANAGER: u64 = 7;

/// Content of every message, bytes: the size the budgets of DESIGN 10 speak of.
pub(crate) const CONTENT: usize = 128;

/// When everything happens, microseconds since 1970.
pub(crate) const MICROS: u64 = 1_000_000;

pub(crate) fn message(seq: u64, room: String) -> Message {
    Message {
        seq,
        accepted_at: MICROS,
        target: Some(Target::RoomId(room)),
        content: Bytes::from(vec![b'x'; CONTENT]),
        ..Message::default()
    }
}

/// Bytes of a link: so many messages from `first_seq` on, each to the room that `room` has for its place.
pub(crate) fn batch(first_seq: u64, messages: usize, room: impl Fn(usize) -> String) -> Bytes {
    let messages = (0..messages).map(|n| message(first_seq + n as u64, room(n))).collect();
    MessageBatch { messages }.encode_to_vec().into()
}
