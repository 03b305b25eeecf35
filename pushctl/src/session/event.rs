//! What happens in a session, its end included.

use std::time::Duration;

use pushcast_proto::client::v1::{Connected, Error, Heartbeat, Push, RoomsChanged};

use crate::client::{Closed, ConnectError};

/// What happens in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// A connection stands: the first one, or another one. Another one says in `recovered` whether nothing was
    /// missed; if something may be missing, what matters has to be fetched anew.
    Connected(Connected),
    /// A message, shown once however many connections bring it.
    Push(Push),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The server changed this connection's rooms.
    Rooms(RoomsChanged),
    /// The token expires in this time: unless [`Session::renew`](super::Session::renew) shows a newer one, the
    /// session ends.
    TokenExpiring(Duration),
    /// The node refused something.
    Error(Error),
    /// There is no connection now; the next try comes after `retry_in`.
    Interrupted {
        /// Why.
        cause: String,
        /// When to expect the next try.
        retry_in: Duration,
    },
}

/// Why a session is over for good.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The node closed the connection with a final code.
    #[error("{url}: {closed}; connecting again would not help")]
    Closed {
        /// The node.
        url: String,
        /// How.
        closed: Closed,
    },
    /// The first or a later connection cannot be made, whenever and wherever it is tried.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}
