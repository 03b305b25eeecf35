//! Pushcast: a push-manager and connect-nodes as processes of their own, from beside this program.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use prost::Message as _;
use pushcast_proto::client::v1::{ClientFrame, Connect, client_frame};
use pushctl::format::Format;
use serde_json::Value;

use super::{Plan, Server, room_name};
use crate::{
    cores,
    process::{Program, output_of},
    publisher::{Publisher, Stream},
    swarm::{Counting, Hello},
    wire,
};

/// `--heartbeat` as shipped.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// Ready within this time: a manager gives a node that does not answer 3 s.
const READY: Duration = Duration::from_secs(20);

/// Where a process listens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    pub(crate) http: String,
    /// Empty for managers.
    pub(crate) ws: String,
}

/// Starts a process of ours, with these flags beside those without which nothing starts.
pub(crate) fn start(
    name: &str,
    binary: &str,
    core: Option<usize>,
    flags: &[&str],
    directory: &Path,
) -> anyhow::Result<(Program, Addresses)> {
    let mut arguments =
        vec!["--fleet-auth", "none", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
    arguments.extend(match binary {
        "push-manager" => &["--api-auth", "none"][..],
        // What is measured is what a node can do, and the load comes from one address.
        _ => &[
            "--auth",
            "none",
            "--ws-addr",
            "127.0.0.1:0",
            "--max-connections-per-address",
            "none",
            "--max-connections-per-user",
            "none",
            "--handshakes-per-second",
            "none",
        ],
    });
    arguments.extend(flags);
    let mut program = Program::start(name, core, &beside_this_program(binary)?, &arguments, directory)?;
    let addresses = program.wait_for("listening", |log| {
        // The last line may be half written.
        Ok(log.rsplit_once('\n').and_then(|(lines, _)| lines.lines().find_map(addresses)))
    })?;
    Ok((program, addresses))
}

/// A binary of this workspace, built as this one is.
pub(crate) fn beside_this_program(binary: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(binary);
    ensure!(path.is_file(), "{} is not built: `cargo build --release --workspace` does that", path.display());
    Ok(path)
}

fn addresses(line: &str) -> Option<Addresses> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = value.get("fields").unwrap_or(&value);
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Addresses {
        grpc: text("grpc_addr")?,
        http: text("http_addr")?,
        ws: text("ws_addr").unwrap_or_default(),
    })
}

/// Waits until `/readyz` says so.
pub(crate) fn wait_until_ready(http: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !get(http, "/readyz")?.starts_with("HTTP/1.1 200") {
        ensure!(begun.elapsed() < READY, "{http} is not ready after {READY:?}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The whole answer, head included.
fn get(http: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(http)?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a metric without labels.
fn metric(answer: &str, name: &str) -> Option<f64> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

pub(crate) fn version() -> anyhow::Result<String> {
    let binary = beside_this_program("connect-node")?;
    beside_this_program("push-manager")?;
    let said = output_of(&binary, &["--version"]).unwrap_or_default();
    Ok(said.trim().trim_start_matches("connect-node ").to_owned())
}

/// One node and its manager.
pub(crate) struct Ours {
    content: usize,
    /// What the clients speak.
    format: Format,
    manager: Program,
    node: Program,
    pub(crate) manager_at: Addresses,
    pub(crate) node_at: Addresses,
}

impl Ours {
    /// The node on the server's core, the manager on the load's.
    pub(crate) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        Self::start_with(plan, &[])
    }

    /// The same, with these further flags for the node.
    pub(crate) fn start_with(plan: Plan<'_>, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(plan, Some((cores::SERVER, cores::LOAD)), &[&["--shards", "1"], flags].concat())
    }

    /// On these cores, or wherever the kernel puts them.
    pub(crate) fn start_on(
        plan: Plan<'_>,
        node_and_manager: Option<(usize, usize)>,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let core = node_and_manager.map(|(node, _)| node);
        let (node, node_at) = start("connect-node", "connect-node", core, flags, plan.directory)?;
        let core = node_and_manager.map(|(_, manager)| manager);
        let flags = ["--nodes", &node_at.grpc];
        let (manager, manager_at) = start("push-manager", "push-manager", core, &flags, plan.directory)?;
        wait_until_ready(&manager_at.http)?;
        wait_until_ready(&node_at.http)?;
        let format = Format::Protobuf;
        Ok(Self { content: plan.content, format, manager, node, manager_at, node_at })
    }

    /// Its clients speak this from now on; protobuf if nothing is said.
    pub(crate) fn speaking(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// What socket `n` says first to be in these rooms, by a connect frame as the client libraries do. In protobuf.
    pub(crate) fn hello_in(&self, n: usize, rooms: Vec<String>) -> Hello {
        let connect = Connect { user_id: format!("user-{n:06}"), rooms, ..Connect::default() };
        let frame = ClientFrame { id: 1, frame: Some(client_frame::Frame::Connect(connect)) };
        Hello {
            request: wire::upgrade(&self.node_at.ws, "/ws", Some(Format::Protobuf.subprotocol())),
            upgrade: true,
            then: wire::client_frame(&frame.encode_to_vec()),
        }
    }

    pub(crate) fn node_pid(&self) -> u32 {
        self.node.pid()
    }

    /// Connections that the node closed because they took too little.
    pub(crate) fn slow_closes(&self) -> anyhow::Result<u64> {
        let answer = get(&self.node_at.http, "/metrics")?;
        match metric(&answer, "connect_node_slow_closes_total") {
            Some(count) => Ok(count as u64),
            None => bail!("the node's metrics do not name connect_node_slow_closes_total"),
        }
    }
}

impl Server for Ours {
    fn addr(&self) -> SocketAddr {
        // A node logs where it is bound.
        self.node_at.ws.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn hello(&self, n: usize, room: usize) -> Hello {
        let path = format!("/ws?user_id=user-{n:06}&rooms={}", room_name(room));
        let request = wire::upgrade(&self.node_at.ws, &path, Some(self.format.subprotocol()));
        Hello { request, upgrade: true, then: Vec::new() }
    }

    fn counting(&self) -> Counting {
        Counting::Frames(self.content as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        Ok(Box::new(Stream::open(&self.manager_at.grpc, self.content, room_name)?))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.node.cpu()
    }

    fn cpu_beside(&self) -> anyhow::Result<Duration> {
        self.manager.cpu()
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.node.memory()
    }

    fn settles_in(&self) -> Duration {
        // Every connection has been sent a heartbeat then.
        HEARTBEAT + Duration::from_secs(2)
    }
}

/// Several nodes under one manager, on all cores.
pub(crate) struct Fleet {
    _manager: Program,
    nodes: Vec<Program>,
    pub(crate) grpc: String,
    pub(crate) ws: Vec<String>,
}

impl Fleet {
    /// Starts so many nodes with these further flags; ready when it returns.
    pub(crate) fn start(nodes: usize, flags: &[&str], directory: &Path) -> anyhow::Result<Self> {
        let mut started = Vec::new();
        for n in 0..nodes {
            let id = format!("n{n}");
            let flags: Vec<&str> = ["--shards", "1", "--node-id", &id].iter().chain(flags).copied().collect();
            started.push(start(&id, "connect-node", None, &flags, directory)?);
        }
        let (nodes, at): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let listed = at.iter().map(|at| at.grpc.as_str()).collect::<Vec<_>>().join(",");
        let (manager, manager_at) =
            start("push-manager", "push-manager", None, &["--nodes", &listed], directory)?;
        wait_until_ready(&manager_at.http)?;
        for at in &at {
            wait_until_ready(&at.http)?;
        }
        let ws = at.into_iter().map(|at| at.ws).collect();
        Ok(Self { _manager: manager, nodes, grpc: manager_at.grpc, ws })
    }

    /// SIGKILL to a node.
    pub(crate) fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].kill().with_context(|| format!("node {node}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_log_tells_the_addresses() {
        let line =
            r#"{"level":"INFO","message":"listening","grpc_addr":"h:1","http_addr":"h:2","ws_addr":"h:3"}"#;
        let found = addresses(line).unwrap();
        assert_eq!((found.grpc.as_str(), found.http.as_str(), found.ws.as_str()), ("h:1", "h:2", "h:3"));
        assert!(addresses(r#"{"message":"linked"}"#).is_none());
        assert!(addresses("not JSON").is_none());
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let answer = "# HELP a_total x\na_total_more 7\na_total{l=\"x\"} 8\na_total 9\n";
        assert_eq!(metric(answer, "a_total"), Some(9.0));
        assert_eq!(metric(answer, "b_total"), None);
    }
}
