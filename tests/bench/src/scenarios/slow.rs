//! Sockets that stop reading, and what the others notice of it.

use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{Failures, Settings, latency::micros, progress};
use crate::{
    cores,
    pacing::pace,
    peers::{Plan, ours::Ours, populate},
    statistics::Series,
};

/// Sockets in the room.
pub(crate) const SOCKETS: usize = 1000;

/// Every so manieth stops reading: 5 %.
const EVERY: usize = 20;

/// Large enough that what is not read fills the kernel's buffers within the first second or two, and then the outbox,
/// so that all of what a slow socket can do happens within the time.
pub(crate) const CONTENT: usize = 4096;

/// Pushes a second: a quarter of what one core can do with this content.
pub(crate) const RATE: u32 = 50;

/// How long, whatever other figures take: the outbox of a socket that stopped is full after 6 s, and being closed for that
/// is part of what the others may notice. A shorter run would leave it out without a word.
pub(crate) const TIME: Duration = Duration::from_secs(10);

/// Of the healthy sockets: microseconds by round.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    pub(crate) p99_alone: Series,
    pub(crate) p99_beside: Series,
    /// Sockets closed for being slow, in all rounds.
    pub(crate) closed: u64,
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Slow {
    let mut slow = Slow::default();
    for round in 0..settings.rounds {
        for stopped in [false, true] {
            let what = format!(
                "slow sockets, {}, round {}",
                if stopped { "with them" } else { "without them" },
                round + 1
            );
            progress(&what);
            let measured = cores::on_load_core(|| measure(stopped));
            if let Some((p99, closed)) = failures.note(&what, measured) {
                if stopped { &mut slow.p99_beside } else { &mut slow.p99_alone }.push(round, p99);
                slow.closed += closed;
            }
        }
    }
    slow
}

/// The p99 of the healthy sockets, as many in both cases, and how many others were closed.
fn measure(stopped: bool) -> anyhow::Result<(f64, u64)> {
    let directory = tempfile::tempdir()?;
    let healthy = SOCKETS - SOCKETS / EVERY;
    let sockets = if stopped { SOCKETS } else { healthy };
    let plan = Plan { directory: directory.path(), sockets, rooms: 1, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    let (mut swarm, mut publisher) = populate(&ours, plan)?;
    pace(&mut swarm, publisher.as_mut(), RATE, Duration::from_millis(500))?;
    if stopped {
        for n in (0..sockets).filter(|n| n % EVERY == 0) {
            // What the kernel would take for them is not what this is about.
            set_socket_recv_buffer_size(swarm.stream(n), CONTENT)?;
        }
        swarm.watch_only(|n| n % EVERY != 0)?;
    }
    let (_, p99) = micros(&pace(&mut swarm, publisher.as_mut(), RATE, TIME)?)?;
    Ok((p99, ours.slow_closes()?))
}
