//! The `connect-node` binary: settings, sockets, signals, and then [`connect_node::run`].

use std::{env, process::ExitCode};

use anyhow::Context as _;
use connect_node::{Config, Listeners, run};
use pushcast_common::{registry::Registry, settings::bind, shutdown, telemetry};
use tracing::{error, info};

fn main() -> ExitCode {
    telemetry::init_logs();
    let config = match Config::from_args(env::args_os()) {
        Ok(config) => config,
        Err(outcome) => return outcome.report(),
    };
    // The shards bring their own threads; what is left fits one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result =
        runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(serve(config)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = format!("{error:#}"), "Stopped with an error.");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listeners = Listeners {
        ws: bind("--ws-addr", &config.ws_addr)?,
        grpc: bind("--grpc-addr", &config.grpc_addr)?,
        http: bind("--http-addr", &config.http_addr)?,
    };
    info!(
        grpc_addr = %listeners.grpc.local_addr()?,
        http_addr = %listeners.http.local_addr()?,
        ws_addr = %listeners.ws.local_addr()?,
        "listening"
    );
    let shutdown = shutdown::on_signals()?;
    let registry = match &config.etcd {
        Some(settings) => Registry::etcd(settings.clone()),
        None => Registry::none(),
    };
    let result = run(config, listeners, registry.clone(), shutdown).await;
    registry.close().await;
    Ok(result?)
}
