//! Owns the link tasks: one for each known node.

use std::{collections::HashMap, sync::Arc};

use pushcast_common::fleet_auth::FleetAuth;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{answers::NodeKey, hub::Hub, link, nodes::Change};

/// The links of a manager.
#[derive(Debug)]
pub(crate) struct Fleet {
    hub: Arc<Hub>,
    auth: FleetAuth,
    links: JoinSet<()>,
    running: HashMap<NodeKey, (Id, CancellationToken)>,
    /// Nodes whose old link has to end before the new one begins.
    again: Vec<NodeKey>,
}

impl Fleet {
    pub(crate) fn new(hub: Arc<Hub>, auth: FleetAuth) -> Self {
        Self { hub, auth, links: JoinSet::new(), running: HashMap::new(), again: Vec::new() }
    }

    /// Follows the set of nodes until cancelled. Then every link ends: by Close if
    /// [`Hub::close_links`] was called and everything is acknowledged on it, else when `cut` comes.
    pub(crate) async fn run(mut self, stop: CancellationToken, cut: CancellationToken) {
        loop {
            tokio::select! {
                // No link may begin once the others were told to close.
                biased;
                () = stop.cancelled() => break,
                () = self.hub.changed() => self.follow_changes(),
                Some(ended) = self.links.join_next_with_id() => self.ended(ended),
            }
        }
        self.end(&cut).await;
    }

    async fn end(mut self, cut: &CancellationToken) {
        loop {
            tokio::select! {
                () = cut.cancelled() => break,
                ended = self.links.join_next_with_id() => match ended {
                    Some(ended) => raise(ended.map(|_| ())),
                    None => return,
                },
            }
        }
        for (_, cancel) in self.running.values() {
            cancel.cancel();
        }
        while let Some(ended) = self.links.join_next().await {
            raise(ended);
        }
    }

    fn follow_changes(&mut self) {
        for change in self.hub.take_changes() {
            match change {
                Change::Added(key) => {
                    info!(key = key.0, node = self.hub.node_name(key), "Node is known.");
                    self.start(key);
                }
                Change::Relink(key) => match self.running.get(&key) {
                    Some((_, cancel)) => {
                        cancel.cancel();
                        self.again.push(key);
                    }
                    None => self.start(key),
                },
                Change::Removed(key) => {
                    info!(key = key.0, "Node is gone.");
                    self.again.retain(|again| *again != key);
                    if let Some((_, cancel)) = self.running.get(&key) {
                        cancel.cancel();
                    }
                }
            }
        }
    }

    fn start(&mut self, key: NodeKey) {
        let cancel = CancellationToken::new();
        let keeping = link::keep(Arc::clone(&self.hub), key, self.auth.clone(), cancel.clone());
        let task = self.links.spawn(keeping);
        self.running.insert(key, (task.id(), cancel));
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
        raise(ended.map(|_| ()));
        let key = self.running.iter().find(|(_, (task, _))| *task == id).map(|(key, _)| *key);
        let Some(key) = key else { return };
        self.running.remove(&key);
        if let Some(index) = self.again.iter().position(|again| *again == key) {
            self.again.swap_remove(index);
            self.start(key);
        }
    }
}

/// A link task that panicked has broken an invariant of the manager: the manager must end too.
fn raise(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
