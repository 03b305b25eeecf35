//! Frames of a manager on a link, from Hello on, of two links that take over from each other.

#![no_main]

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use connect_node::{
    batch::Batch,
    inbox::Inbox,
    ingest::{Ingest, IngestSettings},
    key::Keys,
    link_state::{LinkState, Me},
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use pushcast_fuzz::words::{bytes, id, ids, number};
use pushcast_proto::connectnode::v1::{
    Claim, Close, Control, Controls, Everyone, Fill, Gap, Heartbeat, Hello, Kick, LinkRequest, Message,
    MessageBatch, UserIds,
    control::{Action, Whose},
    link_request::Frame,
    message::Target,
};
use tokio::sync::Notify;

fuzz_target!(|input: &[u8]| {
    let keys = Keys::default();
    // Whatever it is, it is a batch or an error.
    if let Ok(batch) = Batch::decode(Bytes::copy_from_slice(input), &keys) {
        assert!(batch.last_seq() - batch.first_seq() + 1 == batch.len() as u64);
    }
    let _either = Batch::decode_controls(Bytes::copy_from_slice(input), &keys);
    let inboxes = vec![Arc::new(Inbox::default())];
    let ingest = Ingest::new(inboxes, vec![Arc::new(Notify::new())], keys.clone(), IngestSettings::default());
    ingest.open(1_000_000_000);
    let _end = until_the_end(&mut Unstructured::new(input), &ingest, &keys);
});

fn until_the_end(from: &mut Unstructured<'_>, ingest: &Ingest, keys: &Keys) -> Result<()> {
    let me = Me { node_id: "n1", instance: "i1" };
    let mut links = [LinkState::default(), LinkState::default()];
    let mut now = 1_000_000_000;
    let mut seq = 0;
    while !from.is_empty() {
        now += from.int_in_range(0..=2_000_000)?;
        let link = &mut links[usize::from(from.arbitrary::<bool>()?)];
        let request = if from.ratio(1, 8)? {
            let Ok(request) = LinkRequest::decode(bytes(from, 300)?) else { continue };
            request
        } else {
            LinkRequest { frame: Some(frame(from, &mut seq)?) }
        };
        if link.on_frame(request, ingest, keys, me, now).is_err() {
            *link = LinkState::default();
        }
    }
    Ok(())
}

fn frame(from: &mut Unstructured<'_>, seq: &mut u64) -> Result<Frame> {
    Ok(match from.int_in_range(0..=9)? {
        0 => Frame::Hello(Hello {
            manager_id: from.int_in_range(0..=2)?,
            oldest_seq: number(from)?,
            newest_seq: number(from)?,
            acked_seq: number(from)?,
            manager_gone_at: number(from)?,
            sent_at: number(from)?,
            version: id(from)?,
        }),
        1 => {
            let (first_seq, last_seq) = (number(from)?, number(from)?);
            *seq = first_seq;
            let (left_out_at, controls_left_out_at) = (number(from)?, number(from)?);
            Frame::Fill(Fill { first_seq, last_seq, left_out_at, controls_left_out_at })
        }
        2 => Frame::Gap(Gap { from: number(from)?, to: number(from)? }),
        3 => Frame::Close(Close { newest_seq: number(from)? }),
        4 => Frame::Controls(Controls { batch: batch(from, seq)?.into() }),
        5 => Frame::Heartbeat(Heartbeat {
            newest_seq: number(from)?,
            sent_seq: number(from)?,
            through: number(from)?,
            acked_seq: number(from)?,
            managers: vec![number(from)?, number(from)?],
            manager_gone_at: number(from)?,
            sent_at: number(from)?,
        }),
        _ => Frame::Batch(batch(from, seq)?.into()),
    })
}

fn batch(from: &mut Unstructured<'_>, seq: &mut u64) -> Result<Vec<u8>> {
    let mut messages = Vec::new();
    for _ in 0..from.int_in_range(1..=4)? {
        messages.push(message(from, *seq)?);
        *seq = seq.wrapping_add(1);
    }
    Ok(MessageBatch { messages }.encode_to_vec())
}

fn message(from: &mut Unstructured<'_>, seq: u64) -> Result<Message> {
    let target = match from.int_in_range(0..=5)? {
        0 => Target::RoomId(id(from)?),
        1 => Target::UserId(id(from)?),
        2 => Target::UserIds(UserIds { ids: ids(from)? }),
        3 => Target::Everyone(Everyone { all_apps: from.arbitrary()? }),
        _ => Target::Control(control(from)?),
    };
    let hash = |from: &mut Unstructured<'_>| {
        Ok::<Bytes, arbitrary::Error>(match from.int_in_range(0..=3)? {
            0 => Bytes::copy_from_slice(bytes(from, 20)?),
            1 => Bytes::from(vec![from.int_in_range(0..=3)?; 16]),
            _ => Bytes::new(),
        })
    };
    Ok(Message {
        seq: if from.ratio(1, 16)? { number(from)? } else { seq },
        accepted_at: number(from)?,
        app: id(from)?,
        target: Some(target),
        content: Bytes::copy_from_slice(bytes(from, 50)?),
        uri: id(from)?,
        request_hash: hash(from)?,
        request_key: hash(from)?,
        ..Message::default()
    })
}

fn control(from: &mut Unstructured<'_>) -> Result<Control> {
    let whose = if from.arbitrary()? { Whose::UserId(id(from)?) } else { Whose::ConnectionId(number(from)?) };
    let action = match from.int_in_range(0..=3)? {
        0 => Action::Join(id(from)?),
        1 => Action::Leave(id(from)?),
        2 => Action::Kick(Kick { reason: id(from)?, reconnect: from.arbitrary()? }),
        _ => {
            let (generation, nonce, resumed_at) = (number(from)?, number(from)?, number(from)?);
            Action::Claim(Claim { generation, nonce, resumed_at })
        }
    };
    Ok(Control { whose: Some(whose), action: Some(action) })
}
