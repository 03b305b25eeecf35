//! Measures the running system on this machine, beside a bare loop of `send()` and beside other servers.
//!
//! `make bench` builds a release, gets the other servers and writes `RESULTS.md` with its plots. A figure's way, by file
//! name: `arguments` → `scenarios` → `peers` (a server as it is started) and `swarm` or `askers` (the sockets) → `flight`
//! or `pacing` (who publishes when) → `statistics` → `report` and `plot`.

mod arguments;
mod askers;
mod caller;
mod clock;
mod cores;
mod flight;
mod machine;
mod pacing;
mod peers;
mod plot;
mod process;
mod procfs;
mod publisher;
mod report;
mod scenarios;
mod sinks;
mod statistics;
mod swarm;
mod wire;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, ensure};
use arguments::{Arguments, Scenario};
use clap::Parser as _;
use machine::Machine;
use peers::Peer;
use report::{Findings, plots};
use scenarios::{
    Settings, breakdown, churn, connect, fan_out, fan_out::Case, half, idle, latency, manager, progress,
    resume, shards, slow, storm, tables, unwanted,
};

/// Sockets of the largest scenario that does not make do with fewer, and some files beside them.
const FILES: u64 = 12_000;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(files >= FILES, "{files} open files are allowed here, {FILES} are needed: see `ulimit -Hn`");
    cores::check()?;
    Peer::Ours.version()?;
    let settings = Settings { rounds: arguments.rounds.into(), each: arguments.seconds };
    let mut findings = Findings::nothing_yet(settings, Machine::here());
    let before = machine::busy_with_others()?;
    measure(arguments.scenario, &mut findings);
    findings.others = before.max(machine::busy_with_others()?);
    if arguments.scenario == Scenario::All {
        write(&findings)?;
    } else {
        print(&findings.measured());
    }
    Ok(if findings.failures.0.iter().all(|failure| failure.is_missing) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(scenario: Scenario, findings: &mut Findings) {
    let settings = findings.settings;
    let failures = &mut findings.failures;
    let wanted = |one| scenario == one || scenario == Scenario::All;
    // Before anything else, as it says.
    if wanted(Scenario::Tables) {
        findings.tables = Some(tables::run(settings, failures));
    }
    if wanted(Scenario::Fanout) {
        findings.fan_out = Some(fan_out::run(&Case::ONE_ROOM, settings, failures));
    }
    if wanted(Scenario::Rooms) {
        findings.rooms = Some(fan_out::run(&[Case::Rooms], settings, failures));
    }
    if wanted(Scenario::Idle) {
        findings.idle = Some(idle::run(failures));
    }
    if wanted(Scenario::Connect) {
        findings.connect = Some(connect::run(settings, failures));
    }
    if wanted(Scenario::Churn) {
        findings.churn = churn::run(failures);
    }
    if wanted(Scenario::Latency) {
        findings.latency = Some(latency::run(settings, failures));
    }
    if wanted(Scenario::Half) {
        findings.half = Some(half::run(settings, failures));
    }
    if wanted(Scenario::Slow) {
        findings.slow = Some(slow::run(settings, failures));
    }
    if wanted(Scenario::Storm) {
        findings.storm = Some(storm::run(settings, failures));
    }
    if wanted(Scenario::Shards) {
        findings.shards = Some(shards::run(settings, failures));
    }
    if wanted(Scenario::Unwanted) {
        findings.unwanted = Some(unwanted::run(settings, failures));
    }
    if wanted(Scenario::Manager) {
        findings.manager = Some(manager::run(settings, failures));
    }
    if wanted(Scenario::Resume) {
        findings.resume = resume::run(failures);
    }
    if wanted(Scenario::Breakdown) {
        findings.breakdown = Some(breakdown::run(settings, failures));
    }
}

fn write(findings: &Findings) -> anyhow::Result<()> {
    let pictures = [("deliveries.svg", plots::deliveries(findings)), ("nodes.svg", plots::nodes(findings))];
    let page = ("RESULTS.md", Some(findings.page()));
    for (name, content) in pictures.into_iter().chain([page]) {
        let path = machine::results_directory().join(name);
        if let Some(content) = content {
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            progress(&format!("wrote {}", path.display()));
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "what was measured is what this program is for")]
fn print(text: &str) {
    println!("{text}");
}
