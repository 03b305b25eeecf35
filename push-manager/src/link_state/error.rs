//! How a node can break the protocol.

/// Why a link ends: the other side does not speak the protocol. Nothing but this link suffers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Something else than Start came first.
    #[error("it sent a frame before Start")]
    BeforeStart,
    /// Start came again.
    #[error("it sent Start twice")]
    StartTwice,
    /// Start names no usable id.
    #[error("its Start has an unusable {0}: 1 to 128 bytes without control characters are needed")]
    BadId(&'static str),
    /// Start says neither where to start nor what to fill.
    #[error("its Start does not say where to start")]
    NoStartingPoint,
    /// Start claims messages this manager never sent it.
    #[error("its Start claims to have seq {claimed}, the last one sent to it is {sent}")]
    StartAhead {
        /// What it claims to have.
        claimed: u64,
        /// The last seq it can have.
        sent: u64,
    },
    /// Start goes back behind what the same process acknowledged.
    #[error("its Start goes back to seq {claimed}, it acknowledged {acked} before")]
    StartBehind {
        /// What it claims to have.
        claimed: u64,
        /// What it acknowledged.
        acked: u64,
    },
    /// An acknowledgement does not follow the one before.
    #[error("it acknowledged from seq {first} on, seq {expected} is next")]
    AckNotNext {
        /// Where its acknowledgement starts.
        first: u64,
        /// Where it should.
        expected: u64,
    },
    /// An acknowledgement covers messages that were not sent.
    #[error("it acknowledged up to seq {last}, the last one sent is {sent}")]
    AckAhead {
        /// The last seq it covers.
        last: u64,
        /// The last seq sent.
        sent: u64,
    },
    /// An acknowledgement covers messages of a Gap.
    #[error("it acknowledged seq {0}, which a Gap declared lost")]
    AckInGap(u64),
    /// Counts per user for a message the frame does not acknowledge.
    #[error("it counted users of seq {0}, which that frame does not acknowledge")]
    CountsOutside(u64),
    /// A conflict for a message the frame does not acknowledge.
    #[error("it found a conflict at seq {0}, which that frame does not acknowledge")]
    ConflictOutside(u64),
    /// Conflicts that do not ascend.
    #[error("its conflicts do not ascend at seq {0}")]
    ConflictsUnordered(u64),
    /// A control handed up that cannot be logged.
    #[error("it handed up a control with an unusable {0}")]
    BadHandUp(&'static str),
    /// A heartbeat claims messages that were not sent.
    #[error("its heartbeat claims seq {claimed}, the last one sent is {sent}")]
    HeartbeatAhead {
        /// What it claims.
        claimed: u64,
        /// The last seq sent.
        sent: u64,
    },
}
