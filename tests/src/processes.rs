//! Our own programs as processes.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::eventually::eventually;

/// A program starts, binds and says so within this time, however busy the machine is.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Lines of a log shown when a test fails.
const LINES_SHOWN: usize = 60;

/// How long what a process printed at its end may take to be read on a busy machine.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A command that runs one of our binaries, without any of our variables in its environment.
///
/// # Panics
/// If the binary is not built.
pub fn command(binary: &str) -> Command {
    let path = binary_path(binary);
    assert!(
        path.is_file(),
        "{} is not built; run `cargo build --workspace` (or `make test`) first",
        path.display()
    );
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let ours = ["PUSH_MANAGER_", "CONNECT_NODE_", "PUSHCTL_", "RUST_LOG"];
        if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    let level = std::env::var("TEST_LOG").unwrap_or_else(|_unset| "info".to_owned());
    command.env("RUST_LOG", level).stdin(Stdio::null());
    command
}

/// Where cargo puts the binary: in the directory of this executable, or above it if this is a test.
fn binary_path(binary: &str) -> PathBuf {
    let own = std::env::current_exe().expect("Linux tells a process its executable");
    let mut directory = own.parent().expect("an executable is in a directory");
    if directory.ends_with("deps") {
        directory = directory.parent().expect("a test runs in target/<profile>/deps");
    }
    directory.join(binary)
}

/// A program that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not end in time.
pub async fn run(mut command: Command, within: Duration) -> Finished {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let text = format!("{command:?}");
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(within, output)
        .await
        .unwrap_or_else(|_elapsed| panic!("still running after {within:?}: {text}"))
        .unwrap_or_else(|error| panic!("cannot start {text}: {error}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Where a process of ours listens, as its first log line says.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// gRPC, `host:port`.
    pub grpc: String,
    /// HTTP, `host:port`.
    pub http: String,
    /// WebSocket, `host:port`; empty for managers.
    pub ws: String,
}

/// A running process. It is killed when dropped; if a test fails, its last log lines are printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts a command; `name` stands in failure messages.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let stdout = Lines::read(child.stdout.take().expect("it is piped"));
        let stderr = Lines::read(child.stderr.take().expect("it is piped"));
        Self { name, child, stdout, stderr }
    }

    /// Starts one of our binaries with these arguments.
    pub fn start_ours<S: AsRef<OsStr>>(
        name: impl Into<String>,
        binary: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = command(binary);
        command.args(arguments);
        Self::start(name, command)
    }

    /// Waits for the log line that names the addresses.
    ///
    /// # Panics
    /// If the process ends first, or does not say so in time.
    pub async fn listening(&mut self) -> Addresses {
        let name = self.name.clone();
        eventually(&format!("{name} listens"), START_TIMEOUT, async || {
            if let Some(addresses) = self.stderr.with(|lines| lines.iter().find_map(|line| addresses(line))) {
                return Ok(addresses);
            }
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                panic!("{name} ended with {status} instead of listening:\n{}", self.log());
            }
            Err(self.log())
        })
        .await
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGSTOP: it keeps its sockets, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child's pid is positive");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Waits for its end, and until all it said is read.
    ///
    /// # Panics
    /// If it is still running after that time.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("{name} ends"), within, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it is running".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        let since = Instant::now();
        // What it started itself may hold its output open for longer.
        while !(self.stdout.is_read() && self.stderr.is_read()) && since.elapsed() < LAST_WORDS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        status
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.stderr.with(|lines| lines.join("\n"))
    }

    /// Lines it printed to standard output so far.
    pub fn printed(&self) -> Vec<String> {
        self.stdout.with(|lines| lines.to_vec())
    }

    /// Its resident memory in bytes.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel counts it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }
}

impl Drop for Process {
    #[allow(clippy::print_stdout, reason = "shown by the test runner beside the failure it explains")]
    fn drop(&mut self) {
        // A frozen process is killed as well; one that has ended is only collected.
        let _ended = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            let status = status.map_or_else(
                |error| error.to_string(),
                |status| {
                    status
                        .code()
                        .map_or_else(|| format!("signal {:?}", status.signal()), |code| code.to_string())
                },
            );
            println!("--- {} (ended with {status}), last log lines:", self.name);
            self.stderr.with(|lines| {
                for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
                    println!("{line}");
                }
            });
        }
    }
}

fn addresses(line: &str) -> Option<Addresses> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = value.get("fields").unwrap_or(&value);
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    (text("message")?.trim_end_matches('.').eq_ignore_ascii_case("listening")).then_some(())?;
    Some(Addresses {
        grpc: text("grpc_addr")?,
        http: text("http_addr")?,
        ws: text("ws_addr").unwrap_or_default(),
    })
}

/// Collects a stream's lines on a thread of its own, so that the process never waits for us.
#[derive(Debug)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { lines, reader }
    }

    fn is_read(&self) -> bool {
        self.reader.is_finished()
    }

    fn with<T>(&self, look: impl FnOnce(&[String]) -> T) -> T {
        look(&self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
