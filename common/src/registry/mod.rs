//! Who else is there: a process registers itself and watches the others.
//!
//! Watchers see a value ([`Snapshot`] in a `watch` channel), never a protocol, so fan-out and links
//! do not know whether etcd, one process's memory or a fixed list stands behind it.

mod etcd;
mod fixed;
mod memory;
mod record;
mod registration;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use etcd::Etcd;
use memory::Memory;

pub use etcd::{EtcdSettings, EtcdTls, EtcdUser};
pub use record::{BadRecord, Kind, Record, Snapshot, Source, State, UnknownState};
pub use registration::{RegisterError, Registration, Taken};

/// A cheap handle to the registry; clones share everything.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    fixed_nodes: OnceLock<Vec<String>>,
    /// The sending ends, so that a receiver's `changed` fails only when the last handle is gone.
    watches: [OnceLock<watch::Sender<Snapshot>>; 2],
    tasks: TaskTracker,
    closed: CancellationToken,
}

enum Backend {
    Etcd(Arc<Etcd>),
    Memory(Arc<Memory>),
    Nothing,
}

impl Registry {
    /// The registry in etcd. Never fails: what cannot be reached is tried again for ever.
    pub fn etcd(settings: EtcdSettings) -> Self {
        Self::new(Backend::Etcd(Etcd::new(settings)))
    }

    /// A registry for the processes' parts that run in this one process, shared by its clones.
    ///
    /// A registration that is dropped without `revoke` leaves its record for 2 s, as a crash would
    /// leave it in etcd until its lease ends; another instance waits that long for the id.
    pub fn memory() -> Self {
        Self::new(Backend::Memory(Memory::new()))
    }

    /// No registry: snapshots stay [`Source::Fixed`], registering does nothing.
    pub fn none() -> Self {
        Self::new(Backend::Nothing)
    }

    /// Nodes (`host:port`) that make up the node set until the registry first answers, for ever
    /// with [`Registry::none`]. To be called before anything is watched.
    pub fn with_fixed_nodes(self, addrs: Vec<String>) -> Self {
        self.shared.fixed_nodes.get_or_init(|| addrs);
        self
    }

    fn new(backend: Backend) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                fixed_nodes: OnceLock::new(),
                watches: Default::default(),
                tasks: TaskTracker::new(),
                closed: CancellationToken::new(),
            }),
        }
    }

    /// The current set of one kind and every later one. The first call for a kind starts watching,
    /// so it must be made inside a tokio runtime. Losing the registry keeps the last set.
    pub fn watch(&self, kind: Kind) -> watch::Receiver<Snapshot> {
        self.shared.watches[kind.index()].get_or_init(|| self.start_watch(kind)).subscribe()
    }

    fn start_watch(&self, kind: Kind) -> watch::Sender<Snapshot> {
        let shared = &self.shared;
        let nodes = shared.fixed_nodes.get().map(Vec::as_slice);
        match &shared.backend {
            Backend::Memory(memory) => memory.sender(kind),
            Backend::Nothing => watch::Sender::new(fixed::first_snapshot(kind, nodes, false)),
            Backend::Etcd(etcd) => {
                let sender = watch::Sender::new(fixed::first_snapshot(kind, nodes, true));
                let task = Arc::clone(etcd).watch(kind, sender.clone(), shared.closed.clone());
                shared.tasks.spawn(task);
                sender
            }
        }
    }

    /// Writes our record and keeps it there. Waits for as long as the registry cannot be reached.
    ///
    /// If another instance holds the id, its lease is waited out once (a crashed predecessor is the
    /// usual case); if it still holds it then, that is [`RegisterError::Taken`].
    pub async fn register(&self, kind: Kind, record: Record) -> Result<Registration, RegisterError> {
        registration::check(&record)?;
        let shared = &self.shared;
        let closed = shared.closed.clone();
        match &shared.backend {
            Backend::Nothing => Ok(Registration::nowhere(record.state)),
            Backend::Memory(memory) => Arc::clone(memory).register(kind, record, &shared.tasks, closed).await,
            Backend::Etcd(etcd) => Arc::clone(etcd).register(kind, record, &shared.tasks, closed).await,
        }
    }

    /// Whether a registry stands behind this handle (not [`Registry::none`]).
    pub fn is_dynamic(&self) -> bool {
        !matches!(self.shared.backend, Backend::Nothing)
    }

    /// Ends all background tasks and waits for them. Revoke registrations before: one that is still
    /// there ends as in a crash. Watchers keep the last set.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.shared.backend {
            Backend::Etcd(_) => "Registry(etcd)",
            Backend::Memory(_) => "Registry(memory)",
            Backend::Nothing => "Registry(none)",
        })
    }
}
