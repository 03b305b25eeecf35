//! Deliveries are encoded by hand, for speed; they must be what the generated code reads.

use bytes::Bytes;
use connect_node::{
    batch::Batch,
    key::Keys,
    shard::frames::{Format, Frames},
};
use proptest::prelude::*;
use prost::Message as _;
use pushcast_proto::{
    client::v1::{Push, ServerFrame, server_frame::Frame},
    connectnode::v1::{Everyone, Message, MessageBatch, message::Target},
};

/// The payload of a WebSocket frame, and its first byte.
fn payload(frame: &[u8]) -> (u8, &[u8]) {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (frame[0], &frame[header..])
}

fn expected(message: &Message, manager: Option<u64>, json: bool) -> Push {
    let mut push = Push { uri: message.uri.clone(), ..Push::default() };
    if let Some(manager) = manager {
        push.manager = format!("{manager:016x}");
        push.seq = message.seq;
        push.message_id = format!("{manager:016x}-{}", message.seq);
    }
    if !message.request_hash.is_empty() {
        push.message_id = message.request_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    match &message.target {
        Some(Target::RoomId(room)) => push.room_id.clone_from(room),
        Some(Target::UserId(user)) => push.user_id.clone_from(user),
        _ => {}
    }
    match String::from_utf8(message.content.to_vec()) {
        Ok(text) if json => push.text = text,
        _ => push.content = message.content.to_vec(),
    }
    push
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        ".{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(vec![b'x'; 200]),
        Just(vec![0xff; 70_000]),
    ]
}

proptest! {
    #[test]
    fn a_delivery_reads_as_the_push_it_is(
        target in prop_oneof![
            ".{1,10}".prop_map(Target::RoomId),
            ".{1,10}".prop_map(Target::UserId),
            Just(Target::Everyone(Everyone { all_apps: true })),
        ],
        uri in ".{0,10}",
        content in content(),
        manager in prop::option::of(1..u64::MAX),
        hash in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 16)],
        seq in 1..u64::MAX,
    ) {
        let message = Message {
            seq,
            target: Some(target),
            uri,
            content: Bytes::from(content),
            request_hash: Bytes::from(hash),
            ..Message::default()
        };
        let encoded = MessageBatch { messages: vec![message.clone()] }.encode_to_vec();
        let batch = Batch::decode(Bytes::from(encoded), &Keys::default()).expect("it is a batch");
        let mut frames = Frames::default();
        let json = frames.push(Format::Json, manager, &batch.message(0));
        let protobuf = frames.push(Format::Protobuf, manager, &batch.message(0));

        let (first, text) = payload(frames.bytes(Format::Json, json));
        prop_assert_eq!(first, 0x81);
        let read: ServerFrame = serde_json::from_slice(text).expect("it is our JSON");
        prop_assert_eq!(read.frame, Some(Frame::Push(expected(&message, manager, true))));

        let (first, bytes) = payload(frames.bytes(Format::Protobuf, protobuf));
        prop_assert_eq!(first, 0x82);
        let read = ServerFrame::decode(bytes).expect("it is our protobuf");
        prop_assert_eq!(read.frame, Some(Frame::Push(expected(&message, manager, false))));
    }
}
