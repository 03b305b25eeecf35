//! `pushctl dev`: a whole fleet in this process, and a page that shows it at work.

mod addresses;
mod banner;
mod feed;
mod fleet;
mod nodes;
mod observer;
mod page;
mod seat;

use clap::Args;
use pushcast_common::{shutdown, telemetry};

use self::{addresses::Sockets, fleet::Fleet};
use super::output::print;

#[derive(Debug, Args)]
pub(super) struct DevArguments {
    /// Where the manager takes pushes by gRPC.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000")]
    pub(super) grpc_addr: String,
    /// Where the manager serves the page, the HTTP/JSON gateway and the metrics.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9001")]
    pub(super) http_addr: String,
    /// Where the first node takes clients; its gRPC and HTTP are on the next two ports, and every further node is
    /// ten ports up. With port 0 all of them are free ports.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    pub(super) ws_addr: String,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(super) nodes: u16,
}

pub(super) async fn run(arguments: DevArguments) -> anyhow::Result<()> {
    // What goes well is on the page.
    telemetry::init_logs_from("warn");
    let sockets = Sockets::bind(&arguments)?;
    let shutdown = shutdown::on_signals()?;
    let mut fleet = Fleet::start(sockets, &shutdown)?;
    let started = tokio::select! {
        started = fleet.ready() => started,
        () = shutdown.begun() => Ok(()),
    };
    if started.is_ok() && !shutdown.is_begun() {
        // The fleet runs on, whoever reads this.
        let _unread = print(&banner::text(fleet.addresses(), &arguments));
    }
    let ended = match started {
        Ok(()) => fleet.live(&shutdown).await,
        Err(error) => Err(error),
    };
    shutdown.begin();
    fleet.end(&shutdown).await;
    ended
}
