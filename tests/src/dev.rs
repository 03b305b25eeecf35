//! `pushctl dev` as a process.

use std::time::Duration;

use crate::{
    eventually::eventually,
    ports::{free_port, free_span},
    processes::{Process, command},
};

/// It is up in a fraction of a second; a machine that builds something else beside it takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports from the first node's WebSocket to the third node's HTTP.
const NODES_SPAN: u16 = 23;

/// A running `pushctl dev`. It is killed when dropped.
#[derive(Debug)]
pub struct Dev {
    /// The process.
    pub process: Process,
    /// The manager's gRPC, `host:port`.
    pub grpc: String,
    /// The manager's HTTP, `host:port`.
    pub http: String,
    /// WebSocket URLs of the nodes, n1 first.
    pub nodes: Vec<String>,
}

impl Dev {
    /// Starts it on free ports and waits until it listens.
    ///
    /// # Panics
    /// If it ends first, or takes too long.
    pub async fn start() -> Self {
        Self::start_with(&[
            "--grpc-addr",
            "127.0.0.1:0",
            "--http-addr",
            "127.0.0.1:0",
            "--ws-addr",
            "127.0.0.1:0",
        ])
        .await
    }

    /// Starts it on ports that it can have again: see [`Dev::start_again`].
    ///
    /// # Panics
    /// As [`Dev::start`].
    pub async fn start_to_restart() -> Self {
        let (grpc, http, ws) = (free_port(), free_port(), free_span(NODES_SPAN));
        let [grpc, http, ws] = [grpc, http, ws].map(|port| format!("127.0.0.1:{port}"));
        Self::start_with(&["--grpc-addr", &grpc, "--http-addr", &http, "--ws-addr", &ws]).await
    }

    /// Starts another one at the ports of one that [`Dev::start_to_restart`] started and that has ended.
    ///
    /// # Panics
    /// As [`Dev::start`].
    pub async fn start_again(&self) -> Self {
        let first = self.nodes[0].trim_start_matches("ws://").trim_end_matches("/ws");
        Self::start_with(&["--grpc-addr", &self.grpc, "--http-addr", &self.http, "--ws-addr", first]).await
    }

    /// Starts it with these arguments.
    ///
    /// # Panics
    /// As [`Dev::start`].
    pub async fn start_with(arguments: &[&str]) -> Self {
        let mut command = command("pushctl");
        command.env_remove("RUST_LOG").arg("dev").args(arguments);
        let mut process = Process::start("pushctl dev", command);
        let lines = eventually("pushctl dev listens", START_TIMEOUT, async || {
            let lines = process.printed();
            if lines.iter().any(|line| line.starts_with("listening")) {
                return Ok(lines);
            }
            assert!(process.is_running(), "it ended instead of listening: {}", process.log());
            Err(format!("{lines:?}"))
        })
        .await;
        let after = |mark: &str| {
            let rest = lines.iter().find_map(|line| line.split_once(mark).map(|(_, rest)| rest));
            let word = rest.and_then(|rest| rest.split([' ', ',']).next());
            word.unwrap_or_else(|| panic!("no {mark:?} in {lines:?}")).to_owned()
        };
        let nodes = lines.iter().filter(|line| line.trim_start().starts_with("node n"));
        Self {
            grpc: after("gRPC "),
            http: after("HTTP "),
            nodes: nodes.filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect(),
            process,
        }
    }
}
