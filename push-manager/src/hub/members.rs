//! The set of nodes and of the other managers.

use pushcast_common::{id::ManagerId, registry::Snapshot};

use super::{Core, Hub, links::Link};
use crate::nodes::Change;

impl Hub {
    /// Takes the present set of nodes.
    pub(crate) fn apply_nodes(&self, snapshot: &Snapshot) {
        self.with(|core, now| {
            for change in core.nodes.apply(snapshot) {
                core.record(Some(change));
            }
            core.settle(now);
        });
        self.changed.notify_one();
        self.progress.notify_one();
    }

    /// Takes the present set of managers.
    pub(crate) fn apply_managers(&self, snapshot: &Snapshot) {
        let own = self.id.0;
        let ids = snapshot.records.keys().filter_map(|id| id.parse::<ManagerId>().ok());
        let managers: Vec<u64> = ids.map(|id| id.0).filter(|&id| id != own).collect();
        self.with(|core, now| {
            if core.identity.managers.iter().any(|before| !managers.contains(before)) {
                // The clock may have gone back meanwhile.
                core.identity.manager_gone_at = core.identity.manager_gone_at.max(now.wall);
            }
            core.identity.managers = managers;
        });
    }

    /// Whether every listed node has answered Hello at least once.
    pub(crate) fn all_listed_have_linked(&self) -> bool {
        self.with(|core, _| core.nodes.all_listed_have_linked())
    }

    /// What the fleet has to do since it last asked.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        self.with(|core, _| std::mem::take(&mut core.changes))
    }

    /// Resolves when there may be changes to take. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Core {
    /// Keeps answers and links in step with the nodes, and notes the change for the fleet.
    pub(super) fn record(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        match &change {
            Change::Added(key) => {
                if let Some(node) = self.nodes.get(*key) {
                    self.answers.add_node(*key, node.name());
                    self.links.insert(*key, Link::new(self.log.newest()));
                }
            }
            Change::Removed(key) => {
                self.answers.remove_node(*key);
                if let Some(mut link) = self.links.remove(key) {
                    self.wakes.extend(link.waker.take());
                }
            }
            Change::Relink(_) => {}
        }
        self.changes.push(change);
    }
}
