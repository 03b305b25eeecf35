//! Why connections end: each reason is one close code, one text and one metric label.

/// Why a node ends a connection, or saw it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// The node drains.
    Restarting,
    /// The peer broke the WebSocket protocol.
    Protocol,
    /// A text frame on the binary subprotocol, or the reverse.
    WrongType,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A frame over the limit.
    TooBig,
    /// More frames or bytes than a client may send.
    TooFast,
    /// The client takes too little.
    SlowConsumer,
    /// The client gave no sign of life.
    HeartbeatTimeout,
    /// Another node may have what this one has not.
    Moved,
    /// A business server closed it for good.
    Kicked,
    /// The client has resumed it elsewhere.
    Replaced,
    /// It could not prove who it is, or wanted what its token does not allow.
    Unauthorized,
    /// Its token expired.
    TokenExpired,
    /// What it needs is not there now.
    TryLater,
    /// The client said something it may not say.
    BadRequest,
    /// The client closed, or its socket ended.
    Client,
}

impl CloseReason {
    /// All reasons, for metrics that start at 0.
    pub(crate) const ALL: [Self; 16] = [
        Self::Restarting,
        Self::Protocol,
        Self::WrongType,
        Self::NotUtf8,
        Self::TooBig,
        Self::TooFast,
        Self::SlowConsumer,
        Self::HeartbeatTimeout,
        Self::Moved,
        Self::Kicked,
        Self::Replaced,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::TryLater,
        Self::BadRequest,
        Self::Client,
    ];

    /// The close code on the wire (RFC 6455, 7.4, and DESIGN 8); none if the client was first.
    pub(crate) fn code(self) -> Option<u16> {
        match self {
            Self::Restarting => Some(1012),
            Self::Protocol => Some(1002),
            Self::WrongType => Some(1003),
            Self::NotUtf8 => Some(1007),
            Self::TooBig => Some(1009),
            // Not 4504: what a network kept back and brings at once is no reason to stay away for good.
            Self::TooFast => Some(1008),
            Self::SlowConsumer => Some(4001),
            Self::HeartbeatTimeout => Some(4002),
            Self::Moved => Some(4003),
            Self::Kicked => Some(4500),
            Self::Replaced => Some(4503),
            Self::Unauthorized => Some(4501),
            Self::TokenExpired => Some(4502),
            Self::TryLater => Some(1013),
            Self::BadRequest => Some(4504),
            Self::Client => None,
        }
    }

    /// The reason text on the wire.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Restarting => "node restarting",
            Self::Protocol => "protocol error",
            Self::WrongType => "wrong frame type for the subprotocol",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooBig => "frame too big",
            Self::TooFast => "too fast",
            Self::SlowConsumer => "slow_consumer",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Moved => "moved",
            Self::Kicked => "kicked",
            Self::Replaced => "replaced",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::TryLater => "try again later",
            Self::BadRequest => "bad_request",
            Self::Client => "",
        }
    }

    /// The value of the metric label `code`.
    pub(crate) fn label(self) -> String {
        self.code().map_or_else(|| "client".to_owned(), |code| code.to_string())
    }
}
