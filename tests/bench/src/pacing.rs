//! Messages at a fixed rate, and how long each takes to the last socket. Times count from when a message was *due*:
//! a server or a load that is late makes every message behind it late, and that is not left out.

use std::time::Duration;

use anyhow::bail;

use crate::{clock::Nanos, publisher::Publisher, swarm::Swarm};

/// What is not there this long after the last message was due never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes to room 0, `per_second` messages a second for `each`. Returns for each message the nanoseconds to the last
/// socket.
pub(crate) fn pace(
    swarm: &mut Swarm,
    publisher: &mut dyn Publisher,
    per_second: u32,
    each: Duration,
) -> anyhow::Result<Vec<u64>> {
    let step = Duration::from_secs(1) / per_second;
    let count = (each.as_secs_f64() * f64::from(per_second)).ceil().max(1.0) as usize;
    swarm.arm(count);
    let begun = Nanos::now().plus(step);
    let due = |n: usize| begun.plus(step * n as u32);
    let mut latencies = Vec::with_capacity(count);
    let mut published = 0;
    while latencies.len() < count {
        while published < count && Nanos::now() >= due(published) {
            swarm.published(0)?;
            publisher.publish(0)?;
            publisher.flush()?;
            published += 1;
        }
        if published < count {
            swarm.wake_at(due(published))?;
        }
        swarm.turn(Some(PATIENCE))?;
        for complete in swarm.take_complete() {
            while latencies.len() < complete.messages as usize {
                latencies.push(complete.at.since(due(latencies.len())).as_nanos() as u64);
            }
        }
        if Nanos::now().since(due(count)) > PATIENCE {
            bail!("{} of {count} messages did not reach every socket", count - latencies.len());
        }
    }
    Ok(latencies)
}
