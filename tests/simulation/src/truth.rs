//! What really is so, beside what the product believes: the messages every manager accepted, and positions.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use bytes::Bytes;
use prost::Message as _;
use push_manager::api::Api;
use pushcast_proto::connectnode::v1::{Control, Everyone, Message, UserIds, message};

/// Tenants, rooms and users there are. Few, so that they meet often; the same names in both tenants.
pub(crate) const APPS: [&str; 2] = ["", "b"];
pub(crate) const ROOMS: [&str; 3] = ["r0", "r1", "r2"];
pub(crate) const USERS: [&str; 3] = ["u0", "u1", "u2"];

/// Whom a message is for; all are indexes of the names above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Room {
        app: usize,
        room: usize,
    },
    User {
        app: usize,
        user: usize,
    },
    Users {
        app: usize,
        users: Vec<usize>,
    },
    App {
        app: usize,
    },
    Everyone,
    /// No push.
    Control {
        app: usize,
        control: Control,
    },
}

impl Target {
    /// `None` for a control.
    pub(crate) fn api(&self) -> Option<Api> {
        match self {
            Self::Room { .. } => Some(Api::PushToRoom),
            Self::User { .. } => Some(Api::PushToUser),
            Self::Users { .. } => Some(Api::PushToUsers),
            Self::App { .. } | Self::Everyone => Some(Api::Broadcast),
            Self::Control { .. } => None,
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        matches!(self, Self::Control { .. })
    }

    /// Users that are counted one by one.
    pub(crate) fn users(&self) -> &[usize] {
        if let Self::Users { users, .. } = self { users } else { &[] }
    }

    /// The message to be appended to a log. Its content says who it is, so that nothing that the product
    /// says of a message has to be believed.
    pub(crate) fn message(&self, content: Id, request: Option<u64>) -> Message {
        let (app, target) = match self {
            Self::Room { app, room } => (*app, message::Target::RoomId(ROOMS[*room].to_owned())),
            Self::User { app, user } => (*app, message::Target::UserId(USERS[*user].to_owned())),
            Self::Users { app, users } => {
                let ids = users.iter().map(|user| USERS[*user].to_owned()).collect();
                (*app, message::Target::UserIds(UserIds { ids }))
            }
            Self::App { app } => (*app, message::Target::Everyone(Everyone { all_apps: false })),
            Self::Everyone => (0, message::Target::Everyone(Everyone { all_apps: true })),
            Self::Control { app, control } => (*app, message::Target::Control(control.clone())),
        };
        let is_control = self.is_control();
        let content = if is_control { Bytes::new() } else { Bytes::from(content.to_string()) };
        let mut message =
            Message { app: APPS[app].to_owned(), target: Some(target), content, ..Message::default() };
        if let Some(request) = request {
            message.request_id = format!("q{request}");
            message.request_key = key_of(request);
            message.request_hash = hash_of(request, &message);
        }
        message
    }
}

/// 16 bytes that say which request it is.
fn key_of(request: u64) -> Bytes {
    Bytes::from([request.to_le_bytes(), [b'k'; 8]].concat())
}

/// 16 bytes that are the same for a retry and for nothing else.
fn hash_of(request: u64, message: &Message) -> Bytes {
    let parts = Message { request_key: Bytes::new(), request_hash: Bytes::new(), ..message.clone() };
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.encode_to_vec() {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Bytes::from([request.to_le_bytes(), sum.to_le_bytes()].concat())
}

/// What a control that a node handed up does.
pub(crate) fn handed_up(message: &Message) -> Option<Target> {
    let Some(message::Target::Control(control)) = &message.target else { return None };
    let app = APPS.iter().position(|app| *app == message.app)?;
    Some(Target::Control { app, control: control.clone() })
}

/// Which message: index of its manager, and its seq there. The content of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) manager: usize,
    pub(crate) seq: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}-{}", self.manager, self.seq)
    }
}

impl Id {
    pub(crate) fn of_content(content: &[u8]) -> Option<Self> {
        let (manager, seq) = std::str::from_utf8(content).ok()?.strip_prefix('m')?.split_once('-')?;
        Some(Self { manager: manager.parse().ok()?, seq: seq.parse().ok()? })
    }
}

/// A message that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// By its manager's clock.
    pub(crate) at: u64,
    /// When it really was.
    pub(crate) real: u64,
    pub(crate) target: Target,
    /// What its content names: itself, or what it repeats.
    pub(crate) content: Id,
    pub(crate) request: Option<u64>,
    /// What the product says of it.
    pub(crate) message_id: String,
}

/// All there is to know of one manager's messages.
#[derive(Debug)]
pub(crate) struct Accepter {
    pub(crate) id: u64,
    /// By seq, from 1.
    pub(crate) messages: Vec<Accepted>,
}

impl Accepter {
    /// Newest seq really accepted before a time, 0 if none was.
    pub(crate) fn newest_before(&self, real: u64) -> u64 {
        self.messages.partition_point(|message| message.real < real) as u64
    }

    /// Newest seq accepted up to a time, 0 if none was.
    pub(crate) fn newest_at(&self, time: u64) -> u64 {
        self.messages.partition_point(|message| message.at <= time) as u64
    }
}

/// All managers there ever were.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) managers: Vec<Accepter>,
    /// Requests that several contents were pushed with.
    pub(crate) conflicting: HashSet<u64>,
    /// All messages of each request.
    pub(crate) identities: HashMap<u64, Vec<Id>>,
    /// Users, by app and user, that something was decided about.
    pub(crate) decided: HashSet<(usize, usize)>,
}

impl Truth {
    /// The message with this identity.
    pub(crate) fn id_of(&self, manager: u64, seq: u64) -> Option<Id> {
        let manager = self.managers.iter().position(|accepter| accepter.id == manager)?;
        Some(Id { manager, seq })
    }

    pub(crate) fn message(&self, id: Id) -> Option<&Accepted> {
        self.managers.get(id.manager)?.messages.get(usize::try_from(id.seq.checked_sub(1)?).ok()?)
    }
}

/// Manager id to seq.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) Vec<(u64, u64)>);

impl Position {
    /// The seq of a manager, if it is named.
    pub(crate) fn get(&self, manager: u64) -> Option<u64> {
        self.0.iter().find(|(id, _)| *id == manager).map(|(_, seq)| *seq)
    }

    /// The seq of a manager; 0 where nothing is known of it.
    pub(crate) fn at(&self, manager: u64) -> u64 {
        self.get(manager).unwrap_or(0)
    }

    /// Merges by maximum.
    pub(crate) fn raise(&mut self, other: &Self) {
        for (id, seq) in &other.0 {
            match self.0.iter_mut().find(|(mine, _)| mine == id) {
                Some((_, mine)) => *mine = (*mine).max(*seq),
                None => self.0.push((*id, *seq)),
            }
        }
    }
}
