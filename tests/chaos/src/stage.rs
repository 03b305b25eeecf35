//! A fleet whose processes can be broken and started again at the same addresses.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pushcast_tests::{
    etcd::Etcd,
    fleet::{Flags, Fleet, Manager, Node},
    ports::free_port,
    processes::Process,
    proxy::Proxy,
};
use pushctl::push::PushClient;
use tempfile::TempDir;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::resumes::SharedResumes;

/// A process that is told to end does so within this time.
const EXIT: Duration = Duration::from_secs(30);

/// Everything that can break.
#[derive(Debug)]
pub struct Stage {
    /// The managers, m1 first.
    pub managers: Vec<ManagerSlot>,
    /// The nodes, n1 first.
    pub nodes: Vec<Arc<NodeSlot>>,
    /// Between etcd and everybody else.
    pub etcd_line: Proxy,
    /// The registry itself.
    pub etcd: Mutex<Etcd>,
    /// Why nodes could not make clients whole.
    pub resumes: SharedResumes,
    _readers: JoinSet<()>,
    files: Arc<Files>,
}

/// The key, and what processes logged.
#[derive(Debug)]
struct Files {
    directory: TempDir,
    kept: AtomicU32,
}

impl Files {
    fn keep_log(&self, name: &str, process: &Process) {
        let count = self.kept.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("{name}.{count}.log"));
        // Only for whoever looks for a cause.
        let _full_disk = std::fs::write(path, process.log());
    }
}

/// A manager's place.
#[derive(Debug)]
pub struct ManagerSlot {
    name: String,
    flags: Vec<(String, String)>,
    grpc: String,
    process: Mutex<Option<Manager>>,
    files: Arc<Files>,
}

/// A node's place.
#[derive(Debug)]
pub struct NodeSlot {
    id: String,
    flags: Vec<(String, String)>,
    ws: String,
    http: String,
    /// Between managers and it.
    pub line: Proxy,
    process: Mutex<Option<Node>>,
    resumes: SharedResumes,
    files: Arc<Files>,
}

fn here() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn owned(flags: &[(&str, &str)]) -> Vec<(String, String)> {
    flags.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect()
}

fn borrowed(flags: &[(String, String)]) -> Vec<(&str, &str)> {
    flags.iter().map(|(flag, value)| (flag.as_str(), value.as_str())).collect()
}

impl Stage {
    /// Sets it up and waits until everybody is ready. `node_flags` go to every node.
    ///
    /// # Panics
    /// If it does not stand in time.
    pub async fn set_up(managers: usize, nodes: usize, node_flags: Flags<'_>) -> Self {
        let directory = tempfile::Builder::new().prefix("pushcast-chaos-").tempdir();
        let directory = directory.expect("a temporary directory");
        let key_file = directory.path().join("ticket.key");
        std::fs::write(&key_file, STANDARD.encode(rand::random::<[u8; 32]>())).expect("a file");
        let files = Arc::new(Files { directory, kept: AtomicU32::new(1) });
        let etcd = Etcd::start().await;
        let etcd_line = Proxy::to(&etcd.endpoint());
        let endpoint = etcd_line.addr();
        let registry = Fleet::registry_flags(&endpoint);
        let resumes = SharedResumes::default();
        let mut stage = Self {
            managers: Vec::new(),
            nodes: Vec::new(),
            etcd_line,
            etcd: Mutex::new(etcd),
            resumes: Arc::clone(&resumes),
            _readers: JoinSet::new(),
            files: Arc::clone(&files),
        };
        for number in 1..=managers {
            let (grpc, http) = (here(), here());
            let mut flags = registry.to_vec();
            flags.extend([("--grpc-addr", grpc.as_str()), ("--http-addr", http.as_str())]);
            let slot = ManagerSlot {
                name: format!("m{number}"),
                flags: owned(&flags),
                grpc: grpc.clone(),
                process: Mutex::new(None),
                files: Arc::clone(&files),
            };
            slot.start().await;
            stage.managers.push(slot);
        }
        for number in 1..=nodes {
            let (ws, grpc, http) = (here(), here(), here());
            let line = Proxy::to(&grpc);
            let advertised = line.addr();
            let mut flags = registry.to_vec();
            flags.extend([
                ("--ws-addr", ws.as_str()),
                ("--grpc-addr", grpc.as_str()),
                ("--http-addr", http.as_str()),
                ("--advertise-addr", advertised.as_str()),
                ("--ticket-key-file", key_file.to_str().expect("a plain path")),
                ("--drain-spread", "1s"),
                ("--shards", "2"),
            ]);
            flags.extend_from_slice(node_flags);
            let slot = Arc::new(NodeSlot {
                id: format!("n{number}"),
                flags: owned(&flags),
                ws: ws.clone(),
                http: http.clone(),
                line,
                process: Mutex::new(None),
                resumes: Arc::clone(&resumes),
                files: Arc::clone(&files),
            });
            slot.start().await;
            stage.nodes.push(Arc::clone(&slot));
            stage._readers.spawn(async move {
                loop {
                    sleep(Duration::from_millis(500)).await;
                    slot.read_resumes().await;
                }
            });
        }
        stage.settled().await;
        stage
    }

    /// Waits until everybody is ready, and every manager linked to every node.
    pub async fn settled(&self) {
        let ids: Vec<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        for manager in &self.managers {
            manager.ready().await;
        }
        for node in &self.nodes {
            node.ready().await;
        }
        for manager in &self.managers {
            if let Some(manager) = &*manager.process.lock().await {
                manager.knows(&ids, EXIT).await;
            }
        }
    }

    /// Where clients connect.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("ws://{}/ws", node.ws)).collect()
    }

    /// A client of each manager.
    ///
    /// # Panics
    /// Never: the addresses are our own.
    pub fn pushers(&self) -> Vec<PushClient> {
        let client = |slot: &ManagerSlot| PushClient::new(&slot.grpc).expect("an address");
        self.managers.iter().map(client).collect()
    }

    /// Keeps what everybody logged, and says where.
    pub async fn keep_logs(&self) -> PathBuf {
        for slot in &self.nodes {
            if let Some(node) = &*slot.process.lock().await {
                self.files.keep_log(&slot.id, &node.process);
            }
        }
        for slot in &self.managers {
            if let Some(manager) = &*slot.process.lock().await {
                self.files.keep_log(&slot.name, &manager.process);
            }
        }
        let kept = std::env::temp_dir().join(format!("pushcast-chaos-logs-{}", std::process::id()));
        let kept = kept.join(self.files.directory.path().file_name().unwrap_or_default());
        copy_all(self.files.directory.path(), &kept);
        kept
    }
}

fn copy_all(from: &Path, to: &Path) {
    let _there_already = std::fs::create_dir_all(to);
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let _full_disk = std::fs::copy(entry.path(), to.join(entry.file_name()));
    }
}

impl ManagerSlot {
    /// Starts one, if none runs.
    pub async fn start(&self) {
        let mut process = self.process.lock().await;
        if process.is_none() {
            *process = Some(Manager::start(&self.name, &borrowed(&self.flags)).await);
        }
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        self.end(Process::kill).await;
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        self.end(Process::terminate).await;
    }

    async fn end(&self, how: fn(&Process)) {
        if let Some(mut manager) = self.process.lock().await.take() {
            how(&manager.process);
            manager.process.exit(EXIT).await;
            self.files.keep_log(&self.name, &manager.process);
        }
    }

    /// Waits until it takes pushes.
    pub async fn ready(&self) {
        if let Some(manager) = &*self.process.lock().await {
            manager.ready().await;
        }
    }
}

impl NodeSlot {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts one, if none runs.
    pub async fn start(&self) {
        let mut process = self.process.lock().await;
        if process.is_none() {
            *process = Some(Node::start(&self.id, &borrowed(&self.flags)).await);
        }
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        self.read_resumes().await;
        if let Some(mut node) = self.process.lock().await.take() {
            node.process.kill();
            node.process.exit(EXIT).await;
            self.files.keep_log(&self.id, &node.process);
        }
    }

    /// Drains it and waits for its end.
    pub async fn drain(&self) {
        if let Some(mut node) = self.process.lock().await.take() {
            self.resumes.read(node.process.pid(), &self.http).await;
            node.process.terminate();
            node.process.exit(EXIT).await;
            self.files.keep_log(&self.id, &node.process);
        }
    }

    /// SIGSTOP for a time.
    pub async fn freeze(&self, for_so_long: Duration) {
        let process = self.process.lock().await;
        if let Some(node) = &*process {
            node.process.freeze();
            sleep(for_so_long).await;
            node.process.thaw();
        }
    }

    /// Waits until it takes clients.
    pub async fn ready(&self) {
        if let Some(node) = &*self.process.lock().await {
            node.ready().await;
        }
    }

    /// Reads its metrics.
    pub async fn read_resumes(&self) {
        // Whoever breaks it now reads first.
        let pid = self.process.try_lock().ok().and_then(|node| node.as_ref().map(|node| node.process.pid()));
        if let Some(pid) = pid {
            self.resumes.read(pid, &self.http).await;
        }
    }
}
