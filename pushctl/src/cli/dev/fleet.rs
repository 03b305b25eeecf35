//! One manager and its nodes as tasks of this process, found through a registry in memory.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use push_manager::{Extras, trace::Tracer};
use pushcast_common::{
    registry::{Kind, Registry, Snapshot, State},
    shutdown::Shutdown,
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    addresses::{Addresses, Sockets},
    feed::Feed,
    nodes::Keeper,
    observer::Observer,
    page,
};

/// Pushes a second that the page is told of one by one; more cannot be followed by eye.
const TRACED_PER_SECOND: u64 = 40;

/// Nothing outside this process has to answer, so it is up at once or not at all.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The manager waits 10 s at most for its nodes to acknowledge; nothing else takes long.
const END_WITHIN: Duration = Duration::from_secs(15);

/// A running fleet; all of it ends with it.
#[derive(Debug)]
pub(super) struct Fleet {
    addresses: Addresses,
    registry: Registry,
    tasks: JoinSet<anyhow::Result<()>>,
    /// The nodes go first, so that the manager sees everything acknowledged.
    manager_stop: Shutdown,
    nodes_gone: oneshot::Receiver<()>,
}

impl Fleet {
    /// Starts everything. Its nodes drain when `shutdown` begins, then the manager.
    pub(super) fn start(sockets: Sockets, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let Sockets { manager, nodes, addresses } = sockets;
        let registry = Registry::memory();
        let mut tasks = JoinSet::new();

        let (keeper, nodes) = Keeper::start(&addresses.nodes, nodes, registry.clone());
        let (all_gone, nodes_gone) = oneshot::channel();
        let stop = shutdown.clone();
        tasks.spawn(async move {
            // Told by being dropped.
            let _all_gone = all_gone;
            keeper.run(stop).await
        });

        let tracer = Tracer::new(TRACED_PER_SECOND);
        let feed = Feed::default();
        let observer = Observer::new(&addresses, nodes.clone(), tracer.clone(), feed.clone())?;
        let pages = page::router(feed, nodes, shutdown.clone());
        let extras = Extras { pages, local_pages_only: true, tracer: Some(tracer) };
        let manager_stop = Shutdown::new();
        let (config, stop, shared) =
            (push_manager::Config::default(), manager_stop.clone(), registry.clone());
        tasks.spawn(async move {
            push_manager::run_with(config, manager, shared, stop, extras).await.context("the manager")
        });
        tasks.spawn(async move {
            observer.run().await;
            Ok(())
        });
        Ok(Self { addresses, registry, tasks, manager_stop, nodes_gone })
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until the manager takes pushes and every node takes clients.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let (mut managers, mut nodes) = (self.registry.watch(Kind::Manager), self.registry.watch(Kind::Node));
        let n_nodes = self.addresses.nodes.len();
        let all_ready = async {
            managers.wait_for(|managers| n_ready(managers) == 1).await?;
            nodes.wait_for(|nodes| n_ready(nodes) == n_nodes).await?;
            anyhow::Ok(())
        };
        tokio::select! {
            ready = all_ready => ready,
            failed = next_end(&mut self.tasks) => Err(failed),
            () = sleep(READY_WITHIN) => Err(anyhow!("the fleet did not get ready within {READY_WITHIN:?}")),
        }
    }

    /// Goes on until asked to stop; fails when a part fails.
    pub(super) async fn live(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = shutdown.begun() => Ok(()),
            failed = next_end(&mut self.tasks) => Err(failed),
        }
    }

    /// Waits for the nodes to drain, stops the manager, and ends what is left. A second signal does not wait.
    pub(super) async fn end(mut self, shutdown: &Shutdown) {
        let orderly = async {
            let _dropped = (&mut self.nodes_gone).await;
            self.manager_stop.begin();
            // The observer never ends by itself.
            while self.tasks.len() > 1 {
                let _ended = self.tasks.join_next().await;
            }
        };
        tokio::select! {
            _elapsed = timeout(END_WITHIN, orderly) => {}
            () = shutdown.forced() => {}
        }
        self.tasks.shutdown().await;
        self.registry.close().await;
    }
}

fn n_ready(snapshot: &Snapshot) -> usize {
    snapshot.records.values().filter(|record| record.state == State::Ready).count()
}

/// Why the first part ended that should not have.
async fn next_end(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    match tasks.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        Some(Ok(Ok(()))) | None => anyhow!("a part of the fleet ended by itself"),
    }
}
