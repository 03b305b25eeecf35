//! Why a call is refused at the door, as metrics, the audit and callers have it.

use std::time::Duration;

use super::{method::Method, proof::Way};

/// How many reasons there are.
pub(crate) const REASONS: usize = 7;

/// The value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No key was sent.
    NoKey,
    /// Not one of the file's.
    UnknownKey,
    /// No certificate was shown.
    NoCertificate,
    /// One of the right authority, but none of its names is in the file.
    UnknownCertificate,
    /// The caller may not call this rpc.
    Method,
    /// The caller may not push to this app.
    App,
    /// The caller is over its rate.
    Rate,
}

impl Reason {
    /// All of them, in the order of [`Reason::index`].
    pub(crate) const ALL: [Self; REASONS] = [
        Self::NoKey,
        Self::UnknownKey,
        Self::NoCertificate,
        Self::UnknownCertificate,
        Self::Method,
        Self::App,
        Self::Rate,
    ];

    /// A dense number, for tables of counters.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The label value of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::NoCertificate => "no_certificate",
            Self::UnknownCertificate => "unknown_certificate",
            Self::Method => "method",
            Self::App => "app",
            Self::Rate => "rate",
        }
    }
}

/// A refusal, with what its caller is told. `key` is the name in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    NoKey,
    UnknownKey,
    NoCertificate,
    UnknownCertificate,
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
    /// Who has shown nothing.
    pub(crate) fn nothing(way: Way) -> Self {
        match way {
            Way::Keys => Self::NoKey,
            Way::Mtls => Self::NoCertificate,
        }
    }

    /// Who has shown something that no line knows.
    pub(crate) fn unknown(way: Way) -> Self {
        match way {
            Way::Keys => Self::UnknownKey,
            Way::Mtls => Self::UnknownCertificate,
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NoKey => Reason::NoKey,
            Self::UnknownKey => Reason::UnknownKey,
            Self::NoCertificate => Reason::NoCertificate,
            Self::UnknownCertificate => Reason::UnknownCertificate,
            Self::Method { .. } => Reason::Method,
            Self::App { .. } => Reason::App,
            Self::Rate { .. } => Reason::Rate,
        }
    }

    /// The caller's name, if it is known.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::NoKey | Self::UnknownKey | Self::NoCertificate | Self::UnknownCertificate => None,
            Self::Method { key, .. } | Self::App { key, .. } | Self::Rate { key, .. } => Some(key),
        }
    }
}
