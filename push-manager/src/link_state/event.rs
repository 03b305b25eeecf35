//! What a node's frames mean to the rest of the manager.

use pushcast_proto::connectnode::v1::{Message, UserCounts};

/// What a frame of the node changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Nothing that others need to know.
    Nothing,
    /// The node said who it is and where to start.
    Started(Started),
    /// The node placed messages.
    Acked(Acked),
    /// The node decided something that is to be logged: a message of app and control alone, for
    /// [`crate::log::Log::append`]. Nobody waits for it; whoever cannot take it drops it, the node hands it up again.
    HandedUp(Message),
}

/// The node answered Hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub node_id: String,
    /// Its process start.
    pub instance: String,
    /// It will never acknowledge seqs up to here, and they are not pending at it either; 0 for none.
    pub not_for_it: u64,
}

/// Consecutive messages the node placed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acked {
    /// Seqs before these that a Gap declared lost for this node, if it is now past them.
    pub lost: Vec<(u64, u64)>,
    /// First seq; acknowledged are as many as `recipients` has entries.
    pub first: u64,
    /// Connections each message was placed in.
    pub recipients: Vec<u32>,
    /// Connections per user of messages to several users.
    pub by_user: Vec<UserCounts>,
    /// Of these seqs, ascending, those whose request_id the node knows with another target or content.
    pub conflicts: Vec<u64>,
    /// What counts in the metrics, by [`crate::api::Api::index`]: fills, conflicts and controls do not.
    pub counted: [Counted; 4],
}

/// Acknowledgements of one kind of push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Acknowledged messages.
    pub nodes: u64,
    /// Those of them that somebody was there for.
    pub delivered: u64,
}
