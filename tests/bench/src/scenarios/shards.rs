//! A burst to one large room, with one shard and with two, wherever the kernel puts them.

use std::{thread, time::Duration};

use anyhow::bail;

use super::{CONTENT, Failures, SOCKETS, Settings, progress};
use crate::{
    clock::Nanos,
    peers::{Plan, Server, ours::Ours, populate},
    procfs::{cpu_of_threads, spent},
    statistics::Series,
};

/// Messages of a burst: what the receivers' buffers hold, so that the load need not read while the node writes. It
/// would take the second shard's core otherwise.
pub(crate) const BURST: usize = 200;

/// Every so manieth socket reads while the burst goes on, and tells when it has all of it. Odd, so that with the
/// acceptor dealing sockets in turn both shards have some.
pub(crate) const PROBES: usize = 51;

/// Bursts per start of the servers.
const BURSTS: usize = 3;

/// What is not there after this time never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// By round: milliseconds for a burst, microseconds of node CPU per delivery, and the share, 0 to 1, that the busiest
/// shard had of what all shards took.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    pub(crate) millis: Series,
    pub(crate) micros: Series,
    pub(crate) busiest: Series,
}

#[derive(Debug, Default)]
pub(crate) struct Shards {
    pub(crate) one: Burst,
    pub(crate) two: Burst,
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Shards {
    let mut figures = Shards::default();
    for round in 0..settings.rounds {
        for shards in [1, 2] {
            let what = format!("a burst with {shards} shard(s), round {}", round + 1);
            progress(&what);
            let to = if shards == 1 { &mut figures.one } else { &mut figures.two };
            if let Some((millis, micros, busiest)) = failures.note(&what, measure(shards)) {
                to.millis.push(round, millis);
                to.micros.push(round, micros);
                to.busiest.push(round, busiest);
            }
        }
    }
    figures
}

/// Means over the bursts.
fn measure(shards: usize) -> anyhow::Result<(f64, f64, f64)> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: 1, content: CONTENT, in_flight: BURST };
    let ours = Ours::start_on(plan, None, &["--shards", &shards.to_string()])?;
    let (mut swarm, mut publisher) = populate(&ours, plan)?;
    let by_shard = || cpu_of_threads(ours.node_pid(), "shard-");
    let shards_before = by_shard()?;
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..BURSTS {
        swarm.watch_only(|n| n % PROBES == 0)?;
        swarm.arm(BURST);
        let (before, begun) = (ours.cpu()?, Nanos::now());
        for _ in 0..BURST {
            swarm.published(0)?;
            publisher.publish(0)?;
        }
        publisher.flush()?;
        let mut last = begun;
        while swarm.under_way() > 0 {
            swarm.turn(Some(Duration::from_millis(100)))?;
            if let Some(complete) = swarm.take_complete().last() {
                last = complete.at;
            }
            if Nanos::now().since(begun) > PATIENCE {
                bail!("{} of {BURST} messages are not there after {PATIENCE:?}", swarm.under_way());
            }
        }
        wall += last.since(begun);
        // The sockets behind the last probe.
        thread::sleep(Duration::from_millis(50));
        cpu += spent(before, ours.cpu()?)?;
        swarm.watch_only(|_| true)?;
        swarm.read_until_quiet()?;
        swarm.check_all_got(BURST as u64)?;
    }
    let taken: Vec<f64> = by_shard()?
        .iter()
        .zip(&shards_before)
        .map(|(after, before)| after.saturating_sub(*before).as_secs_f64())
        .collect();
    let all: f64 = taken.iter().sum();
    // A node with one shard has no thread of that name: the shard is its main thread.
    let busiest = if all > 0.0 { taken.iter().copied().fold(0.0, f64::max) / all } else { 1.0 };
    let deliveries = (BURSTS * BURST * SOCKETS) as f64;
    Ok((wall.as_secs_f64() * 1e3 / BURSTS as f64, cpu.as_secs_f64() * 1e6 / deliveries, busiest))
}
