//! A push on its way through the manager: checked, then accepted, then answered.

use bytes::Bytes;
use pushcast_common::id::ManagerId;
use pushcast_proto::{
    connectnode::v1::{Message, message::Target},
    pushmanager::v1::PushAnswer,
};

use crate::{answers::Answer, api::Rpc};

/// A checked push, or a control, which goes the same way.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) rpc: Rpc,
    /// All of the message but its number and its accept time.
    pub(crate) message: Message,
    /// Answer as soon as it is accepted.
    pub(crate) accepted_only: bool,
}

impl Push {
    pub(crate) fn n_users(&self) -> usize {
        match &self.message.target {
            Some(Target::UserIds(users)) => users.ids.len(),
            _ => 0,
        }
    }
}

/// What an answer needs of a push that is in the log already. Most need nothing.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// 16 bytes, or none if the push has no request id.
    hash: Bytes,
    users: Vec<String>,
}

impl Mark {
    /// Takes it out of a message that was encoded.
    pub(crate) fn of(message: Message) -> Option<Box<Self>> {
        let users = match message.target {
            Some(Target::UserIds(users)) => users.ids,
            _ => Vec::new(),
        };
        (!users.is_empty() || !message.request_hash.is_empty())
            .then(|| Box::new(Self { hash: message.request_hash, users }))
    }

    /// The request hash of a push that may have no mark.
    pub(crate) fn hash(mark: Option<&Self>) -> &[u8] {
        mark.map_or(&[], |mark| &mark.hash)
    }
}

/// The identity of a message, as callers and clients see it.
///
/// `request_hash` is the message's own, empty if it came without a request id.
pub(crate) fn message_id(manager: ManagerId, seq: u64, request_hash: &[u8]) -> String {
    use std::fmt::Write as _;

    if request_hash.is_empty() {
        return format!("{manager}-{seq}");
    }
    request_hash.iter().fold(String::with_capacity(32), |mut id, byte| {
        let _never_fails = write!(id, "{byte:02x}");
        id
    })
}

/// The answer to a push that was accepted and is not waited for.
pub(crate) fn accepted_answer(manager: ManagerId, seq: u64, mark: Option<Box<Mark>>) -> PushAnswer {
    let message_id = message_id(manager, seq, Mark::hash(mark.as_deref()));
    let users = mark.map(|mark| mark.users).unwrap_or_default();
    let recipients_by_user = users.into_iter().map(|user| (user, 0)).collect();
    PushAnswer { message_id, recipients_by_user, ..PushAnswer::default() }
}

/// The answer to a push that was waited for.
pub(crate) fn full_answer(manager: ManagerId, answer: Answer, mark: Option<Box<Mark>>) -> PushAnswer {
    let message_id = message_id(manager, answer.seq, Mark::hash(mark.as_deref()));
    let users = mark.map(|mark| mark.users).unwrap_or_default();
    PushAnswer {
        message_id,
        nodes: answer.nodes(),
        acked: answer.acked,
        delivered_nodes: answer.delivered_nodes,
        recipients: answer.recipients,
        pending_nodes: answer.pending.iter().map(|name| (**name).to_owned()).collect(),
        recipients_by_user: users.into_iter().zip(answer.by_user).collect(),
    }
}
