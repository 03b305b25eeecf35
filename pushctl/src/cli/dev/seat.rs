//! A node's place in the fleet's registry, which it can give up in good order or lose as in a crash.
//!
//! A process that is killed leaves its record to the lease. A node that is killed here still has tasks for a moment
//! longer, and they would take the record along. So each node has a registry of its own that mirrors the fleet's, and
//! whoever kills it takes the mirror away first.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::pending,
};

use pushcast_common::registry::{Kind, Record, RegisterError, Registration, Registry, Snapshot};
use tokio::sync::watch;

/// Dropping it is the crash: the record stays until its lease ends.
#[derive(Debug)]
pub(super) struct Seat {
    fleet: Registry,
    /// What the node takes for the registry.
    own: Registry,
    managers: Managers,
    /// The node's record in the fleet's registry, while it is there.
    registration: Option<Registration>,
}

/// The managers of the fleet, as the node's registry has them.
#[derive(Debug)]
struct Managers {
    fleet: watch::Receiver<Snapshot>,
    held: HashMap<String, (Record, Registration)>,
}

impl Seat {
    /// A place for one node. The managers of now are in its registry already: a node without any is ready at once.
    pub(super) async fn take(fleet: Registry) -> Result<Self, RegisterError> {
        let own = Registry::memory();
        let mut managers = Managers { fleet: fleet.watch(Kind::Manager), held: HashMap::new() };
        managers.copy_to(&own).await?;
        Ok(Self { fleet, own, managers, registration: None })
    }

    /// The registry for the node.
    pub(super) fn registry(&self) -> Registry {
        self.own.clone()
    }

    /// Shows the node the managers and the fleet the node, for as long as it is polled; ends only by failing.
    pub(super) async fn mirror(&mut self) -> Result<Infallible, RegisterError> {
        tokio::select! {
            failed = self.managers.mirror(&self.own) => failed,
            failed = mirror_node(&self.own, &self.fleet, &mut self.registration) => failed,
        }
    }

    /// Gives the place up in good order.
    pub(super) async fn leave(self) {
        if let Some(registration) = self.registration {
            registration.revoke().await;
        }
        self.own.close().await;
    }
}

impl Managers {
    async fn mirror(&mut self, own: &Registry) -> Result<Infallible, RegisterError> {
        loop {
            self.copy_to(own).await?;
            if self.fleet.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    async fn copy_to(&mut self, own: &Registry) -> Result<(), RegisterError> {
        let listed: BTreeMap<String, Record> = BTreeMap::clone(&self.fleet.borrow_and_update().records);
        let is_gone = |id: &String, (held, _): &mut (Record, Registration)| {
            listed.get(id).is_none_or(|record| record.instance != held.instance)
        };
        let gone: Vec<_> = self.held.extract_if(is_gone).collect();
        for (_, (_, registration)) in gone {
            registration.revoke().await;
        }
        for (id, record) in listed {
            if let Some((_, registration)) = self.held.get(&id) {
                registration.set_state(record.state);
            } else {
                let registration = own.register(Kind::Manager, record.clone()).await?;
                self.held.insert(id, (record, registration));
            }
        }
        Ok(())
    }
}

async fn mirror_node(
    own: &Registry,
    fleet: &Registry,
    registration: &mut Option<Registration>,
) -> Result<Infallible, RegisterError> {
    let mut nodes = own.watch(Kind::Node);
    loop {
        let record = nodes.borrow_and_update().records.values().next().cloned();
        match (record, registration.as_ref()) {
            (Some(record), Some(registration)) => registration.set_state(record.state),
            // A predecessor that was killed may be there for the rest of its lease, which this waits out.
            (Some(record), None) => *registration = Some(fleet.register(Kind::Node, record).await?),
            (None, _) => {
                if let Some(registration) = registration.take() {
                    registration.revoke().await;
                }
            }
        }
        if nodes.changed().await.is_err() {
            return pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pushcast_common::registry::State;
    use tokio::time::{sleep, timeout};

    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.to_owned(),
            instance: "1".to_owned(),
            grpc_addr: "h:1".to_owned(),
            ..Record::default()
        }
    }

    /// Mirrors for as long as it takes everything to be copied.
    async fn settle(seat: &mut Seat) {
        let _elapsed = timeout(Duration::from_millis(10), seat.mirror()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_comes_changes_and_goes() {
        let fleet = Registry::memory();
        let nodes = fleet.watch(Kind::Node);
        let mut seat = Seat::take(fleet.clone()).await.unwrap();
        let registration = seat.registry().register(Kind::Node, record("n1")).await.unwrap();
        settle(&mut seat).await;
        assert_eq!(nodes.borrow().records["n1"].state, State::Starting);
        registration.set_state(State::Ready);
        settle(&mut seat).await;
        assert_eq!(nodes.borrow().records["n1"].state, State::Ready);
        registration.revoke().await;
        settle(&mut seat).await;
        assert!(nodes.borrow().records.is_empty());
        seat.leave().await;
        fleet.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_leaves_the_record_as_it_was_until_its_lease_ends() {
        let fleet = Registry::memory();
        let nodes = fleet.watch(Kind::Node);
        let mut seat = Seat::take(fleet.clone()).await.unwrap();
        let registration = seat.registry().register(Kind::Node, record("n1")).await.unwrap();
        registration.set_state(State::Ready);
        settle(&mut seat).await;
        drop(seat);
        registration.set_state(State::Draining);
        registration.revoke().await;
        sleep(Duration::from_millis(1900)).await;
        assert_eq!(nodes.borrow().records["n1"].state, State::Ready);
        sleep(Duration::from_millis(200)).await;
        assert!(nodes.borrow().records.is_empty());
        fleet.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_node_sees_managers_come_change_and_go() {
        let fleet = Registry::memory();
        let first = fleet.register(Kind::Manager, record("m1")).await.unwrap();
        let mut seat = Seat::take(fleet.clone()).await.unwrap();
        let managers = seat.registry().watch(Kind::Manager);
        assert_eq!(managers.borrow().records["m1"].state, State::Starting);
        first.set_state(State::Ready);
        settle(&mut seat).await;
        assert_eq!(managers.borrow().records["m1"].state, State::Ready);
        first.revoke().await;
        let second = fleet.register(Kind::Manager, record("m2")).await.unwrap();
        settle(&mut seat).await;
        assert_eq!(managers.borrow().records.keys().collect::<Vec<_>>(), ["m2"]);
        second.revoke().await;
        seat.leave().await;
        fleet.close().await;
    }
}
