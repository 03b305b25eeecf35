//! Where the time of a delivery goes: what the kernel takes for the send, what is ours.

mod callgrind;
mod perf;

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
pub(crate) use callgrind::Instructions;
pub(crate) use perf::Samples;

use super::{CONTENT, Failures, SOCKETS, Settings, progress};
use crate::{
    cores,
    flight::fly,
    peers::{Plan, ours::Ours, populate},
    procfs,
};

/// Times longer than other figures, for thousands of samples.
const LONGER: u32 = 4;

/// Functions in the tables.
const SHOWN: usize = 12;

/// One message in flight to 5000 sockets.
#[derive(Debug, Default)]
pub(crate) struct Breakdown {
    /// Share of the node's CPU in the kernel and in its own code, by the kernel's accounting.
    pub(crate) time: Option<(f64, f64)>,
    pub(crate) samples: Option<Samples>,
    /// Instructions of our own code per delivery, and the functions that take them.
    pub(crate) instructions: Option<Instructions>,
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Breakdown {
    progress("where a delivery's time goes");
    let mut breakdown = Breakdown::default();
    let measured = cores::on_load_core(|| sample(settings.each * LONGER));
    if let Some((time, samples)) = failures.note("the node's time", measured) {
        breakdown.time = Some(time);
        breakdown.samples = failures.note("the node's samples", samples);
    }
    breakdown.instructions = failures.note("the delivery path's instructions", callgrind::instructions());
    breakdown
}

type Sampled = ((f64, f64), anyhow::Result<Samples>);

fn sample(each: Duration) -> anyhow::Result<Sampled> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: 1, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    let (mut swarm, mut publisher) = populate(&ours, plan)?;
    fly(&ours, &mut swarm, publisher.as_mut(), 1, 1, each / 8)?;
    // Sampling interrupts the node, so its accounting is of a flight of its own.
    let (user, system) = procfs::user_and_system(ours.node_pid())?;
    fly(&ours, &mut swarm, publisher.as_mut(), 1, 1, each)?;
    let after = procfs::user_and_system(ours.node_pid())?;
    let (user, system) = ((after.0 - user).as_secs_f64(), (after.1 - system).as_secs_f64());
    ensure!(user + system > 0.0, "the node took no time");
    let time = (system / (user + system), user / (user + system));

    let recording = perf::record(ours.node_pid(), each, directory.path());
    let samples = recording.and_then(|mut recording| {
        // perf attaches first.
        thread::sleep(Duration::from_millis(300));
        let flown = fly(&ours, &mut swarm, publisher.as_mut(), 1, 1, each);
        // It ends by itself, whatever became of the flight.
        let status = recording.wait().context("waiting for perf")?;
        flown?;
        ensure!(status.success(), "perf record ended with {status}");
        perf::report(directory.path())
    });
    Ok((time, samples))
}

/// A function's name without the hash and the types that it is for.
fn shorten(name: &str) -> String {
    let name = name.split("'2").next().unwrap_or(name);
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    // What stands in a Markdown table may have no bar.
    name.replace('|', "/")
}
