//! An etcd of our own on free ports, killed at the end.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use etcd_client::Client;
use tempfile::TempDir;

use crate::ports::free_port;

pub(crate) struct Etcd {
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    scheme: &'static str,
    extra: Vec<String>,
    process: Option<Child>,
}

impl Etcd {
    /// Started and answering.
    pub(crate) async fn start() -> Self {
        let mut etcd = Self::stopped("http", &[]);
        etcd.run().await;
        etcd
    }

    /// With ports chosen, but not running yet.
    pub(crate) fn stopped(scheme: &'static str, extra: &[String]) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            client_port: free_port(),
            peer_port: free_port(),
            scheme,
            extra: extra.to_vec(),
            process: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr())
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it (again, on what data there is) and waits until it takes connections.
    pub(crate) async fn run(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            // A lease cannot be shorter than one and a half election times.
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .args(&self.extra)
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.path().join("log")).unwrap())
            .spawn()
            .expect("etcd must be installed for these tests");
        self.process = Some(child);
        let start = Instant::now();
        while tokio::net::TcpStream::connect(self.addr()).await.is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(30), "etcd does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Forgets everything; only while stopped.
    pub(crate) fn wipe(&self) {
        assert!(self.process.is_none());
        fs::remove_dir_all(self.data()).unwrap();
    }

    /// A plain client, for what no process of ours would do.
    pub(crate) async fn client(&self) -> Client {
        Client::connect([self.url()], None).await.unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}
