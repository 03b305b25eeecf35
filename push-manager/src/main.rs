//! The push-manager process.

use std::process::ExitCode;

use anyhow::Context as _;
use push_manager::{Config, Listeners, run};
use pushcast_common::{settings, shutdown, telemetry};
use tracing::{error, info};

fn main() -> ExitCode {
    telemetry::init_logs();
    let config = match Config::from_args(std::env::args_os()) {
        Ok(config) => config,
        Err(outcome) => return outcome.report(),
    };
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = format!("{error:#}"), "Cannot go on.");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let grpc = settings::bind("--grpc-addr", &config.grpc_addr)?;
    let http = settings::bind("--http-addr", &config.http_addr)?;
    info!(grpc_addr = %grpc.local_addr()?, http_addr = %http.local_addr()?, "listening");
    let shutdown = shutdown::on_signals().context("cannot handle signals")?;
    let registry = config.registry();
    let result = run(config, Listeners { grpc, http }, registry.clone(), shutdown).await;
    registry.close().await;
    Ok(result?)
}
