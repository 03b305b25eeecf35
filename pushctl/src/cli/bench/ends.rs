//! How sockets end, and how many did.

use std::{collections::BTreeMap, io, time::Duration};

use pushcast_proto::client::v1::Error;
use pushctl::client::{Closed, ConnectError};

use super::{head::Broken, upgrade::Target};

/// How a socket ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was never there.
    Unreachable(io::Error),
    /// What listens there is no WebSocket server.
    NotHttp(String),
    /// The upgrade was answered with something else.
    Refused { status: u16, retry_after: Option<Duration>, body: String },
    /// By a Close of the node, and what it complained of before.
    Closed { code: u16, reason: String, error: Option<Error> },
    /// Without one.
    Lost(String),
    /// By our own Close.
    Left,
}

impl End {
    /// The close code, or a word for what it was: few enough to count by.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::NotHttp(_) => "no_websocket".to_owned(),
            Self::Refused { status, .. } => format!("http_{status}"),
            Self::Closed { code, .. } => code.to_string(),
            Self::Lost(_) => "lost".to_owned(),
            Self::Left => "left".to_owned(),
        }
    }

    /// The same as the library's client tells it.
    pub(super) fn into_connect_error(self, url: &str) -> ConnectError {
        let url = url.to_owned();
        match self {
            Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                ConnectError::Unreachable { url, reason: "nothing listens there".to_owned() }
            }
            Self::Unreachable(error) => {
                ConnectError::Unreachable { url, reason: format!("cannot connect ({error})") }
            }
            Self::NotHttp(reason) => ConnectError::NotWebSocket { url, reason },
            Self::Refused { status, retry_after, body } => {
                ConnectError::Refused { url, status, retry_after, body }
            }
            Self::Closed { code, reason, error } => {
                let closed = Closed { code: Some(code), reason, error };
                ConnectError::Closed { url, closed }
            }
            Self::Lost(reason) => {
                ConnectError::Closed { url, closed: Closed { code: None, reason, error: None } }
            }
            Self::Left => ConnectError::TimedOut { url },
        }
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Lost(broken.to_string())
    }
}

/// A socket that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The node it went to.
    pub(super) target: usize,
    /// Whether it had been open.
    pub(super) was_open: bool,
    pub(super) how: End,
}

/// Sockets that ended, by close code or word, with the first one's reason.
#[derive(Debug, Default)]
pub(super) struct Ends {
    by_label: BTreeMap<String, (u64, String)>,
}

impl Ends {
    pub(super) fn count(&mut self, ended: Ended, targets: &[Target]) {
        let Ended { target, how, .. } = ended;
        let label = how.label();
        let (count, _) = self.by_label.entry(label).or_insert_with(|| {
            let words = match how {
                End::Closed { reason, error: None, .. } | End::Lost(reason) => reason,
                how => how.into_connect_error(&targets[target].url).to_string(),
            };
            (0, words)
        });
        *count += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.by_label.values().map(|(count, _)| count).sum()
    }

    /// How many for each.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.by_label.iter().map(|(label, (count, _))| (label.clone(), *count)).collect()
    }

    /// `2 × 4001 (slow_consumer), 1 × lost (…)`.
    pub(super) fn in_words(&self) -> String {
        let one = |(label, (count, words)): (&String, &(u64, String))| {
            if words.is_empty() {
                format!("{count} × {label}")
            } else {
                format!("{count} × {label} ({words})")
            }
        };
        self.by_label.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
