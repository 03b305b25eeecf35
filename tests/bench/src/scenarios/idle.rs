//! What a connection takes that does nothing.

use std::thread;

use pushctl::format::Format;

use super::{CONTENT, Failures, installed, progress};
use crate::{
    cores,
    peers::{Peer, Plan, Server, ours::Ours},
    swarm::Swarm,
};

/// Connections whose memory is taken.
pub(crate) const IDLE: usize = 10_000;

/// Connected before anything is counted, so that what the first ones make a server allocate is not in it.
const WARM: usize = 100;

/// Whose connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Ours, in one of the two formats.
    Ours(Format),
    Other(Peer),
}

impl Who {
    pub(crate) const OURS: [Self; 2] = [Self::Ours(Format::Protobuf), Self::Ours(Format::Json)];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Ours(Format::Protobuf) => format!("{}, protobuf", Peer::Ours.name()),
            Self::Ours(Format::Json) => format!("{}, JSON", Peer::Ours.name()),
            Self::Other(peer) => peer.name().to_owned(),
        }
    }

    fn start(self, plan: Plan<'_>) -> anyhow::Result<Box<dyn Server>> {
        match self {
            Self::Ours(format) => Ok(Box::new(Ours::start(plan)?.speaking(format))),
            Self::Other(peer) => peer.start(plan),
        }
    }
}

/// Bytes of process memory per connection, once: memory does not vary with the noise of the machine.
pub(crate) type Idle = Vec<(Who, f64)>;

pub(crate) fn run(failures: &mut Failures) -> Idle {
    let mut idle = Idle::new();
    let others = installed(&[Peer::Bun, Peer::Nchan, Peer::Nats, Peer::Mosquitto], failures);
    for who in Who::OURS.into_iter().chain(others.into_iter().map(Who::Other)) {
        let what = format!("{}, {IDLE} idle connections", who.name());
        progress(&what);
        if let Some(bytes) = failures.note(&what, cores::on_load_core(|| measure(who))) {
            idle.push((who, bytes));
        }
    }
    idle
}

fn measure(who: Who) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: IDLE + WARM, rooms: 1, content: CONTENT, in_flight: 1 };
    let server = who.start(plan)?;
    let connect = |first: usize, count| {
        Swarm::connect(server.addr(), server.counting(), count, 1, &|n| server.hello(first + n, 0))
    };
    let warm = connect(0, WARM)?;
    let before = server.memory()?;
    let mut idle = connect(WARM, IDLE)?;
    thread::sleep(server.settles_in());
    // Whoever was disconnected meanwhile would take nothing: reading finds out.
    idle.read_until_quiet()?;
    let after = server.memory()?;
    drop(warm);
    Ok((after as f64 - before as f64) / IDLE as f64)
}
