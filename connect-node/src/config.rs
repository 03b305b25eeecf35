//! Every setting of a connect-node: a flag, and a variable `CONNECT_NODE_…` of the same name.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use pushcast_common::{
    fleet_auth::{FleetArgs, FleetAuth, Role},
    followed_file::FollowedFile,
    registry::{EtcdSettings, Record},
    settings::{self, Addr, EtcdArgs, ExitOutcome, OPEN, Problems},
    tls::{ServerTls, TlsArgs},
};

use crate::{
    auth::{ClientAuth, JwtArgs, Source},
    limits::{LimitArgs, Limits},
    tickets::TicketKeys,
    window::WindowLimits,
};

/// Holds the clients' connections and delivers every push their rooms and users want.
///
/// Finds push-managers through etcd, or without etcd waits for those that have it under --nodes.
#[derive(Debug, Parser)]
#[command(name = "connect-node", version)]
struct Args {
    /// Where clients connect: WebSocket at /ws
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8000")]
    ws_addr: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Where push-managers link
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8001")]
    grpc_addr: String,
    /// Where /healthz, /readyz and /metrics are
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8002")]
    http_addr: String,
    /// Where push-managers reach --grpc-addr; needed with etcd when that is bound to an unspecified address
    /// [default: the gRPC address]
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise_addr: Option<String>,
    /// This node's id in the fleet [default: host name and gRPC port]
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Where clients reach --ws-addr, such as wss://push.example.com/ws; published in the registry
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Failure domain this node runs in; published in the registry
    #[arg(long, value_name = "NAME", default_value = "")]
    zone: String,
    /// Threads with connections of their own [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// How clients prove who they are: "jwt" by a token, "none" lets everybody in; has no default
    #[arg(long, value_name = "jwt|none")]
    auth: Option<String>,
    #[command(flatten)]
    jwt: JwtArgs,
    /// How long before its token expires a client is told, so that it can show a newer one
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    token_warning: String,
    /// Cookie that a token may be in; needs --allowed-origins
    #[arg(long, value_name = "NAME")]
    auth_cookie: Option<String>,
    /// Web pages that may connect, such as https://app.example.com, comma-separated [default: all; others than browsers
    /// are not asked]
    #[arg(long, value_name = "ORIGIN,…")]
    allowed_origins: Option<String>,
    #[command(flatten)]
    fleet: FleetArgs,
    /// Lets "none" stand at an address that other machines reach, or behind a proxy
    #[arg(long)]
    insecure: bool,
    /// How long a starting node waits for every manager before it takes clients without
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    link_wait: String,
    /// Time over which a stopping node closes its connections
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    drain_spread: String,
    /// Bytes that may wait for one slow client before it is closed with 4001
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    outbox_bytes: String,
    /// Most connections [default: the limit of open files less 10 %]
    #[arg(long, value_name = "N")]
    max_connections: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Keys that clients' tickets are signed with, by which any node takes a client back: one in base64 per line, 32
    /// bytes or more each; the first signs, all verify. Read again when it changes. Without it nobody resumes
    #[arg(long, value_name = "FILE")]
    ticket_key_file: Option<String>,
    /// What recent messages may take, kept for clients that resume; at least 4MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    window_bytes: String,
    /// How long recent messages are kept for clients that resume, as far as their size allows
    #[arg(long, value_name = "DURATION", default_value = "120s")]
    window_age: String,
    /// Time between heartbeats to a client
    #[arg(long, value_name = "DURATION", default_value = "25s")]
    heartbeat: String,
    #[command(flatten)]
    etcd: EtcdArgs,
}

/// The settings of a node, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect.
    pub ws_addr: Addr,
    /// What `ws_addr` shows of itself; plain without.
    pub tls: Option<ServerTls>,
    /// Where managers link.
    pub grpc_addr: Addr,
    /// Where operators look.
    pub http_addr: Addr,
    /// Where managers reach this node, if not at the address it is bound to; port 0 is the bound port.
    pub advertise_addr: Option<Addr>,
    /// The node's id; `None` for host name and gRPC port.
    pub node_id: Option<String>,
    /// Where clients reach this node from outside.
    pub public_url: Option<String>,
    /// Failure domain; may be empty.
    pub zone: String,
    /// Threads with connections, at least 1.
    pub shards: usize,
    /// How long to wait for managers at start.
    pub link_wait: Duration,
    /// Time over which a drain closes connections.
    pub drain_spread: Duration,
    /// Bytes that may wait for one client.
    pub outbox_bytes: usize,
    /// Most connections.
    pub max_connections: usize,
    /// What one client and one address may take.
    pub limits: Limits,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// What tickets are signed with.
    pub ticket_keys: TicketKeys,
    /// Where the keys came from, to be read again when it changes.
    pub ticket_key_file: Option<FollowedFile>,
    /// What the window may hold.
    pub window: WindowLimits,
    /// How clients prove who they are.
    pub auth: ClientAuth,
    /// Where the keys of tokens came from, to be kept fresh.
    pub token_keys: Option<Source>,
    /// How long before its token expires a client is told.
    pub token_warning: Duration,
    /// Refuse clients of another machine, and of foreign pages in a browser on this one.
    pub local_pages_only: bool,
    /// Origins of pages that may connect; all if empty.
    pub allowed_origins: Vec<String>,
    /// Cookie that a token may be in.
    pub auth_cookie: Option<String>,
    /// How managers and this node know each other.
    pub fleet_auth: FleetAuth,
    /// Flags that let everybody in, to be warned of.
    pub open_doors: Vec<&'static str>,
    /// The registry, if there is one.
    pub etcd: Option<EtcdSettings>,
}

impl Config {
    /// Reads arguments and environment. All mistakes are in the outcome, which also carries `--help`.
    pub fn from_args(argv: impl IntoIterator<Item = OsString>) -> Result<Self, ExitOutcome> {
        let (args, problems) = settings::parse::<Args>("CONNECT_NODE_", argv)?;
        Self::check(&args, problems)
    }

    /// A node for this machine alone: free ports on loopback, one shard, no registry.
    pub fn local() -> Self {
        let loopback = Addr { host: Ipv4Addr::LOCALHOST.to_string(), port: 0 };
        Self {
            ws_addr: loopback.clone(),
            tls: None,
            grpc_addr: loopback.clone(),
            http_addr: loopback,
            advertise_addr: None,
            node_id: None,
            public_url: None,
            zone: String::new(),
            shards: 1,
            link_wait: Duration::from_secs(15),
            drain_spread: Duration::from_secs(30),
            outbox_bytes: 1 << 20,
            max_connections: 10_000,
            limits: Limits::local(),
            heartbeat: Duration::from_secs(25),
            ticket_keys: TicketKeys::default(),
            ticket_key_file: None,
            window: WindowLimits { bytes: 64 << 20, age: 120_000_000 },
            auth: ClientAuth::Open,
            token_keys: None,
            token_warning: Duration::from_secs(60),
            local_pages_only: false,
            allowed_origins: Vec::new(),
            auth_cookie: None,
            fleet_auth: FleetAuth::default(),
            open_doors: Vec::new(),
            etcd: None,
        }
    }

    fn check(args: &Args, mut problems: Problems) -> Result<Self, ExitOutcome> {
        let ws_addr = problems.addr("--ws-addr", &args.ws_addr);
        let grpc_addr = problems.addr("--grpc-addr", &args.grpc_addr);
        let http_addr = problems.addr("--http-addr", &args.http_addr);
        let auth = problems.how("--auth", args.auth.as_deref(), &["jwt", OPEN]);
        let fleet_auth = args.fleet.settings(&mut problems, Role::Node);
        let mut open_doors = Vec::new();
        for (flag, how, place, addr) in [
            ("--auth", &auth, "--ws-addr", ws_addr.as_ref()),
            ("--fleet-auth", &args.fleet.fleet_auth, "--grpc-addr", grpc_addr.as_ref()),
        ] {
            problems.open_door(flag, how.as_deref(), &[(place, addr)], args.insecure);
            open_doors.extend((how.as_deref() == Some(OPEN)).then_some(flag));
        }
        let jwt = args.jwt.settings(&mut problems, auth.as_deref() == Some("jwt"), args.insecure);
        let allowed_origins = origins(&mut problems, args.allowed_origins.as_deref());
        if args.auth_cookie.is_some() && auth.as_deref() == Some(OPEN) {
            problems.push("--auth-cookie", "is of use only with --auth jwt");
        } else if args.auth_cookie.is_some() && args.allowed_origins.is_none() {
            problems.push(
                "--auth-cookie",
                "needs --allowed-origins: a browser sends its cookies whatever page asks for the connection",
            );
        }
        let etcd = args.etcd.settings(&mut problems, "connect_node");
        let unreachable = grpc_addr.as_ref().is_some_and(Addr::is_unspecified);
        if etcd.is_some() && args.advertise_addr.is_none() && unreachable {
            problems.push(
                "--advertise-addr",
                "needed: --grpc-addr is bound to every address, so managers cannot know where to reach this \
                 node (example: --advertise-addr 10.0.0.7)",
            );
        }
        let advertise_addr = args.advertise_addr.as_deref().and_then(|addr| {
            let with_port = match addr.parse::<Ipv6Addr>() {
                // As Kubernetes tells a pod its address: the colons are no port's.
                Ok(_alone) => format!("[{addr}]:0"),
                Err(_) if addr.contains(':') => addr.to_owned(),
                Err(_) => format!("{addr}:0"),
            };
            problems.addr("--advertise-addr", &with_port)
        });
        if let Some(id) = &args.node_id
            && let Err(error) = pushcast_common::id::check_id("node id", id)
        {
            problems.push("--node-id", error.to_string());
        }
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(86_400);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut number = |flag, given: &Option<String>, most, default: usize| match given {
            Some(given) => usize::try_from(problems.number(flag, given, 1..=most)).unwrap_or(default),
            None => default,
        };
        let shards = number("--shards", &args.shards, 1024, cores);
        let max_connections = number("--max-connections", &args.max_connections, 10_000_000, file_limit());
        let outbox = problems.size_within("--outbox-bytes", &args.outbox_bytes, 64 << 10..=1 << 30);
        let window_bytes = problems.size_within("--window-bytes", &args.window_bytes, 4 << 20..=1 << 40);
        let window_age = problems.duration_within("--window-age", &args.window_age, second..=day);
        let ticket_key_file = args.ticket_key_file.as_ref().map(FollowedFile::new);
        let ticket_keys = args.ticket_key_file.as_deref().and_then(|path| {
            let text = problems.file("--ticket-key-file", path)?;
            let keys = TicketKeys::from_text(&text);
            keys.map_err(|error| problems.push("--ticket-key-file", format!("{path}: {error}"))).ok()
        });
        let config = Self {
            tls: args.tls.settings(&mut problems, "connect_node"),
            advertise_addr,
            node_id: args.node_id.clone(),
            public_url: args.public_url.clone(),
            zone: args.zone.clone(),
            shards,
            link_wait: problems.duration_within("--link-wait", &args.link_wait, Duration::ZERO..=day),
            drain_spread: problems.duration_within(
                "--drain-spread",
                &args.drain_spread,
                Duration::ZERO..=day,
            ),
            outbox_bytes: usize::try_from(outbox).unwrap_or(usize::MAX),
            max_connections,
            limits: args.limits.settings(&mut problems, shards),
            heartbeat: problems.duration_within("--heartbeat", &args.heartbeat, second..=day),
            ticket_keys: ticket_keys.unwrap_or_default(),
            ticket_key_file,
            window: WindowLimits {
                bytes: usize::try_from(window_bytes).unwrap_or(usize::MAX),
                age: window_age.as_micros() as u64,
            },
            auth: jwt
                .as_ref()
                .map_or(ClientAuth::Open, |settings| ClientAuth::Jwt(Arc::clone(&settings.jwt))),
            token_keys: jwt.map(|settings| settings.source),
            token_warning: problems.duration_within("--token-warning", &args.token_warning, second..=day),
            // Open, at loopback: pages of other sites in a browser on this machine reach it, too.
            local_pages_only: auth.as_deref() == Some(OPEN) && !args.insecure,
            allowed_origins,
            auth_cookie: args.auth_cookie.clone(),
            fleet_auth,
            open_doors,
            etcd,
            ..Self::local()
        };
        problems.check()?;
        // Addresses that are missing are among the problems.
        let fallback = Self::local();
        Ok(Self {
            ws_addr: ws_addr.unwrap_or(fallback.ws_addr),
            grpc_addr: grpc_addr.unwrap_or(fallback.grpc_addr),
            http_addr: http_addr.unwrap_or(fallback.http_addr),
            ..config
        })
    }

    /// The node's id when its gRPC port is known.
    pub(crate) fn id(&self, grpc_port: u16) -> String {
        self.node_id.clone().unwrap_or_else(|| {
            let host = hostname().unwrap_or_else(|| "localhost".to_owned());
            format!("{host}-{grpc_port}")
        })
    }

    /// What the registry is told.
    pub(crate) fn record(&self, grpc_port: u16, ws_port: u16, started_at: String) -> Record {
        let bound = Addr { host: self.grpc_addr.host.clone(), port: grpc_port };
        let grpc_addr = match &self.advertise_addr {
            Some(addr) if addr.port == 0 => Addr { host: addr.host.clone(), port: grpc_port },
            Some(addr) => addr.clone(),
            None => bound,
        };
        let ws_url = self.public_url.clone().unwrap_or_else(|| {
            let at = if self.ws_addr.is_unspecified() { &grpc_addr.host } else { &self.ws_addr.host };
            let scheme = if self.tls.is_some() { "wss" } else { "ws" };
            format!("{scheme}://{}/ws", Addr { host: at.clone(), port: ws_port })
        });
        Record {
            id: self.id(grpc_port),
            instance: Record::random_instance(),
            grpc_addr: grpc_addr.to_string(),
            ws_url,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            zone: self.zone.clone(),
            ticket_key: self.ticket_keys.fingerprint(),
            ..Record::default()
        }
    }
}

/// Origins as browsers send them: scheme, host, and a port that is not the scheme's own.
fn origins(problems: &mut Problems, given: Option<&str>) -> Vec<String> {
    let mut origins = Vec::new();
    for origin in given.iter().flat_map(|given| given.split(',')).map(str::trim) {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '*', ' '])) {
            origins.push(origin.to_owned());
        } else {
            problems.push(
                "--allowed-origins",
                format!("\"{origin}\" is no origin: scheme and host without a path (example: https://app.example.com)"),
            );
        }
    }
    origins
}

/// The soft limit of open files, raised to the hard one, less 10 % for everything that is not a client.
fn file_limit() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    usize::try_from(limit - limit / 10).unwrap_or(usize::MAX)
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
