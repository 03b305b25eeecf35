//! A real etcd of a test's own.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use etcd_client::{Client, DeleteOptions, GetOptions};
use tempfile::TempDir;

use crate::{
    eventually::{check, eventually},
    http,
    ports::free_port,
    processes::Process,
};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// An etcd server with a data directory of its own; stopped and removed when dropped.
#[derive(Debug)]
pub struct Etcd {
    data: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Option<Process>,
}

impl Etcd {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let mut etcd = Self::stopped();
        etcd.restart().await;
        etcd
    }

    /// One with an address, which does not run yet.
    ///
    /// # Panics
    /// If no directory can be made.
    pub fn stopped() -> Self {
        let data =
            tempfile::Builder::new().prefix("pushcast-etcd-").tempdir().expect("a temporary directory");
        Self { data, client_port: free_port(), peer_port: free_port(), process: None }
    }

    /// Starts it again on what data it has.
    ///
    /// # Panics
    /// If etcd is not installed or does not start.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "etcd is running already");
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new("etcd");
        command
            .arg("--name=test")
            .arg(format!("--data-dir={}", self.data.path().join("data").display()))
            .arg(format!("--listen-client-urls={}", url(self.client_port)))
            .arg(format!("--advertise-client-urls={}", url(self.client_port)))
            .arg(format!("--listen-peer-urls={}", url(self.peer_port)))
            .arg(format!("--initial-advertise-peer-urls={}", url(self.peer_port)))
            .arg(format!("--initial-cluster=test={}", url(self.peer_port)))
            // One member elects itself; with the defaults that alone takes a second.
            .args(["--heartbeat-interval=20", "--election-timeout=200", "--log-level=error", "--logger=zap"]);
        self.process = Some(Process::start("etcd", command));
        let addr = self.endpoint();
        eventually("etcd is healthy", START_TIMEOUT, async || {
            let health = http::get(&addr, "/health").await?;
            check(health.text().contains("true"), || health.text())
        })
        .await;
    }

    /// Kills it; its data stay.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Removes its data while it is stopped.
    ///
    /// # Panics
    /// If it runs.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "stop etcd first");
        let data = self.data.path().join("data");
        std::fs::remove_dir_all(&data).expect("etcd has written data there");
    }

    /// Where clients find it, `host:port`.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// A client of it.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.expect("etcd is running")
    }

    /// Writes a value.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) {
        self.client().await.put(key, value, None).await.expect("etcd is running");
    }

    /// Deletes a key.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn delete(&self, key: &str) {
        self.client().await.delete(key, None).await.expect("etcd is running");
    }

    /// Deletes everything under a prefix, leaving the leases.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn delete_all(&self, prefix: &str) {
        let options = DeleteOptions::new().with_prefix();
        self.client().await.delete(prefix, Some(options)).await.expect("etcd is running");
    }

    /// The value of a key.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn get(&self, key: &str) -> Option<String> {
        let answer = self.client().await.get(key, None).await.expect("etcd is running");
        answer.kvs().first().map(|kv| String::from_utf8_lossy(kv.value()).into_owned())
    }

    /// All keys under a prefix.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let answer = self.client().await.get(prefix, Some(options)).await.expect("etcd is running");
        answer.kvs().iter().map(|kv| String::from_utf8_lossy(kv.key()).into_owned()).collect()
    }

    /// Writes a little, then forgets every revision before: whoever asks for one of them is refused.
    ///
    /// # Panics
    /// If etcd refuses.
    pub async fn compact(&self) {
        let mut client = self.client().await;
        let mut revision = 0;
        for _ in 0..3 {
            let value = format!("{:?}", Instant::now());
            let answer = client.put("/compaction", value, None).await.expect("etcd is running");
            revision = answer.header().expect("every answer has one").revision();
        }
        client.compact(revision, None).await.expect("the revision is the newest");
    }
}
