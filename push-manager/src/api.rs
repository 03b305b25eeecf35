//! The rpcs of business servers, as metrics and errors name them.

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

/// Which rpc a message came by: one of the four pushes, or a control, which takes the same way but is no push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    Push(Api),
    JoinRoom,
    LeaveRoom,
    Kick,
}

impl Rpc {
    /// All of them, in the order of [`Rpc::index`].
    pub(crate) const ALL: [Self; 7] = [
        Self::Push(Api::PushToRoom),
        Self::Push(Api::PushToUser),
        Self::Push(Api::PushToUsers),
        Self::Push(Api::Broadcast),
        Self::JoinRoom,
        Self::LeaveRoom,
        Self::Kick,
    ];

    /// A dense number, for tables of counters.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Push(api) => api.index(),
            Self::JoinRoom => 4,
            Self::LeaveRoom => 5,
            Self::Kick => 6,
        }
    }

    /// The label value of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push(api) => api.name(),
            Self::JoinRoom => "JoinRoom",
            Self::LeaveRoom => "LeaveRoom",
            Self::Kick => "Kick",
        }
    }

    /// The push it is, if it is one: only pushes are counted as broadcast.
    pub(crate) fn push(self) -> Option<Api> {
        match self {
            Self::Push(api) => Some(api),
            Self::JoinRoom | Self::LeaveRoom | Self::Kick => None,
        }
    }
}

impl From<Api> for Rpc {
    fn from(api: Api) -> Self {
        Self::Push(api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_its_place() {
        assert!(Rpc::ALL.iter().enumerate().all(|(index, rpc)| rpc.index() == index));
        assert!(Api::ALL.iter().all(|&api| Rpc::from(api).index() == api.index()));
    }
}
