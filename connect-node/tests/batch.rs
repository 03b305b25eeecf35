//! A batch read by this node is the batch that prost reads, and no bytes at all make it panic.

use bytes::Bytes;
use connect_node::{
    batch::{BadBatch, Batch, Target},
    key::Keys,
};
use proptest::prelude::*;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Everyone, Message, MessageBatch, UserIds, message};

fn target() -> impl Strategy<Value = message::Target> {
    prop_oneof![
        "[a-z房]{1,8}".prop_map(message::Target::RoomId),
        "[a-z]{1,8}".prop_map(message::Target::UserId),
        prop::collection::vec("[a-z]{1,8}", 1..5).prop_map(|ids| message::Target::UserIds(UserIds { ids })),
        any::<bool>().prop_map(|all_apps| message::Target::Everyone(Everyone { all_apps })),
    ]
}

prop_compose! {
    fn message()(
        target in target(),
        app in "[a-z]{0,4}",
        uri in "[a-zA-Z/]{0,12}",
        content in prop::collection::vec(any::<u8>(), 0..64),
        accepted_at in any::<u64>(),
        request_id in "[a-z]{0,4}",
    ) -> Message {
        let request_hash = if request_id.is_empty() { Bytes::new() } else { Bytes::from_static(&[9; 16]) };
        let request_key = request_hash.clone();
        let content = Bytes::from(content);
        let target = Some(target);
        Message { seq: 0, accepted_at, app, target, content, uri, request_id, request_hash, request_key }
    }
}

fn numbered(mut messages: Vec<Message>, first: u64) -> MessageBatch {
    for (seq, message) in (first..).zip(&mut messages) {
        message.seq = seq;
    }
    MessageBatch { messages }
}

fn same_target(batch: &Target<'_>, message: &message::Target, app: &str, keys: &Keys) -> bool {
    let app = app.as_bytes();
    match (batch, message) {
        (Target::Room(id, key), message::Target::RoomId(room)) => {
            *id == room.as_bytes() && *key == keys.room(app, id)
        }
        (Target::User(id, key), message::Target::UserId(user)) => {
            *id == user.as_bytes() && *key == keys.user(app, id)
        }
        (Target::Users(users), message::Target::UserIds(ids)) => {
            users.iter().map(|(id, _)| id).eq(ids.ids.iter().map(String::as_bytes))
                && users.iter().all(|(id, key)| key == keys.user(app, id))
        }
        (Target::App(key), message::Target::Everyone(everyone)) => {
            !everyone.all_apps && *key == keys.app(app)
        }
        (Target::Everyone, message::Target::Everyone(everyone)) => everyone.all_apps,
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_field_is_what_was_encoded(
        messages in prop::collection::vec(message(), 1..10),
        first in 1_u64..1 << 40,
    ) {
        let keys = Keys::default();
        let sent = numbered(messages, first);
        let batch = Batch::decode(Bytes::from(sent.encode_to_vec()), &keys).expect("it is a batch");
        prop_assert_eq!(batch.len(), sent.messages.len());
        prop_assert_eq!((batch.first_seq(), batch.last_seq()), (first, first + batch.len() as u64 - 1));
        for (index, message) in sent.messages.iter().enumerate() {
            let got = batch.message(index);
            prop_assert_eq!(got.seq, message.seq);
            prop_assert_eq!(got.accepted_at, message.accepted_at);
            prop_assert_eq!(got.app, message.app.as_bytes());
            prop_assert_eq!(got.content, &message.content[..]);
            prop_assert_eq!(got.uri, message.uri.as_bytes());
            prop_assert_eq!(got.request_hash, &message.request_hash[..]);
            let target = message.target.as_ref().expect("each has one");
            prop_assert!(same_target(&got.target, target, &message.app, &keys));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(Bytes::from(bytes), &Keys::default());
    }

    #[test]
    fn a_cut_or_changed_batch_is_refused_or_read_whole(
        messages in prop::collection::vec(message(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = numbered(messages, 1).encode_to_vec();
        let at = at.index(bytes.len());
        let _ = Batch::decode(Bytes::copy_from_slice(&bytes[..at]), &Keys::default());
        bytes[at] = byte;
        if let Ok(batch) = Batch::decode(Bytes::from(bytes), &Keys::default()) {
            for index in 0..batch.len() {
                let message = batch.message(index);
                prop_assert!(std::str::from_utf8(message.app).is_ok());
            }
        }
    }
}

#[test]
fn a_hole_inside_a_batch_is_refused() {
    let message =
        |seq| Message { seq, target: Some(message::Target::RoomId("r".to_owned())), ..Message::default() };
    let batch = MessageBatch { messages: vec![message(4), message(6)] };
    let refused = Batch::decode(Bytes::from(batch.encode_to_vec()), &Keys::default());
    assert!(matches!(refused, Err(BadBatch::NotConsecutive { before: 4, seq: 6 })));
}

#[test]
fn a_message_for_nobody_is_refused() {
    for target in [None, Some(message::Target::UserIds(UserIds { ids: Vec::new() }))] {
        let batch = MessageBatch { messages: vec![Message { seq: 1, target, ..Message::default() }] };
        let refused = Batch::decode(Bytes::from(batch.encode_to_vec()), &Keys::default());
        assert!(matches!(refused, Err(BadBatch::NoTarget(1))));
    }
}
