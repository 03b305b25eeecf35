//! `pushctl bench`: a load on a running fleet, and figures that add up.
//!
//! [`plan`] is what the command line asks for. A [`crowd`] connects by a [`swarm`] of light sockets; [`pushing`] sends,
//! the [`ledger`] keeps what was promised and what came. [`deliveries`], [`holding`] and [`handshakes`] are the
//! scenarios. What they bring back becomes a [`report`], which the [`verdict`] checks, and a [`page`], rows of [`csv`] or
//! JSON.

mod arguments;
mod bar;
mod crowd;
mod csv;
mod delays;
mod deliveries;
mod descriptors;
mod ends;
mod frames;
mod handshakes;
mod head;
mod holding;
mod ledger;
mod marker;
mod nodes;
mod own_use;
mod page;
mod plan;
mod process;
mod pushing;
mod report;
mod servers;
mod shared;
mod socket;
mod stage;
mod swarm;
mod tally;
mod timer;
mod upgrade;
mod verdict;
mod wire;

use std::path::Path;

use anyhow::Context as _;
use pushcast_common::shutdown;

pub(super) use self::arguments::BenchArguments;
use self::{
    arguments::CommonArguments, bar::Bar, csv::Sheet, plan::Plan, report::Report, servers::Servers,
    stage::Stage,
};
use super::{
    output::{Misuse, print, print_json, terminal_width},
    token::TokenSource,
};

pub(super) async fn run(arguments: BenchArguments) -> anyhow::Result<()> {
    let BenchArguments { manager, common, scenario } = arguments;
    let CommonArguments { urls, duration, scrape, csv, token_file } = common;
    let plan = Plan::of(&scenario);
    if manager.json && csv.as_deref() == Some(Path::new("-")) {
        return Err(
            Misuse("--json and --csv both go to standard output; give --csv a file".to_owned()).into()
        );
    }
    let token = TokenSource::new(token_file).read()?;
    let tls_at: Vec<&str> = scrape.iter().chain([&manager.manager]).map(String::as_str).collect();
    let tls = manager.tls.read(&tls_at)?;
    let client = manager.client_with(tls.clone())?;
    let servers = Servers::new(&scrape, tls)?;
    let addresses: Vec<String> = servers.addresses().map(str::to_owned).collect();
    descriptors::raise_for(plan.sockets())?;
    let sheet = csv.as_deref().map(Sheet::open).transpose()?;
    let stop = shutdown::on_signals().context("cannot wait for Ctrl-C")?;

    let address = super::failures::host_and_port(&manager.manager);
    let (bar, token) = (Bar::new(), token.as_str());
    let stage = Stage { client, manager: address, urls: &urls, token, servers, duration, bar, stop };
    let measured = match &plan {
        Plan::Pushes(pushes) => deliveries::run(pushes, &stage).await?,
        Plan::Idle { sockets, format } => holding::run(*sockets, *format, &stage).await?,
        Plan::Connect { at_once, pace, format } => handshakes::run(*at_once, *pace, *format, &stage).await?,
    };
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let report = Report::of(&plan, address, duration.as_secs_f64(), &addresses, measured);
    tell(&report, manager.json, sheet)?;
    match report.problems.as_slice() {
        [] => Ok(()),
        problems => Err(anyhow::anyhow!(problems.join("; "))),
    }
}

fn tell(report: &Report, json: bool, sheet: Option<Sheet>) -> anyhow::Result<()> {
    let is_csv_the_output = matches!(sheet, Some(Sheet::StandardOutput));
    if let Some(sheet) = sheet {
        sheet.write(report)?;
    }
    match (json, is_csv_the_output) {
        (true, _) => print_json(report),
        (false, true) => Ok(()),
        (false, false) => Ok(print(&page::page(report, terminal_width()))?),
    }
}
