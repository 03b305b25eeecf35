//! The fault suite with its full numbers.

#![allow(clippy::print_stdout, reason = "it is a report")]

use std::process::ExitCode;

use clap::Parser;
use pushcast_chaos::scenarios::{How, NAMES, play};

/// Breaks a fleet in every way the rules of delivery name, and counts what callers and clients lose
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to play [default: all]
    #[arg(value_parser = NAMES)]
    scenarios: Vec<String>,
    /// What chance is made of; the same seed is the same schedule [default: another one every time]
    #[arg(long)]
    seed: Option<u64>,
    /// The short forms that `make test` plays
    #[arg(long)]
    short: bool,
    /// Everything known of every scenario, with where the logs are if CHAOS_KEEP_LOGS is set
    #[arg(long)]
    details: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let names = if args.scenarios.is_empty() { NAMES.map(str::to_owned).to_vec() } else { args.scenarios };
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u16>()));
    let mut broken = 0;
    for name in &names {
        let report = play(name, How { full: !args.short, seed }).await;
        if report.broken().is_empty() {
            println!("{}", if args.details { report.details() } else { report.to_string() });
        } else {
            broken += 1;
            println!("BROKEN {}", report.details());
        }
    }
    println!("{} of {} scenarios kept every promise (seed {seed})", names.len() - broken, names.len());
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
