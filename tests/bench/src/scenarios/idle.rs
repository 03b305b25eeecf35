//! What a connection takes that does nothing.

use std::thread;

use super::{CONTENT, Failures, installed, progress};
use crate::{
    cores,
    peers::{Peer, Plan},
    swarm::Swarm,
};

/// Connections whose memory is taken.
pub(crate) const IDLE: usize = 10_000;

/// Connected before anything is counted, so that what the first ones make a server allocate is not in it.
const WARM: usize = 100;

/// Bytes of process memory per connection, once: memory does not vary with the noise of the machine.
pub(crate) type Idle = Vec<(Peer, f64)>;

pub(crate) fn run(failures: &mut Failures) -> Idle {
    let mut idle = Idle::new();
    for peer in installed(&Peer::ALL, failures) {
        if peer == Peer::Bare {
            continue;
        }
        let what = format!("{}, {IDLE} idle connections", peer.name());
        progress(&what);
        if let Some(bytes) = failures.note(&what, cores::on_load_core(|| measure(peer))) {
            idle.push((peer, bytes));
        }
    }
    idle
}

fn measure(peer: Peer) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: IDLE + WARM, rooms: 1, content: CONTENT, in_flight: 1 };
    let server = peer.start(plan)?;
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
