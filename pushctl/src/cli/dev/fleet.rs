//! One manager and its nodes as tasks of this process, found through a registry in memory.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use push_manager::{Extras, trace::Tracer};
use pushcast_common::{
    registry::{Kind, Registry, Snapshot, State},
    shutdown::Shutdown,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    addresses::{Addresses, Sockets},
    feed::Feed,
    observer, page,
};

/// Pushes a second that the page is told of one by one; more cannot be followed by eye.
const TRACED_PER_SECOND: u64 = 40;

/// Clients of a stopping node are sent away over this time; there are not many, and somebody waits.
const DRAIN_SPREAD: Duration = Duration::from_millis(300);

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
    nodes_left: watch::Receiver<usize>,
}

impl Fleet {
    /// Starts everything. Its nodes drain when `shutdown` begins, then the manager.
    pub(super) fn start(sockets: Sockets, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let Sockets { manager, nodes, addresses } = sockets;
        let registry = Registry::memory();
        let mut tasks = JoinSet::new();

        let tracer = Tracer::new(TRACED_PER_SECOND);
        let feed = Feed::default();
        let observer = observer::Observer::new(&addresses, tracer.clone(), feed.clone())?;
        let pages = page::router(feed, shutdown.clone());
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

        let (left, nodes_left) = watch::channel(nodes.len());
        let left = Arc::new(left);
        for (listeners, address) in nodes.into_iter().zip(&addresses.nodes) {
            let config = connect_node::Config {
                node_id: Some(address.id.clone()),
                drain_spread: DRAIN_SPREAD,
                local_pages_only: true,
                ..connect_node::Config::local()
            };
            let (id, left) = (address.id.clone(), Arc::clone(&left));
            let running = connect_node::run(config, listeners, registry.clone(), shutdown.clone());
            tasks.spawn(async move {
                let ended = running.await.with_context(|| format!("node {id}"));
                left.send_modify(|left| *left -= 1);
                ended
            });
        }
        Ok(Self { addresses, registry, tasks, manager_stop, nodes_left })
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
            // An error says that all nodes have ended.
            let _ended = self.nodes_left.wait_for(|left| *left == 0).await;
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
