//! So many messages in flight, for some seconds: message `k` is published when all sockets of its room have message
//! `k - in_flight`. The load sees that for itself, so the method is the same for every server, whatever its own
//! acknowledgements mean.

use std::time::Duration;

use anyhow::bail;

use crate::{
    clock::Nanos,
    cores,
    peers::Server,
    procfs::{CoreTime, spent},
    publisher::Publisher,
    swarm::Swarm,
};

/// How long a server may complete nothing.
const STALL: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) deliveries: u64,
    /// From the first message to the last arrival.
    pub(crate) wall: Duration,
    /// Of the server that is measured.
    pub(crate) cpu: Duration,
    /// Of what stands beside it on the load's core: ours has its manager there.
    pub(crate) beside: Duration,
    /// Read by the sockets.
    pub(crate) bytes: u64,
    /// How busy the load's core was, 0 to 1.
    pub(crate) load: f64,
}

impl Flight {
    pub(crate) fn micros_per_delivery(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }

    pub(crate) fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.wall.as_secs_f64()
    }
}

/// Publishes to every room with so many in flight in each, for `each`, and waits for what is under way then.
pub(crate) fn fly(
    server: &dyn Server,
    swarm: &mut Swarm,
    publisher: &mut dyn Publisher,
    rooms: usize,
    in_flight: usize,
    each: Duration,
) -> anyhow::Result<Flight> {
    swarm.arm(in_flight);
    let (cpu, beside, load) = (server.cpu()?, server.cpu_beside()?, CoreTime::now(cores::LOAD)?);
    let begun = Nanos::now();
    for _ in 0..in_flight {
        for room in 0..rooms {
            publish(swarm, publisher, room)?;
        }
    }
    publisher.flush()?;
    let mut progress = begun;
    let mut complete = vec![0; rooms];
    while swarm.under_way() > 0 {
        swarm.turn(Some(STALL))?;
        let done = swarm.take_complete();
        let now = Nanos::now();
        if let Some(last) = done.last() {
            progress = last.at;
        } else if now.since(progress) > STALL {
            bail!("no message is complete for {STALL:?}{}", swarm.what_the_publisher_heard());
        }
        let goes_on = now.since(begun) < each;
        for done in done {
            let fresh = done.messages - complete[done.room];
            complete[done.room] = done.messages;
            for _ in 0..if goes_on { fresh } else { 0 } {
                publish(swarm, publisher, done.room)?;
            }
        }
        publisher.flush()?;
    }
    let wall = progress.since(begun);
    let load = CoreTime::now(cores::LOAD)?.busy_since(load);
    // What the server does behind the last arrival is part of the price.
    std::thread::sleep(SETTLE);
    Ok(Flight {
        deliveries: swarm.deliveries(),
        wall,
        cpu: spent(cpu, server.cpu()?)?,
        beside: spent(beside, server.cpu_beside()?)?,
        bytes: swarm.bytes(),
        load,
    })
}

/// Long enough for acknowledgements and clean-up behind the last send.
const SETTLE: Duration = Duration::from_millis(20);

fn publish(swarm: &mut Swarm, publisher: &mut dyn Publisher, room: usize) -> anyhow::Result<()> {
    swarm.published(room)?;
    publisher.publish(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pacing::pace,
        peers::{Plan, bare::Bare, populate},
    };

    /// The whole way of a figure, with real sockets.
    #[test]
    fn every_message_that_was_in_flight_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { directory: directory.path(), sockets: 30, rooms: 3, content: 128, in_flight: 8 };
        let bare = Bare::start_on(plan, None).unwrap();
        let (mut swarm, mut publisher) = populate(&bare, plan).unwrap();
        for in_flight in [1, 8] {
            let each = Duration::from_millis(30);
            let flight = fly(&bare, &mut swarm, publisher.as_mut(), 3, in_flight, each).unwrap();
            assert!(flight.deliveries >= 30 * in_flight as u64, "{flight:?}");
            assert_eq!(flight.deliveries % 10, 0, "whole rooms");
            let each = flight.bytes / flight.deliveries;
            assert_eq!(each * flight.deliveries, flight.bytes, "no byte is left over");
            assert!(flight.cpu > Duration::ZERO);
        }
        let latencies = pace(&mut swarm, publisher.as_mut(), 500, Duration::from_millis(100)).unwrap();
        assert_eq!(latencies.len(), 50);
        assert!(latencies.iter().all(|nanos| *nanos > 0));
        swarm.watch_only(|n| n >= 3).unwrap();
        let flight = fly(&bare, &mut swarm, publisher.as_mut(), 3, 1, Duration::from_millis(10)).unwrap();
        assert_eq!(flight.deliveries % 9, 0, "one socket of each room does not count");
    }

    #[test]
    fn sockets_that_never_come_do_not_keep_the_bare_loop() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { directory: directory.path(), sockets: 30, rooms: 1, content: 128, in_flight: 1 };
        drop(Bare::start_on(plan, None).unwrap());
    }
}
