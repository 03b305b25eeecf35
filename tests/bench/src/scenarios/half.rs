//! How late a message is when a server does half of what it can: the most is measured first, then that many messages go
//! out at half of that pace, each when it is due, whatever became of those before.

use std::time::Duration;

use anyhow::ensure;

use super::{CONTENT, Failures, Settings, fan_out::Case, progress};
use crate::{
    cores,
    flight::fly,
    pacing::pace,
    peers::{Peer, Plan, populate},
    procfs::CoreTime,
    statistics::{Series, percentile},
};

/// As many in flight as in the fan-out that comes nearest to what a server can do.
const MOST: Case = Case::ThirtyTwo;

/// Times longer than the figure of the most: a p99.9 takes a thousand messages.
pub(crate) const LONGER: u32 = 2;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// Who is measured, and with how many sockets in the room. The bare loop is there to tell what of the time to the last of
/// 5000 sockets is the kernel's.
const CASES: [(Peer, usize); 3] =
    [(Peer::Ours, 1000), (Peer::Bare, super::SOCKETS), (Peer::Ours, super::SOCKETS)];

/// By round. Delays are microseconds, from when a message was due until the last socket had it.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// Deliveries a second, flat out.
    pub(crate) most: Series,
    /// Messages a second that were asked for then.
    pub(crate) rate: Series,
    pub(crate) p50: Series,
    pub(crate) p99: Series,
    pub(crate) p99_9: Series,
    /// How busy the load's core was meanwhile, 0 to 1.
    pub(crate) load: Series,
}

pub(crate) type Halves = Vec<((Peer, usize), Half)>;

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Halves {
    let mut halves: Halves = CASES.iter().map(|case| (*case, Half::default())).collect();
    for round in 0..settings.rounds {
        for ((peer, sockets), half) in &mut halves {
            let what = format!("{} at half its most, {sockets} sockets, round {}", peer.name(), round + 1);
            progress(&what);
            let measured = cores::on_load_core(|| measure(*peer, *sockets, settings.each));
            if let Some(one) = failures.note(&what, measured) {
                half.most.push(round, one.most);
                half.rate.push(round, one.rate.into());
                for (series, share) in [(&mut half.p50, 0.5), (&mut half.p99, 0.99), (&mut half.p99_9, 0.999)]
                {
                    series.push(round, percentile(&one.nanos, share).unwrap_or(0) as f64 / 1e3);
                }
                half.load.push(round, one.load);
            }
        }
    }
    halves
}

struct Round {
    most: f64,
    rate: u32,
    nanos: Vec<u64>,
    load: f64,
}

fn measure(peer: Peer, sockets: usize, each: Duration) -> anyhow::Result<Round> {
    let directory = tempfile::tempdir()?;
    let in_flight = MOST.in_flight();
    let plan = Plan { directory: directory.path(), sockets, rooms: 1, content: CONTENT, in_flight };
    let server = peer.start(plan)?;
    let (mut swarm, mut publisher) = populate(server.as_ref(), plan)?;
    fly(server.as_ref(), &mut swarm, publisher.as_mut(), 1, in_flight, WARM_UP)?;
    // Half the time: what is to be known is the delay.
    let flight = fly(server.as_ref(), &mut swarm, publisher.as_mut(), 1, in_flight, each / 2)?;
    let most = flight.deliveries_per_second();
    let rate = (most / sockets as f64 / 2.0) as u32;
    ensure!(rate > 0, "flat out it does less than two messages a second");
    pace(&mut swarm, publisher.as_mut(), rate, WARM_UP)?;
    let load = CoreTime::now(cores::LOAD)?;
    let nanos = pace(&mut swarm, publisher.as_mut(), rate, each * LONGER)?;
    Ok(Round { most, rate, nanos, load: CoreTime::now(cores::LOAD)?.busy_since(load) })
}
