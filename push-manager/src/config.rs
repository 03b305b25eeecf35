//! Every setting of a push-manager.

use std::{ffi::OsString, time::Duration};

use clap::Parser;
use pushcast_common::{
    registry::{EtcdSettings, Registry},
    settings::{self, Addr, EtcdArgs, ExitOutcome},
};

const MAX_CONTENT: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Takes pushes from business servers and fans them out to every connect-node.
#[derive(Debug, Parser)]
#[command(name = "push-manager", version)]
struct Args {
    /// Where business servers connect with gRPC
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:9000")]
    grpc_addr: String,
    /// Where health, metrics and the HTTP/JSON gateway are served
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:9001")]
    http_addr: String,
    /// Who may push; there is no default: "none" lets everybody
    #[arg(long, value_name = "none")]
    api_auth: Option<String>,
    /// How managers and nodes know each other; there is no default: "none" lets everybody
    #[arg(long, value_name = "none")]
    fleet_auth: Option<String>,
    /// gRPC addresses of connect-nodes; beside etcd, those used until it first answers
    #[arg(long, value_name = "HOST:PORT,…", default_value = "")]
    nodes: String,
    /// Longest wait for the answer to a push
    #[arg(long, value_name = "TIME", default_value = "5s")]
    max_deadline: String,
    /// Largest content of a push, at most 1MiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    max_content: String,
    /// What the log of recent messages may take
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    log_bytes: String,
    /// How long the log keeps a message, as far as its size allows
    #[arg(long, value_name = "TIME", default_value = "120s")]
    log_age: String,
    #[command(flatten)]
    etcd: EtcdArgs,
}

/// The settings of one manager.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the gRPC server listens.
    pub grpc_addr: Addr,
    /// Where the HTTP server listens.
    pub http_addr: Addr,
    /// gRPC addresses of nodes given by hand.
    pub nodes: Vec<String>,
    /// The registry, if there is one.
    pub etcd: Option<EtcdSettings>,
    /// Longest wait for an answer.
    pub max_deadline: Duration,
    /// Largest content in bytes.
    pub max_content: usize,
    /// Bound of the log in bytes.
    pub log_bytes: u64,
    /// Bound of the log in time.
    pub log_age: Duration,
}

impl Default for Config {
    /// The defaults of the flags, on ports of the machine's choice, without etcd and without nodes.
    fn default() -> Self {
        let local = || Addr { host: "127.0.0.1".to_owned(), port: 0 };
        Self {
            grpc_addr: local(),
            http_addr: local(),
            nodes: Vec::new(),
            etcd: None,
            max_deadline: Duration::from_secs(5),
            max_content: 64 << 10,
            log_bytes: 128 << 20,
            log_age: Duration::from_secs(120),
        }
    }
}

impl Config {
    /// Reads the command line and the `PUSH_MANAGER_…` variables. All mistakes are reported together.
    pub fn from_args(argv: impl IntoIterator<Item = OsString>) -> Result<Self, ExitOutcome> {
        let (args, mut problems) = settings::parse::<Args>("PUSH_MANAGER_", argv)?;
        let grpc_addr = problems.addr("--grpc-addr", &args.grpc_addr);
        let http_addr = problems.addr("--http-addr", &args.http_addr);
        problems.open_only("--api-auth", args.api_auth.as_deref());
        problems.open_only("--fleet-auth", args.fleet_auth.as_deref());
        let nodes = match args.nodes.as_str() {
            "" => Vec::new(),
            nodes => problems.addrs("--nodes", nodes),
        };
        if args.nodes.is_empty() && !args.etcd.is_given() {
            problems.push("--etcd-endpoints", "this or --nodes must be given: where are the connect-nodes?");
        }
        let etcd = args.etcd.settings(&mut problems, "push_manager");
        let instants = Duration::from_millis(1)..=DAY;
        let max_deadline = problems.duration_within("--max-deadline", &args.max_deadline, instants);
        let max_content = problems.size_within("--max-content", &args.max_content, 1..=MAX_CONTENT);
        // Less could not even hold one message of every size.
        let log_bytes = problems.size_within("--log-bytes", &args.log_bytes, (4 << 20)..=(1 << 40));
        let ages = Duration::from_secs(1)..=DAY;
        let log_age = problems.duration_within("--log-age", &args.log_age, ages);
        problems.check()?;
        let (Some(grpc_addr), Some(http_addr)) = (grpc_addr, http_addr) else {
            unreachable!("an address that cannot be read is a problem");
        };
        Ok(Self {
            grpc_addr,
            http_addr,
            nodes: nodes.iter().map(ToString::to_string).collect(),
            etcd,
            max_deadline,
            max_content: usize::try_from(max_content).unwrap_or(MAX_CONTENT as usize),
            log_bytes,
            log_age,
        })
    }

    /// The registry these settings name.
    pub fn registry(&self) -> Registry {
        let registry = match &self.etcd {
            Some(etcd) => Registry::etcd(etcd.clone()),
            None => Registry::none(),
        };
        if self.nodes.is_empty() { registry } else { registry.with_fixed_nodes(self.nodes.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, ExitOutcome> {
        let open = ["push-manager", "--api-auth=none", "--fleet-auth=none"];
        Config::from_args(open.iter().chain(args).map(OsString::from))
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = read(&["--nodes", "a:8001,b:8001"]).unwrap();
        assert_eq!((config.grpc_addr.port, config.http_addr.port), (9000, 9001));
        assert_eq!(config.nodes, ["a:8001", "b:8001"]);
        assert_eq!(config.max_content, 65536);
        assert_eq!(config.log_bytes, 128 << 20);
        assert_eq!(config.log_age, Duration::from_secs(120));
        assert_eq!(config.max_deadline, Duration::from_secs(5));
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let argv = ["push-manager", "--max-content=2MiB", "--grpc-addr=x", "--bogus", "--log-age=soon"];
        let outcome = Config::from_args(argv.map(OsString::from)).unwrap_err();
        assert_eq!(outcome.code, settings::EXIT_USAGE);
        for flag in
            ["--max-content", "--grpc-addr", "--bogus", "--log-age", "--api-auth", "--fleet-auth", "--nodes"]
        {
            assert!(outcome.text.contains(flag), "{flag} is missing in {}", outcome.text);
        }
    }
}
