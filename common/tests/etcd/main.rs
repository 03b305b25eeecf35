//! The registry against a real etcd: each test starts its own.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers included")]

mod faults;
mod holding;
// Two etcds that are started at once must not be given the same port.
#[path = "../../../tests/src/ports.rs"]
#[allow(unreachable_pub, reason = "other tests use it as a library")]
mod ports;
mod proxy;
mod security;
mod server;
mod watching;

use std::time::Duration;

use pushcast_common::registry::{EtcdSettings, Kind, Record, Registry, Snapshot, State};
use tokio::{sync::watch, time::timeout};

/// Long enough for a lease, a back-off and a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Component names differ per test, so that their metrics do.
fn settings(endpoints: &[String], component: &'static str) -> EtcdSettings {
    EtcdSettings {
        endpoints: endpoints.to_vec(),
        prefix: "/pushcast".to_owned(),
        lease: Duration::from_secs(2),
        user: None,
        tls: None,
        component,
    }
}

fn registry(url: &str, component: &'static str) -> Registry {
    Registry::etcd(settings(&[url.to_owned()], component))
}

fn record(id: &str, instance: &str) -> Record {
    Record {
        id: id.to_owned(),
        instance: instance.to_owned(),
        grpc_addr: format!("{id}.example:8001"),
        state: State::Starting,
        ..Record::default()
    }
}

/// One whose leases a machine that stands still for a moment does not end.
fn patient_registry(url: &str, component: &'static str) -> Registry {
    Registry::etcd(EtcdSettings { lease: Duration::from_secs(6), ..settings(&[url.to_owned()], component) })
}

/// Waits until the set is as wanted and returns it.
async fn until(set: &mut watch::Receiver<Snapshot>, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    if let Ok(snapshot) = timeout(PATIENCE, set.wait_for(|snapshot| wanted(snapshot))).await {
        return snapshot.unwrap().clone();
    }
    panic!("never as wanted: {:#?}", set.borrow());
}

async fn until_ids(registry: &Registry, ids: &[&str]) -> Snapshot {
    until(&mut registry.watch(Kind::Node), |set| set.records.keys().eq(ids)).await
}

/// The value of a series without labels.
fn metric(name: &str) -> Option<f64> {
    let text = pushcast_common::telemetry::recorder().render();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').next_back()?.parse().ok()
}

/// Waits for the gauge that says whether etcd answers; its tasks come back one by one.
async fn until_connected(component: &str) {
    until_gauge(component, 1.0).await;
}

/// Waits until it is noticed that etcd does not answer.
async fn until_away(component: &str) {
    until_gauge(component, 0.0).await;
}

async fn until_gauge(component: &str, value: f64) {
    let name = format!("{component}_registry_connected");
    let is_so = async {
        while metric(&name) != Some(value) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, is_so).await.is_ok(), "{name} stays {:?}", metric(&name));
}
