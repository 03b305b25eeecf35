//! A registry inside one process, behind the same seam as etcd.
//!
//! It keeps etcd's manners where they matter to others: a key belongs to one instance, and a
//! registration that is dropped (not revoked) leaves its record until its lease ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    record::{Kind, Record, Snapshot, Source},
    registration::{Holder, RegisterError, Registration, Taken},
};

/// How long the record of a dropped registration stays, as a crashed process's would in etcd.
pub(crate) const MEMORY_LEASE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Memory {
    /// The sets themselves live in the channels that watchers read.
    sets: [watch::Sender<Snapshot>; 2],
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        let set = || watch::Sender::new(Snapshot::new(Source::Registry, BTreeMap::new()));
        Arc::new(Self { sets: [set(), set()] })
    }

    pub(crate) fn sender(&self, kind: Kind) -> watch::Sender<Snapshot> {
        self.sets[kind.index()].clone()
    }

    pub(crate) async fn register(
        self: Arc<Self>,
        kind: Kind,
        record: Record,
        tasks: &TaskTracker,
        closed: CancellationToken,
    ) -> Result<Registration, RegisterError> {
        let deadline = Instant::now() + MEMORY_LEASE + MEMORY_LEASE / 4;
        let mut set = self.sets[kind.index()].subscribe();
        while let Some(other) = self.insert(kind, &record) {
            let freed = set.wait_for(|set| !set.records.contains_key(&record.id));
            tokio::select! {
                _ = closed.cancelled() => return Err(RegisterError::Closed),
                freed = timeout_at(deadline, freed) => if freed.is_err() {
                    return Err(Taken::by(kind, &other).into());
                },
            }
        }
        let state = record.state;
        let spawn = |holder| tasks.spawn(Arc::clone(&self).hold(kind, record, holder, closed));
        Ok(Registration::new(state, spawn))
    }

    /// Follows the registration until it is revoked, dropped or the registry closes.
    async fn hold(
        self: Arc<Self>,
        kind: Kind,
        mut record: Record,
        mut holder: Holder,
        closed: CancellationToken,
    ) {
        let lease_end = loop {
            tokio::select! {
                () = closed.cancelled() => return,
                () = holder.revoke.cancelled() => break Instant::now(),
                changed = holder.state.changed() => {
                    if changed.is_err() {
                        break Instant::now() + MEMORY_LEASE;
                    }
                    record.state = *holder.state.borrow_and_update();
                    self.insert(kind, &record);
                }
            }
        };
        tokio::select! {
            () = closed.cancelled() => {}
            () = sleep_until(lease_end) => self.remove(kind, &record),
        }
    }

    /// Writes the record unless another instance holds the id; then that one is returned.
    fn insert(&self, kind: Kind, record: &Record) -> Option<Record> {
        let mut other = None;
        self.sets[kind.index()].send_if_modified(|set| match set.records.get(&record.id) {
            Some(held) if held.instance != record.instance => {
                other = Some(held.clone());
                false
            }
            Some(held) if held == record => false,
            _ => {
                Arc::make_mut(&mut set.records).insert(record.id.clone(), record.clone());
                true
            }
        });
        other
    }

    fn remove(&self, kind: Kind, record: &Record) {
        self.sets[kind.index()].send_if_modified(|set| match set.records.get(&record.id) {
            Some(held) if held.instance == record.instance => {
                Arc::make_mut(&mut set.records).remove(&record.id);
                true
            }
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use crate::registry::{Kind, Record, RegisterError, Registry, Source, State};

    fn record(id: &str, instance: &str) -> Record {
        Record { id: id.into(), instance: instance.into(), grpc_addr: "h:1".into(), ..Record::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn records_come_change_and_go() {
        let registry = Registry::memory();
        let mut nodes = registry.clone().watch(Kind::Node);
        assert_eq!(nodes.borrow().source, Source::Registry);
        let registration = registry.register(Kind::Node, record("a", "1")).await.unwrap();
        assert_eq!(nodes.borrow_and_update().records["a"].state, State::Starting);
        registration.set_state(State::Ready);
        nodes.changed().await.unwrap();
        assert_eq!(nodes.borrow_and_update().records["a"].state, State::Ready);
        assert!(registry.watch(Kind::Manager).borrow().records.is_empty());
        registration.revoke().await;
        assert!(nodes.borrow_and_update().records.is_empty());
        registry.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_registration_leaves_its_record_until_the_lease_ends() {
        let registry = Registry::memory();
        let nodes = registry.watch(Kind::Node);
        drop(registry.register(Kind::Node, record("a", "1")).await.unwrap());
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(nodes.borrow().records["a"].instance, "1");
        // The successor waits it out.
        let successor = registry.register(Kind::Node, record("a", "2")).await.unwrap();
        assert_eq!(nodes.borrow().records["a"].instance, "2");
        successor.revoke().await;
        registry.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_holder_keeps_its_id() {
        let registry = Registry::memory();
        let holder = registry.register(Kind::Node, record("a", "1")).await.unwrap();
        let error = registry.register(Kind::Node, record("a", "2")).await.unwrap_err();
        let RegisterError::Taken(taken) = error else { panic!("{error}") };
        assert_eq!((taken.id.as_str(), taken.other_instance.as_str()), ("a", "1"));
        assert!(timeout(Duration::from_secs(60), holder.taken()).await.is_err());
        registry.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_registered_where_there_is_no_registry() {
        let registry = Registry::none().with_fixed_nodes(vec!["a:1".into()]);
        let registration = registry.register(Kind::Manager, record("m", "1")).await.unwrap();
        registration.set_state(State::Ready);
        assert_eq!(registry.watch(Kind::Node).borrow().source, Source::Fixed);
        assert!(registry.watch(Kind::Node).borrow().records.contains_key("a:1"));
        assert!(registry.watch(Kind::Manager).borrow().records.is_empty());
        let mut nodes = registry.watch(Kind::Node);
        assert!(timeout(Duration::from_secs(60), nodes.changed()).await.is_err());
        registration.revoke().await;
        let bad = registry.register(Kind::Node, record("a/b", "1")).await;
        assert!(matches!(bad, Err(RegisterError::BadRecord(_))));
        registry.close().await;
    }
}
