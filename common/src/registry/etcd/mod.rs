//! The registry in etcd: one [`watcher`] per kind reads, one [`keeper`] per registration writes.
//!
//! Each of them has its own connection to one endpoint at a time ([`connection`]) and moves on to the
//! next endpoint after any failure. The client's own balancing over several would send every second
//! request to a dead one. [`health`] joins them to one outage: one log line, one gauge.

mod connection;
mod health;
mod keeper;
mod set;
mod watcher;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    record::{Kind, Record, Snapshot},
    registration::{RegisterError, Registration},
};
use health::Health;
use keeper::Keeper;
use watcher::Watcher;

/// How to reach etcd, checked and with its files already read.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// Full URLs; each is tried in turn.
    pub endpoints: Vec<String>,
    /// Where our records are, without a slash at the end.
    pub prefix: String,
    /// Whole seconds, at least one.
    pub lease: Duration,
    /// Who we are to etcd, if it asks.
    pub user: Option<EtcdUser>,
    /// TLS, if any endpoint is `https`.
    pub tls: Option<EtcdTls>,
    /// Begins our metrics' names: `push_manager` or `connect_node`.
    pub component: &'static str,
}

/// Name and password. Debug output hides the password.
#[derive(Clone)]
pub struct EtcdUser {
    /// etcd's user name.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// TLS to etcd, all in PEM form. Debug output hides the key.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Certificates etcd's is checked against; `None`: those of the system.
    pub ca: Option<String>,
    /// Our certificate and its key, if etcd asks for one.
    pub identity: Option<(String, String)>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.is_some();
        f.debug_struct("EtcdTls").field("ca", &self.ca.is_some()).field("identity", &identity).finish()
    }
}

/// The backend: the settings, and how all its tasks together are doing.
#[derive(Debug)]
pub(crate) struct Etcd {
    settings: EtcdSettings,
    health: Arc<Health>,
}

impl Etcd {
    pub(crate) fn new(settings: EtcdSettings) -> Arc<Self> {
        let health = Health::new(settings.component);
        Arc::new(Self { settings, health })
    }

    /// Keeps `set` like etcd's records of one kind until the registry is closed.
    pub(crate) async fn watch(
        self: Arc<Self>,
        kind: Kind,
        set: watch::Sender<Snapshot>,
        closed: CancellationToken,
    ) {
        let watcher = Watcher::new(&self, kind, set);
        tokio::select! {
            () = closed.cancelled() => {}
            () = watcher.run() => {}
        }
    }

    /// Writes the record, however long that takes, and spawns the task that keeps it.
    pub(crate) async fn register(
        self: Arc<Self>,
        kind: Kind,
        record: Record,
        tasks: &TaskTracker,
        closed: CancellationToken,
    ) -> Result<Registration, RegisterError> {
        let state = record.state;
        let mut keeper = Keeper::new(&self, kind, record);
        tokio::select! {
            () = closed.cancelled() => return Err(RegisterError::Closed),
            first = keeper.acquire_first() => first?,
        }
        Ok(Registration::new(state, |holder| tasks.spawn(keeper.run(holder, closed))))
    }
}

impl EtcdSettings {
    /// etcd counts leases in whole seconds and takes none of zero.
    fn lease(&self) -> Duration {
        Duration::from_secs(self.lease.as_secs().max(1))
    }

    /// `{prefix}/nodes/` or `{prefix}/managers/`.
    fn directory(&self, kind: Kind) -> String {
        format!("{}/{}/", self.prefix, kind.segment())
    }
}
