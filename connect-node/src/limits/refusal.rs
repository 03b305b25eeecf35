//! Why a socket or an upgrade is refused: each reason is one status, one text and one metric label.

use http::StatusCode;
use metrics::counter;

/// Why a socket does not become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node starts.
    NotReady,
    /// The node drains.
    Draining,
    /// It holds as many connections as it may.
    Full,
    /// The client's address does.
    Address,
    /// Too many at once.
    Rate,
    /// A trusted proxy named something that is no address.
    Forwarded,
    /// The path and query are too long.
    Url,
    /// The head is too large.
    Head,
    /// The head did not come in time.
    SlowHead,
    /// It waited longest of too many that wait.
    Crowd,
}

impl Refusal {
    /// All reasons, for metrics that start at 0.
    pub(crate) const ALL: [Self; 10] = [
        Self::NotReady,
        Self::Draining,
        Self::Full,
        Self::Address,
        Self::Rate,
        Self::Forwarded,
        Self::Url,
        Self::Head,
        Self::SlowHead,
        Self::Crowd,
    ];

    /// Counts it.
    pub(crate) fn count(self) {
        counter!("connect_node_upgrades_refused_total", "reason" => self.label()).increment(1);
    }

    /// The value of the metric label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::Forwarded => "forwarded",
            Self::Url => "url",
            Self::Head => "head",
            Self::SlowHead => "slow_head",
            Self::Crowd => "crowd",
        }
    }

    /// The HTTP status, where there is an answer at all.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NotReady | Self::Draining | Self::Full | Self::Rate => StatusCode::SERVICE_UNAVAILABLE,
            // Not 5xx: a proxy that counts errors would take the node out for what one client does.
            Self::Address => StatusCode::TOO_MANY_REQUESTS,
            Self::Forwarded => StatusCode::BAD_REQUEST,
            Self::Url => StatusCode::URI_TOO_LONG,
            Self::Head => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowHead | Self::Crowd => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What the client is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotReady => "this node is starting; connect to another one or try again",
            Self::Draining => "this node is stopping; connect to another one",
            Self::Full => "this node is full; connect to another one or try again later",
            Self::Address => {
                "this node has as many connections from your address as it takes; close some, or try later"
            }
            Self::Rate => "more connect at once than this node takes; connect to another one or try again",
            Self::Forwarded => {
                "X-Forwarded-For: what the last proxies wrote must be addresses, separated by commas"
            }
            Self::Url => {
                "the URL is too long; a token may come as Authorization: Bearer or in the connect frame"
            }
            Self::Head => "the head of the request is too large",
            Self::SlowHead | Self::Crowd => "the request did not come in time",
        }
    }

    /// After how many seconds to try again, if that is of use.
    pub(crate) fn retry_after(self) -> Option<&'static str> {
        match self {
            // Long enough that a fleet which is full is not asked by everybody at once.
            Self::NotReady | Self::Draining | Self::Full => Some("2"),
            // The next second has room for the next ones.
            Self::Rate => Some("1"),
            // Connections that are there do not end soon.
            Self::Address => Some("10"),
            Self::Forwarded | Self::Url | Self::Head | Self::SlowHead | Self::Crowd => None,
        }
    }
}
