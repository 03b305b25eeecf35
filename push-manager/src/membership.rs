//! The manager among the others: its own record, the set of nodes, the set of managers.

use std::sync::Arc;

use pushcast_common::registry::{
    Kind, Record, RegisterError, Registration, Registry, Snapshot, Source, State, Taken,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::hub::Hub;

/// Why a manager cannot stay.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// It cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Another process took its key.
    #[error("{0}")]
    Taken(Taken),
}

/// What the membership task needs.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Registry,
    pub(crate) record: Record,
    /// Nodes given by hand: known at once.
    pub(crate) fixed: Vec<String>,
    /// What the record shall say.
    pub(crate) state: watch::Receiver<State>,
    /// Becomes true when the record is written and the first list applied.
    pub(crate) joined: watch::Sender<bool>,
}

impl Membership {
    /// Registers, then follows both sets until cancelled, then revokes the record.
    pub(crate) async fn keep(mut self, stop: CancellationToken) -> Result<(), MembershipError> {
        if !self.fixed.is_empty() {
            self.hub.apply_nodes(&fixed_snapshot(&self.fixed));
        }
        // Registered before the nodes are listed: a node that comes up meanwhile sees this manager, or
        // this manager sees the node.
        let registered = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            registered = self.registry.register(Kind::Manager, self.record.clone()) => registered,
        };
        let registration = registered?;
        if self.registry.is_dynamic() {
            info!(manager = %self.hub.id, "Registered.");
        } else {
            info!(nodes = ?self.fixed, "No registry: the nodes are those of --nodes.");
        }
        let end = self.follow(&registration, &stop).await;
        registration.revoke().await;
        end
    }

    async fn follow(
        &mut self,
        registration: &Registration,
        stop: &CancellationToken,
    ) -> Result<(), MembershipError> {
        let mut nodes = self.registry.watch(Kind::Node);
        let mut managers = self.registry.watch(Kind::Manager);
        nodes.mark_changed();
        managers.mark_changed();
        self.state.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                taken = registration.taken() => return Err(MembershipError::Taken(taken)),
                Ok(()) = self.state.changed() => {
                    let state = *self.state.borrow_and_update();
                    registration.set_state(state);
                }
                Ok(()) = managers.changed() => {
                    let snapshot = managers.borrow_and_update().clone();
                    self.hub.apply_managers(&snapshot);
                }
                Ok(()) = nodes.changed() => {
                    let snapshot = nodes.borrow_and_update().clone();
                    self.hub.apply_nodes(&snapshot);
                    if snapshot.source == Source::Registry || !self.registry.is_dynamic() {
                        self.joined.send_replace(true);
                    }
                }
            }
        }
    }
}

fn fixed_snapshot(addrs: &[String]) -> Snapshot {
    let record = |addr: &String| {
        (addr.clone(), Record { id: addr.clone(), grpc_addr: addr.clone(), ..Record::default() })
    };
    Snapshot { source: Source::Fixed, records: Arc::new(addrs.iter().map(record).collect()) }
}
