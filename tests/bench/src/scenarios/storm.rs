//! A crowd that comes and goes at once, again and again, and what those who are there notice of it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::process::nice;

use super::{CONTENT, Failures, Settings, latency::micros, progress};
use crate::{
    askers::Askers,
    clock::Nanos,
    cores,
    pacing::pace,
    peers::{Plan, Server as _, ours::Ours, populate},
    statistics::Series,
    swarm::Hello,
};

/// Sockets in the room, which are there all the time.
pub(crate) const SOCKETS: usize = 1000;

/// Sockets that come at once, into another room.
pub(crate) const CROWD: usize = 10_000;

/// Pushes a second: a quarter of what one core can do.
pub(crate) const RATE: u32 = 50;

/// How long, whatever other figures take: a crowd comes several times in it, and 300 pushes have a p99.
pub(crate) const TIME: Duration = Duration::from_secs(6);

/// In life a crowd's processors are its own. Here it gets what those who measure leave of theirs.
const NICE: i32 = 19;

/// By round.
#[derive(Debug, Default)]
pub(crate) struct Storm {
    /// Of those who are there, microseconds.
    pub(crate) p99_alone: Series,
    pub(crate) p99_during: Series,
    /// Until all of a crowd were in, seconds, at worst.
    pub(crate) seconds: Series,
    /// Crowds that came, in all rounds.
    pub(crate) crowds: usize,
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Storm {
    let mut storm = Storm::default();
    for round in 0..settings.rounds {
        let what = format!("a crowd of {CROWD}, round {}", round + 1);
        progress(&what);
        if let Some((alone, during, crowds)) = failures.note(&what, cores::on_load_core(measure)) {
            storm.p99_alone.push(round, alone);
            storm.p99_during.push(round, during);
            storm.seconds.push(round, crowds.iter().max().map_or(0.0, Duration::as_secs_f64));
            storm.crowds += crowds.len();
        }
    }
    storm
}

/// The p99 before and while crowds come and go, of the same sockets, and what each crowd took.
fn measure() -> anyhow::Result<(f64, f64, Vec<Duration>)> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: 1, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    let (mut swarm, mut publisher) = populate(&ours, plan)?;
    // Written before they are needed: the load has enough to do.
    let hellos: Vec<Hello> = (SOCKETS..SOCKETS + CROWD).map(|n| ours.hello(n, 1)).collect();
    pace(&mut swarm, publisher.as_mut(), RATE, Duration::from_millis(500))?;
    let (_, alone) = micros(&pace(&mut swarm, publisher.as_mut(), RATE, TIME)?)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let crowds = scope.spawn(|| come_and_go(ours.addr(), &hellos, &over));
        let paced = pace(&mut swarm, publisher.as_mut(), RATE, TIME);
        over.store(true, Ordering::Relaxed);
        let crowds = crowds.join().map_err(|_panicked| anyhow::anyhow!("the crowd panicked"))??;
        let (_, during) = micros(&paced?)?;
        Ok((alone, during, crowds))
    })
}

/// All of them at once; when all are in, all go, and come again. How long each crowd took to get in.
fn come_and_go(server: SocketAddr, hellos: &[Hello], over: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    nice(NICE).context("cannot step back behind those who measure")?;
    let mut crowds = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Nanos::now();
        let askers = Askers::connect_at_once(server, hellos, hellos.len())?;
        crowds.push(Nanos::now().since(begun));
        drop(askers);
    }
    ensure!(!crowds.is_empty(), "no crowd came");
    Ok(crowds)
}
