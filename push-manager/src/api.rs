//! The four ways to push, as metrics and errors name them.

/// Which rpc a push came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// Everybody in a room.
    PushToRoom,
    /// One user.
    PushToUser,
    /// Several users.
    PushToUsers,
    /// Everyone.
    Broadcast,
}

impl Api {
    /// All of them, in the order of [`Api::index`].
    pub const ALL: [Self; 4] = [Self::PushToRoom, Self::PushToUser, Self::PushToUsers, Self::Broadcast];

    /// A dense number, for tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The label value of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::PushToRoom => "PushToRoom",
            Self::PushToUser => "PushToUser",
            Self::PushToUsers => "PushToUsers",
            Self::Broadcast => "Broadcast",
        }
    }
}
