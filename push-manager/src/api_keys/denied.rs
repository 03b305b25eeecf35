//! Why a call is refused at the door, as metrics, the audit and callers have it.

use std::time::Duration;

use super::method::Method;

/// The value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No key was sent.
    NoKey,
    /// Not one of the file's.
    UnknownKey,
    /// The key may not call this rpc.
    Method,
    /// The key may not push to this app.
    App,
    /// The key is over its rate.
    Rate,
}

impl Reason {
    /// All of them, in the order of [`Reason::index`].
    pub(crate) const ALL: [Self; 5] = [Self::NoKey, Self::UnknownKey, Self::Method, Self::App, Self::Rate];

    /// A dense number, for tables of counters.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The label value of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::Method => "method",
            Self::App => "app",
            Self::Rate => "rate",
        }
    }
}

/// A refusal, with what its caller is told. `key` is the key's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    NoKey,
    UnknownKey,
    Method {
        key: String,
        method: Method,
    },
    App {
        key: String,
        /// None: all apps at once.
        app: Option<String>,
    },
    Rate {
        key: String,
        rate: Rate,
        /// When the same would be taken, if nothing else is asked for until then.
        retry_after: Duration,
    },
}

/// Which of its rates a key is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    Pushes(u64),
    Bytes(u64),
}

impl Denied {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NoKey => Reason::NoKey,
            Self::UnknownKey => Reason::UnknownKey,
            Self::Method { .. } => Reason::Method,
            Self::App { .. } => Reason::App,
            Self::Rate { .. } => Reason::Rate,
        }
    }

    /// The key's name, if it is known.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::NoKey | Self::UnknownKey => None,
            Self::Method { key, .. } | Self::App { key, .. } | Self::Rate { key, .. } => Some(key),
        }
    }
}
