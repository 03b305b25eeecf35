//! The servers that are measured, all behind one face.

pub(crate) mod bare;
mod bun;
mod mosquitto;
mod nats;
mod nchan;
pub(crate) mod ours;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use crate::{
    publisher::Publisher,
    swarm::{Counting, Hello, Swarm},
};

/// What a server is started for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Its configuration and its log go here.
    pub(crate) directory: &'a Path,
    pub(crate) sockets: usize,
    pub(crate) rooms: usize,
    /// Bytes of each message.
    pub(crate) content: usize,
    /// The bare loop may put so many messages into one write; nobody else is told.
    pub(crate) in_flight: usize,
}

/// A server that runs.
pub(crate) trait Server {
    /// Where sockets connect.
    fn addr(&self) -> SocketAddr;

    /// What socket `n` says first to be in this room.
    fn hello(&self, n: usize, room: usize) -> Hello;

    fn counting(&self) -> Counting;

    /// Called when all sockets are connected.
    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>>;

    /// Processor time so far.
    fn cpu(&self) -> anyhow::Result<Duration>;

    /// Processor time of what belongs to it on the load's core.
    fn cpu_beside(&self) -> anyhow::Result<Duration> {
        Ok(Duration::ZERO)
    }

    /// Resident bytes.
    fn memory(&self) -> anyhow::Result<u64>;

    /// Time after the last connection until the memory of one is what it stays.
    fn settles_in(&self) -> Duration {
        Duration::from_secs(2)
    }
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Bare,
    Ours,
    Bun,
    Nchan,
    Nats,
    Mosquitto,
}

impl Peer {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 6] =
        [Self::Bare, Self::Ours, Self::Bun, Self::Nchan, Self::Nats, Self::Mosquitto];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop of send()",
            Self::Ours => "Pushcast",
            Self::Bun => "Bun publish",
            Self::Nchan => "nginx nchan",
            Self::Nats => "nats-server WebSocket",
            Self::Mosquitto => "mosquitto WebSocket",
        }
    }

    /// Starts it on the server's core.
    pub(crate) fn start(self, plan: Plan<'_>) -> anyhow::Result<Box<dyn Server>> {
        Ok(match self {
            Self::Bare => Box::new(bare::Bare::start(plan)?),
            Self::Ours => Box::new(ours::Ours::start(plan)?),
            Self::Bun => Box::new(bun::Bun::start(plan)?),
            Self::Nchan => Box::new(nchan::Nchan::start(plan)?),
            Self::Nats => Box::new(nats::Nats::start(plan)?),
            Self::Mosquitto => Box::new(mosquitto::Mosquitto::start(plan)?),
        })
    }

    /// What is installed, in one line; an error says what is missing and how to get it.
    pub(crate) fn version(self) -> anyhow::Result<String> {
        match self {
            Self::Bare => Ok("a thread of this program".to_owned()),
            Self::Ours => ours::version(),
            Self::Bun => bun::version(),
            Self::Nchan => nchan::version(),
            Self::Nats => nats::version(),
            Self::Mosquitto => mosquitto::version(),
        }
    }

    /// What is not as the server is shipped.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Bare => "no framing, no handshake; as many bytes per message as Pushcast sends",
            Self::Ours => {
                "one shard, because there is one core; no authentication, which has no default; ports on loopback. \
                 Protobuf clients where nothing else is said, one PushStream, the default acknowledgement"
            }
            Self::Bun => {
                "`tests/bench/peers/bun.js`: Bun.serve, publish() of what comes on a control WebSocket"
            }
            Self::Nchan => {
                "one worker, worker_connections 20,000 (768), worker_rlimit_nofile 20,000, a backlog of 4,096 (511), \
                 keepalive_requests 1,000,000 (1,000), access log off; publisher: pipelined HTTP POST on one connection"
            }
            Self::Nats => "websocket without TLS; publisher: the plain NATS protocol on its TCP port",
            Self::Mosquitto => {
                "anonymous clients, a websockets listener; publisher: MQTT QoS 0 on its TCP port"
            }
        }
    }
}

/// The name of a room, as long for every room: what surrounds a message is then as long for every message.
pub(crate) fn room_name(room: usize) -> String {
    format!("room-{room:06}")
}

/// Connects all sockets of a plan, and learns what a message looks like.
pub(crate) fn populate(server: &dyn Server, plan: Plan<'_>) -> anyhow::Result<(Swarm, Box<dyn Publisher>)> {
    let hello = |n: usize| server.hello(n, n % plan.rooms);
    let mut swarm = Swarm::connect(server.addr(), server.counting(), plan.sockets, plan.rooms, &hello)?;
    let mut publisher = server.publisher()?;
    if let Some(answers) = publisher.answers()? {
        swarm.drop_answers(answers)?;
    }
    swarm.learn(|| {
        (0..plan.rooms).try_for_each(|room| publisher.publish(room))?;
        publisher.flush()
    })?;
    Ok((swarm, publisher))
}

/// A port that nobody listens at, for servers that cannot choose one themselves.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What is said of a peer that is not installed.
fn not_installed(what: &str) -> anyhow::Error {
    anyhow::anyhow!("{what} is not installed: `tests/bench/install.sh` does that")
}
