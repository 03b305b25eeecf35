//! A message as a frame, WebSocket header included: once per format, however many sockets it goes to.

use bytes::Bytes;
use connect_node::{
    batch::Batch,
    key::Keys,
    shard::frames::{Format, Frames},
};
use criterion::{Criterion, Throughput};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Message, MessageBatch, message::Target};

use crate::fixture::{CONTENT, MANAGER, NOW};

fn message(content: u8) -> Batch {
    let message = Message {
        seq: 1_000_000,
        accepted_at: NOW,
        target: Some(Target::RoomId("room-1".into())),
        uri: "chat/Message".into(),
        content: Bytes::from(vec![content; CONTENT]),
        ..Message::default()
    };
    let bytes = MessageBatch { messages: vec![message] }.encode_to_vec();
    Batch::decode(bytes.into(), &Keys::default()).expect("it is a batch")
}

pub(crate) fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame_encode");
    group.throughput(Throughput::Elements(1));
    for (name, format, content) in [
        ("protobuf", Format::Protobuf, b'x'),
        ("json_text", Format::Json, b'x'),
        // No UTF-8, so that it goes as base64.
        ("json_binary", Format::Json, 0xff),
    ] {
        let batch = message(content);
        let mut frames = Frames::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                frames.clear(usize::MAX);
                frames.push(format, Some(MANAGER), &batch.message(0))
            });
        });
    }
    group.finish();
}
