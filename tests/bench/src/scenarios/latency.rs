//! From when a push is due to its arrival at the last socket, at low load.

use std::time::Duration;

use anyhow::Context as _;

use super::{CONTENT, Failures, Settings, installed, progress};
use crate::{
    cores,
    pacing::pace,
    peers::{Peer, Plan, populate},
    statistics::{Series, percentile},
};

/// Sockets in the room.
pub(crate) const SOCKETS: usize = 1000;

/// Pushes a second.
pub(crate) const RATE: u32 = 20;

/// Times longer than other figures, since pushes are few: 200 of them in 10 s.
pub(crate) const LONGER: u32 = 5;

/// One server's figures, in microseconds, by round.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    pub(crate) p50: Series,
    pub(crate) p99: Series,
}

pub(crate) type Latencies = Vec<(Peer, Latency)>;

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Latencies {
    let peers = installed(&[Peer::Bare, Peer::Ours, Peer::Bun], failures);
    let mut latencies: Latencies = peers.iter().map(|peer| (*peer, Latency::default())).collect();
    for round in 0..settings.rounds {
        for (peer, latency) in &mut latencies {
            let what = format!("{}, latency, round {}", peer.name(), round + 1);
            progress(&what);
            let measured = cores::on_load_core(|| measure(*peer, settings.each * LONGER));
            if let Some((p50, p99)) = failures.note(&what, measured) {
                latency.p50.push(round, p50);
                latency.p99.push(round, p99);
            }
        }
    }
    latencies
}

fn measure(peer: Peer, each: Duration) -> anyhow::Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: 1, content: CONTENT, in_flight: 1 };
    let server = peer.start(plan)?;
    let (mut swarm, mut publisher) = populate(server.as_ref(), plan)?;
    pace(&mut swarm, publisher.as_mut(), RATE, Duration::from_millis(500))?;
    let nanos = pace(&mut swarm, publisher.as_mut(), RATE, each)?;
    micros(&nanos)
}

/// p50 and p99, in microseconds.
pub(super) fn micros(nanos: &[u64]) -> anyhow::Result<(f64, f64)> {
    let at = |share| Some(percentile(nanos, share)? as f64 / 1e3);
    at(0.5).zip(at(0.99)).context("nothing was pushed")
}
