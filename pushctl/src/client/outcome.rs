//! How connecting, a request or a connection can end.

use std::{fmt, time::Duration};

use pushcast_proto::client::v1::Error;

use super::CONNECT_TIMEOUT;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code; none if the connection broke without a close frame.
    pub code: Option<u16>,
    /// The close reason, or what broke.
    pub reason: String,
    /// The last error frame before it, which explains more.
    pub error: Option<Error>,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with code {code} {}", self.reason)?,
            None => write!(f, "lost: {}", self.reason)?,
        }
        match &self.error {
            Some(error) => write!(f, " ({}: {})", error.code, error.message),
            None => Ok(()),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address of a node.
    #[error("{url}: not a WebSocket address ({reason}); give one like ws://host:8000/ws")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody there.
    #[error("{url}: {reason}; is a connect-node running there?")]
    Unreachable {
        /// As given.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// There is no TLS connection with whoever is there, or none that can be trusted.
    #[error("{url}: no TLS connection ({reason})")]
    Tls {
        /// As given.
        url: String,
        /// What the two do not agree on.
        reason: String,
    },
    /// What answers there is no HTTP server: a gRPC port, as a rule.
    #[error("{url}: does not speak WebSocket ({reason})")]
    NotWebSocket {
        /// As given.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The upgrade was answered with something else.
    #[error("{url}: refused with HTTP status {status}{}", body_suffix(.body))]
    Refused {
        /// As given.
        url: String,
        /// HTTP status.
        status: u16,
        /// The node's Retry-After.
        retry_after: Option<Duration>,
        /// The node's explanation.
        body: String,
    },
    /// The node ended it instead of answering `connected`.
    #[error("{url}: {closed}")]
    Closed {
        /// As given.
        url: String,
        /// How.
        closed: Closed,
    },
    /// No `connected` in time.
    #[error("{url}: no answer within {} s; is this a connect-node, and is it running?", CONNECT_TIMEOUT.as_secs())]
    TimedOut {
        /// As given.
        url: String,
    },
}

fn body_suffix(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {}", body.trim_end()) }
}

impl ConnectError {
    /// Whether trying again is of no use before somebody changes something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::Tls { .. } | Self::NotWebSocket { .. } => true,
            Self::Unreachable { .. } | Self::TimedOut { .. } => false,
            Self::Refused { status, .. } => matches!(status, 300..=499) && *status != 429,
            Self::Closed { closed, .. } => closed.code.is_some_and(crate::reconnect::is_final),
        }
    }
}

/// Why a join or leave was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The node says no; the connection stays.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Error),
    /// The connection ended first.
    #[error("the connection ended: {0}")]
    Closed(Closed),
    /// A session between two connections: the node that could do it is not known yet.
    #[error("there is no connection now")]
    NotConnected,
    /// No answer in time, or too much before it.
    #[error("the node did not answer in time")]
    TimedOut,
}
