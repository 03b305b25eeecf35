//! Every setting of a push-manager.

use std::{ffi::OsString, time::Duration};

use clap::Parser;
use pushcast_common::{
    fleet_auth::{FleetArgs, FleetAuth, Role},
    registry::{EtcdSettings, Registry},
    settings::{self, Addr, EtcdArgs, ExitOutcome, OPEN},
    tls::{ClientCa, ServerTls, accept::Tls},
};

use crate::{
    api_auth::{args::ApiArgs, file::ApiKeys},
    metrics,
};

const MAX_CONTENT: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// In lines of 80 columns, which no terminal breaks.
const KEYS_FILE: &str = "\
The file of --api-keys-file has one caller in each line. `pushctl key new` makes
a key and its line:
  name=checkout blake3=<hash> apps=shop methods=PushToUser,PushToUsers
and behind it, if wanted: pushes_per_second=100 bytes_per_second=1MiB
  name     what logs call the caller
  blake3   with --api-auth keys: the hash of the key, in hex; the key itself is
           its holder's alone
  cert     with --api-auth mtls, in place of blake3: a DNS name or URI that the
           caller's certificate has
  apps     * is all, and all at once; else names with commas between,
           percent-encoded, where \"\" is the default one
  methods  * is all; else some of PushToRoom, PushToUser, PushToUsers,
           Broadcast, JoinRoom, LeaveRoom, Kick, ListNodes
The rates are of pushes and controls, and of content; left out, they are any.
What follows a # is a comment.
Callers with a key send `authorization: Bearer <key>` over gRPC, and over HTTP
to /v1/…. /healthz, /readyz, /metrics, gRPC health and reflection are for all.";

/// Takes pushes from business servers and fans them out to every connect-node.
#[derive(Debug, Parser)]
#[command(name = "push-manager", version, after_help = KEYS_FILE)]
struct Args {
    /// Where business servers connect with gRPC
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:9000")]
    grpc_addr: String,
    /// Where health, metrics and the HTTP/JSON gateway are served
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:9001")]
    http_addr: String,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    fleet: FleetArgs,
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
    /// How long pushes are still taken after SIGTERM, while /readyz and gRPC health already say not ready
    #[arg(long, value_name = "TIME", default_value = "0s")]
    drain_delay: String,
    /// Lets "none" stand at an address that other machines reach, or behind a proxy
    #[arg(long)]
    insecure: bool,
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
    /// How long pushes are still taken after being asked to stop.
    pub drain_delay: Duration,
    /// Those who may call; none: everybody may.
    pub api_keys: Option<ApiKeys>,
    /// What both listeners show; none: they speak plain.
    pub tls: Option<ServerTls>,
    /// Whose certificates callers may show.
    pub client_ca: Option<ClientCa>,
    /// How nodes and this manager know each other.
    pub fleet_auth: FleetAuth,
    /// Flags that let everybody in, to be warned of.
    pub open_doors: Vec<&'static str>,
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
            drain_delay: Duration::ZERO,
            api_keys: None,
            tls: None,
            client_ca: None,
            fleet_auth: FleetAuth::default(),
            open_doors: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the command line and the `PUSH_MANAGER_…` variables. All mistakes are reported together.
    pub fn from_args(argv: impl IntoIterator<Item = OsString>) -> Result<Self, ExitOutcome> {
        let (args, mut problems) = settings::parse::<Args>("PUSH_MANAGER_", argv)?;
        let grpc_addr = problems.addr("--grpc-addr", &args.grpc_addr);
        let http_addr = problems.addr("--http-addr", &args.http_addr);
        let api = args.api.settings(&mut problems);
        let doors = [("--grpc-addr", grpc_addr.as_ref()), ("--http-addr", http_addr.as_ref())];
        problems.open_door("--api-auth", args.api.api_auth.as_deref(), &doors, args.insecure);
        let fleet_auth = args.fleet.settings(&mut problems, Role::Manager);
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
        // Longer than any load balancer needs: more is a slip, for which every rollout would wait.
        let delays = Duration::ZERO..=Duration::from_secs(600);
        let drain_delay = problems.duration_within("--drain-delay", &args.drain_delay, delays);
        problems.check()?;
        let is_open = |how: &Option<String>| how.as_deref() == Some(OPEN);
        let doors = [("--api-auth", &args.api.api_auth), ("--fleet-auth", &args.fleet.fleet_auth)];
        let open_doors = doors.into_iter().filter(|(_, how)| is_open(how)).map(|(flag, _)| flag).collect();
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
            drain_delay,
            api_keys: api.keys,
            tls: api.tls,
            client_ca: api.client_ca,
            fleet_auth,
            open_doors,
        })
    }

    /// TLS for a listener of this protocol (ALPN).
    pub(crate) fn tls_for(&self, protocol: &[u8]) -> Result<Option<Tls>, rustls::Error> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let config = match self.client_ca.clone() {
            Some(clients) => tls.config_asking(&[protocol], clients)?,
            None => tls.config(&[protocol])?,
        };
        Ok(Some(Tls { config, metric: metrics::TLS_HANDSHAKES }))
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
        let open = ["push-manager", "--api-auth=none", "--fleet-auth=none", "--insecure"];
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
    fn a_file_of_keys_goes_with_keys_and_its_mistakes_with_the_others() {
        let read = |args: &[&str]| {
            let argv = [&["push-manager", "--fleet-auth=none", "--nodes=a:1"], args].concat();
            Config::from_args(argv.into_iter().map(OsString::from))
        };
        let mistakes = |args: &[&str]| read(args).unwrap_err().text;
        assert!(mistakes(&["--api-auth=keys"]).contains("--api-keys-file: must be given"));
        let text = mistakes(&["--api-auth=none", "--api-keys-file=/no/such/file", "--log-age=soon"]);
        for says in ["has no effect with --api-auth none", "cannot read \"/no/such/file\"", "--log-age"] {
            assert!(text.contains(says), "{says} is missing in {text}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let flag = format!("--api-keys-file={}", file.path().display());
        std::fs::write(file.path(), "name=a\nname=b methods=Push\n").unwrap();
        let text = mistakes(&["--api-auth=keys", &flag]);
        for says in ["line 1: blake3: is missing", "line 2: methods: \"Push\" is not known"] {
            assert!(text.contains(says), "{says} is missing in {text}");
        }
        let hash = "ab".repeat(32);
        std::fs::write(file.path(), format!("name=a blake3={hash} apps=* methods=*\n")).unwrap();
        assert!(read(&["--api-auth=keys", &flag]).unwrap().api_keys.is_some());
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
