//! Messages that nobody on the node wants, with many rooms in its tables.

use std::time::Duration;

use anyhow::ensure;

use super::{CONTENT, Failures, Settings, progress};
use crate::{
    caller::{Caller, Pace},
    cores,
    peers::{Plan, Server, ours::Ours, room_name},
    procfs::spent,
    statistics::Series,
    swarm::Swarm,
};

/// Connections, each in fewer rooms than the 128 that one may be in.
const SOCKETS: usize = 1000;
const ROOMS_EACH: usize = 100;

/// Rooms in the tables.
pub(crate) const ROOMS: usize = SOCKETS * ROOMS_EACH;

/// Requests of 128 pushes, of which the link makes batches of 64 messages and more.
pub(crate) const PACE: Pace = Pace { items: 128, requests: 4 };

/// By round: microseconds of node CPU per message.
pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Series {
    let mut micros = Series::default();
    for round in 0..settings.rounds {
        let what = format!("messages that nobody wants, round {}", round + 1);
        progress(&what);
        let measured = cores::on_load_core(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(settings.each))
        });
        if let Some(each) = failures.note(&what, measured) {
            micros.push(round, each);
        }
    }
    micros
}

async fn measure(each: Duration) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: ROOMS, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    // Each in rooms that nobody else is in.
    let hello = |n: usize| ours.hello_in(n, (n * ROOMS_EACH..(n + 1) * ROOMS_EACH).map(room_name).collect());
    let mut swarm = Swarm::connect(ours.addr(), ours.counting(), SOCKETS, 1, &hello)?;
    let mut caller = Caller::open(&ours.manager_at.grpc).await?;
    let nobody = |n: u64| format!("nobody-{:06}", n % ROOMS as u64);
    caller.push(PACE, each / 4, nobody).await?;
    let before = ours.cpu()?;
    let pushes = caller.push(PACE, each, nobody).await?;
    let spent = spent(before, ours.cpu()?)?;
    swarm.read_until_quiet()?;
    ensure!(pushes > 0, "no push was answered");
    Ok(spent.as_secs_f64() * 1e6 / pushes as f64)
}
