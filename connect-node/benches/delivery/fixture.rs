//! What the benchmarks deliver.

use bytes::Bytes;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Message, MessageBatch, message::Target};

/// Content of every message, bytes: the size the budgets speak of.
pub(crate) const CONTENT: usize = 128;

/// Rooms that messages are for, and that the tables hold: what the budgets speak of.
pub(crate) const ROOMS: u64 = 100_000;

/// Messages per batch: idle, and under load.
pub(crate) const BATCHES: [u64; 2] = [1, 64];

pub(crate) const MANAGER: u64 = 0x8f14_e45f_ceea_167a;

/// When everything happens, microseconds since 1970.
pub(crate) const NOW: u64 = 1_000_000_000;

/// A batch as the link brings it: so many messages from `first_seq` on, each to another room.
pub(crate) fn batch(first_seq: u64, messages: u64) -> Bytes {
    let message = |seq: u64| Message {
        seq,
        accepted_at: NOW + seq,
        target: Some(Target::RoomId(room(seq))),
        content: Bytes::from(vec![b'x'; CONTENT]),
        ..Message::default()
    };
    let messages = (first_seq..first_seq + messages).map(message).collect();
    MessageBatch { messages }.encode_to_vec().into()
}

/// The room with this number; there are [`ROOMS`].
pub(crate) fn room(n: u64) -> String {
    format!("room-{}", n % ROOMS)
}
