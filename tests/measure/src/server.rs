//! A manager and a node as processes of their own, pinned, and what they use.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};

/// Clock ticks per second in /proc; 100 on every Linux that this runs on.
const TICKS: f64 = 100.0;

pub(crate) struct Servers {
    _manager: Program,
    node: Program,
    pub(crate) grpc: String,
    pub(crate) ws: String,
}

/// A manager and some nodes that it has by name, on all cores.
pub(crate) struct Fleet {
    _manager: Program,
    nodes: Vec<Program>,
    pub(crate) grpc: String,
    pub(crate) ws: Vec<String>,
}

impl Fleet {
    /// Starts so many nodes with these further flags; ready when it returns.
    pub(crate) async fn start(nodes: usize, node_flags: &[&str]) -> anyhow::Result<Self> {
        let open = ["--fleet-auth", "none", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (mut programs, mut grpc, mut ws, mut http) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..nodes {
            let id = format!("n{n}");
            let flags = ["--auth", "none", "--ws-addr", "127.0.0.1:0", "--shards", "1", "--node-id", &id];
            let all = open.iter().chain(&flags).chain(node_flags).copied();
            let (program, at) = start("connect-node", ALL_CORES, all)?;
            programs.push(program);
            grpc.push(text(&at, "grpc_addr"));
            ws.push(text(&at, "ws_addr"));
            http.push(text(&at, "http_addr"));
        }
        let listed = grpc.join(",");
        let flags = ["--api-auth", "none", "--nodes", &listed];
        let (manager, at) = start("push-manager", ALL_CORES, open.iter().chain(&flags).copied())?;
        http.push(text(&at, "http_addr"));
        for http in http {
            wait_until_ready(&http).await?;
        }
        Ok(Self { _manager: manager, nodes: programs, grpc: text(&at, "grpc_addr"), ws })
    }

    /// SIGKILL to a node.
    pub(crate) fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        Ok(self.nodes[node].child.kill()?)
    }
}

/// Both of this machine's.
const ALL_CORES: &str = "0,1";

/// A process, and the thread that reads its log.
struct Program {
    child: Child,
    log: Option<thread::JoinHandle<()>>,
}

impl Servers {
    /// Starts both from beside this program; ready when it returns.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let open = ["--fleet-auth", "none", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let flags = ["--auth", "none", "--ws-addr", "127.0.0.1:0", "--shards", "1"];
        let (node, at) = start("connect-node", "0", open.iter().chain(&flags).copied())?;
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let nodes = text(&at, "grpc_addr");
        let flags = ["--api-auth", "none", "--nodes", &nodes];
        let (manager, manager_at) = start("push-manager", "1", open.iter().chain(&flags).copied())?;
        let servers =
            Self { _manager: manager, node, grpc: text(&manager_at, "grpc_addr"), ws: text(&at, "ws_addr") };
        for http in [text(&manager_at, "http_addr"), text(&at, "http_addr")] {
            wait_until_ready(&http).await?;
        }
        Ok(servers)
    }

    /// Processor time of the node so far.
    pub(crate) fn node_cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.node.child.id()))?;
        let after_name = stat.rsplit_once(')').context("a process has a name")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let ticks: f64 = ticks.sum::<Result<f64, _>>()?;
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }

    /// Resident memory of the node, bytes.
    pub(crate) fn node_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.node.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has memory")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            // Its log ends with it.
            let _ = log.join();
        }
    }
}

/// Has this thread run on one core.
pub(crate) fn pin_self(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Processor time of this thread so far.
pub(crate) fn thread_cpu() -> anyhow::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

fn start<'a>(
    binary: &str,
    cores: &str,
    flags: impl Iterator<Item = &'a str>,
) -> anyhow::Result<(Program, Value)> {
    let path = std::env::current_exe()?.with_file_name(binary);
    let mut child = Command::new("taskset")
        .args(["-c", cores])
        .arg(&path)
        .args(flags)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", path.display()))?;
    let mut log = BufReader::new(child.stderr.take().context("it is piped")?);
    let mut line = String::new();
    log.read_line(&mut line)?;
    let at = serde_json::from_str(&line).with_context(|| format!("{binary} said: {line}"))?;
    // Somebody has to read what it says, or it would stop when the pipe is full.
    let log = thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
    Ok((Program { child, log: Some(log) }, at))
}

async fn wait_until_ready(http: &str) -> anyhow::Result<()> {
    while !is_ready(http).await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn is_ready(http: &str) -> anyhow::Result<bool> {
    let mut socket = TcpStream::connect(http).await?;
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
