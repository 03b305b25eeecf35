//! Reads a batch: finds every field once, checks it, and hashes the keys.

use bytes::Bytes;
use prost::{
    DecodeError, Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use pushcast_proto::connectnode::v1::{Control, control};

use super::{Batch, Entry, Kind, Span};
use crate::key::{EVERYONE, Key, Keys};

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BadBatch {
    /// Not protobuf.
    #[error("the batch is not a MessageBatch: {0}")]
    Malformed(#[from] DecodeError),
    /// A field is longer than what holds it.
    #[error("the batch ends in the middle of a field")]
    Truncated,
    /// No message in it.
    #[error("the batch is empty")]
    Empty,
    /// Longer than positions in it can be told.
    #[error("the batch has {0} bytes, more than 4 GiB")]
    TooLong(usize),
    /// A seq does not follow the one before.
    #[error("message {seq} follows message {before} in one batch")]
    NotConsecutive {
        /// The seq before.
        before: u64,
        /// The seq found.
        seq: u64,
    },
    /// No target, or one that cannot be.
    #[error("message {0} has no target")]
    NoTarget(u64),
    /// A control that says nothing to be done, or to nobody.
    #[error("message {0} is a control without an action or without a connection it is for")]
    EmptyControl(u64),
    /// Seqs of controls do not ascend.
    #[error("control {seq} follows control {before}")]
    NotAscending {
        /// The seq before.
        before: u64,
        /// The seq found.
        seq: u64,
    },
    /// A push among the controls.
    #[error("message {0} is no control")]
    NoControl(u64),
    /// A close reason that no close frame can hold.
    #[error("message {0} kicks with a reason of more than 120 bytes")]
    LongReason(u64),
    /// Ids or uri are not UTF-8.
    #[error("message {0} has an id or uri that is not UTF-8")]
    NotUtf8(u64),
}

/// Longest close reason: with the code a close frame holds 125 bytes.
const MAX_KICK_REASON: usize = 120;

impl Batch {
    /// Reads a serialised `MessageBatch` of consecutive messages.
    pub fn decode(bytes: Bytes, keys: &Keys) -> Result<Self, BadBatch> {
        let batch = Self::decode_any(bytes, keys)?;
        for pair in batch.messages.windows(2) {
            let (before, seq) = (pair[0].seq, pair[1].seq);
            if before.checked_add(1) != Some(seq) {
                return Err(BadBatch::NotConsecutive { before, seq });
            }
        }
        Ok(batch)
    }

    /// Reads a serialised `MessageBatch` of controls, whose seqs ascend with holes.
    pub fn decode_controls(bytes: Bytes, keys: &Keys) -> Result<Self, BadBatch> {
        let batch = Self::decode_any(bytes, keys)?;
        if let Some(push) = batch.messages.iter().find(|entry| entry.kind != Kind::Control) {
            return Err(BadBatch::NoControl(push.seq));
        }
        for pair in batch.messages.windows(2) {
            let (before, seq) = (pair[0].seq, pair[1].seq);
            if before >= seq {
                return Err(BadBatch::NotAscending { before, seq });
            }
        }
        Ok(batch)
    }

    fn decode_any(bytes: Bytes, keys: &Keys) -> Result<Self, BadBatch> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(BadBatch::TooLong(bytes.len()));
        }
        let mut batch = Self {
            bytes: Bytes::new(),
            messages: Vec::new(),
            users: Vec::new(),
            controls: Vec::new(),
            joins: Vec::new(),
        };
        let mut reader = Reader { all: &bytes, rest: &bytes };
        while let Some((tag, wire)) = reader.key()? {
            if tag == 1 && wire == WireType::LengthDelimited {
                let span = reader.span()?;
                let entry = decode_message(&bytes, span, keys, &mut batch.users, &mut batch.controls)?;
                if entry.kind == Kind::Control
                    && let Some(control::Action::Join(room)) =
                        &batch.controls[entry.target.start as usize].action
                {
                    let key = keys.room(entry.app.of(&bytes), room.as_bytes());
                    batch.joins.push((batch.messages.len() as u32, key));
                }
                batch.messages.push(entry);
            } else {
                reader.skip(tag, wire)?;
            }
        }
        if batch.messages.is_empty() {
            return Err(BadBatch::Empty);
        }
        batch.bytes = bytes;
        Ok(batch)
    }
}

/// Reads protobuf fields and tells where in the whole buffer they are.
struct Reader<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn within(all: &'a [u8], span: Span) -> Self {
        Self { all: &all[..span.end as usize], rest: span.of(all) }
    }

    fn key(&mut self) -> Result<Option<(u32, WireType)>, DecodeError> {
        if self.rest.is_empty() { Ok(None) } else { decode_key(&mut self.rest).map(Some) }
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        decode_varint(&mut self.rest)
    }

    fn span(&mut self) -> Result<Span, BadBatch> {
        let len = self.varint()?;
        if len > self.rest.len() as u64 {
            return Err(BadBatch::Truncated);
        }
        let start = self.all.len() - self.rest.len();
        let end = start + len as usize;
        self.rest = &self.all[end..];
        // The whole batch is shorter than 4 GiB, checked at its start.
        Ok(Span { start: start as u32, end: end as u32 })
    }

    fn skip(&mut self, tag: u32, wire: WireType) -> Result<(), DecodeError> {
        skip_field(wire, tag, &mut self.rest, DecodeContext::default())
    }
}

fn decode_message(
    all: &[u8],
    span: Span,
    keys: &Keys,
    users: &mut Vec<(Span, Key)>,
    controls: &mut Vec<Control>,
) -> Result<Entry, BadBatch> {
    let mut entry = Entry {
        seq: 0,
        accepted_at: 0,
        key: EVERYONE,
        app: Span::default(),
        target: Span::default(),
        content: Span::default(),
        uri: Span::default(),
        request_hash: Span::default(),
        request_key: Span::default(),
        kind: Kind::Everyone,
    };
    let mut kind = None;
    let mut reader = Reader::within(all, span);
    while let Some((tag, wire)) = reader.key()? {
        match (tag, wire) {
            (1, WireType::Varint) => entry.seq = reader.varint()?,
            (2, WireType::Varint) => entry.accepted_at = reader.varint()?,
            (3, WireType::LengthDelimited) => entry.app = reader.span()?,
            (4..=7 | 13, WireType::LengthDelimited) => {
                entry.target = reader.span()?;
                kind = Some(tag);
            }
            (8, WireType::LengthDelimited) => entry.content = reader.span()?,
            (9, WireType::LengthDelimited) => entry.uri = reader.span()?,
            (11, WireType::LengthDelimited) => entry.request_hash = reader.span()?,
            (12, WireType::LengthDelimited) => entry.request_key = reader.span()?,
            _ => reader.skip(tag, wire)?,
        }
    }
    match kind {
        Some(4) => entry.kind = Kind::Room,
        Some(5) => entry.kind = Kind::User,
        Some(6) => {
            entry.kind = Kind::Users;
            entry.target = decode_users(all, &entry, keys, users)?;
        }
        Some(7) if !all_apps(all, entry.target)? => entry.kind = Kind::App,
        Some(7) => entry.kind = Kind::Everyone,
        Some(13) => {
            entry.kind = Kind::Control;
            entry.target = decode_control(all, &entry, controls)?;
        }
        _ => return Err(BadBatch::NoTarget(entry.seq)),
    }
    finish(all, entry, keys)
}

fn finish(all: &[u8], mut entry: Entry, keys: &Keys) -> Result<Entry, BadBatch> {
    let app = entry.app.of(all);
    let named = matches!(entry.kind, Kind::Room | Kind::User);
    let target = if named { entry.target.of(all) } else { b"" };
    for text in [app, entry.uri.of(all), target] {
        std::str::from_utf8(text).map_err(|_| BadBatch::NotUtf8(entry.seq))?;
    }
    entry.key = match entry.kind {
        Kind::Room => keys.room(app, target),
        Kind::User => keys.user(app, target),
        Kind::App => keys.app(app),
        Kind::Users | Kind::Everyone | Kind::Control => EVERYONE,
    };
    Ok(entry)
}

fn decode_users(
    all: &[u8],
    entry: &Entry,
    keys: &Keys,
    users: &mut Vec<(Span, Key)>,
) -> Result<Span, BadBatch> {
    let start = users.len() as u32;
    let app = entry.app.of(all);
    let mut reader = Reader::within(all, entry.target);
    while let Some((tag, wire)) = reader.key()? {
        if tag == 1 && wire == WireType::LengthDelimited {
            let span = reader.span()?;
            let user = span.of(all);
            std::str::from_utf8(user).map_err(|_| BadBatch::NotUtf8(entry.seq))?;
            users.push((span, keys.user(app, user)));
        } else {
            reader.skip(tag, wire)?;
        }
    }
    let end = users.len() as u32;
    if start == end { Err(BadBatch::NoTarget(entry.seq)) } else { Ok(Span { start, end }) }
}

fn decode_control(all: &[u8], entry: &Entry, controls: &mut Vec<Control>) -> Result<Span, BadBatch> {
    let control = Control::decode(entry.target.of(all))?;
    if control.action.is_none() || control.whose.is_none() {
        return Err(BadBatch::EmptyControl(entry.seq));
    }
    if let Some(control::Action::Kick(kick)) = &control.action
        && kick.reason.len() > MAX_KICK_REASON
    {
        return Err(BadBatch::LongReason(entry.seq));
    }
    let at = controls.len() as u32;
    controls.push(control);
    Ok(Span { start: at, end: at + 1 })
}

fn all_apps(all: &[u8], span: Span) -> Result<bool, BadBatch> {
    let mut reader = Reader::within(all, span);
    let mut found = false;
    while let Some((tag, wire)) = reader.key()? {
        if tag == 1 && wire == WireType::Varint {
            found = reader.varint()? != 0;
        } else {
            reader.skip(tag, wire)?;
        }
    }
    Ok(found)
}
