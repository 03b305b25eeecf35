//! etcd goes away, comes back, and forgets.

use std::time::Duration;

use etcd_client::CompactionOptions;
use pushcast_common::registry::{Kind, Registry, Source, State};
use tokio::time::sleep;

use crate::{
    metric, proxy::Proxy, record, registry, server::Etcd, settings, until, until_connected, until_ids,
};

#[tokio::test]
async fn a_restart_of_etcd_keeps_the_set() {
    let mut etcd = Etcd::start().await;
    let registry = registry(&etcd.url(), "fault_restart");
    let one = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    let two = registry.register(Kind::Node, record("n2", "i2")).await.unwrap();
    until_ids(&registry, &["n1", "n2"]).await;
    let mut nodes = registry.watch(Kind::Node);
    etcd.stop();
    two.set_state(State::Draining);
    sleep(Duration::from_millis(2500)).await;
    assert!(!nodes.has_changed().unwrap(), "the set changed while etcd was away");
    assert_eq!((nodes.borrow().source, nodes.borrow().records.len()), (Source::Registry, 2));
    assert_eq!(metric("fault_restart_registry_connected"), Some(0.0));
    etcd.run().await;
    until(&mut nodes, |set| set.records.get("n2").is_some_and(|r| r.state == State::Draining)).await;
    until_ids(&registry, &["n1", "n2"]).await;
    assert!(metric("fault_restart_registry_resyncs_total") >= Some(1.0));
    // The watch is alive again.
    one.revoke().await;
    until_ids(&registry, &["n2"]).await;
    until_connected("fault_restart").await;
    two.revoke().await;
    registry.close().await;
}

#[tokio::test]
async fn a_wiped_etcd_gets_its_records_back() {
    let mut etcd = Etcd::start().await;
    // High revisions before, low ones after.
    let mut client = etcd.client().await;
    for n in 0..50 {
        client.put("/elsewhere", n.to_string(), None).await.unwrap();
    }
    let one = registry(&etcd.url(), "fault_wiped_1");
    let other = registry(&etcd.url(), "fault_wiped_2");
    let first = one.register(Kind::Node, record("n1", "i1")).await.unwrap();
    let second = other.register(Kind::Node, record("n2", "i2")).await.unwrap();
    until_ids(&one, &["n1", "n2"]).await;
    etcd.stop();
    etcd.wipe();
    etcd.run().await;
    let third = one.register(Kind::Node, record("n3", "i3")).await.unwrap();
    for registry in [&one, &other] {
        until_ids(registry, &["n1", "n2", "n3"]).await;
    }
    second.revoke().await;
    until_ids(&one, &["n1", "n3"]).await;
    first.revoke().await;
    third.revoke().await;
    until_ids(&other, &[]).await;
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_compacted_revision_is_survived() {
    let etcd = Etcd::start().await;
    let proxy = Proxy::start(etcd.addr()).await;
    let direct = registry(&etcd.url(), "fault_compact_writer");
    let old = direct.register(Kind::Node, record("old", "i")).await.unwrap();
    let reader = registry(&proxy.url(), "fault_compact");
    until_ids(&reader, &["old"]).await;
    proxy.cut();
    old.revoke().await;
    let new = direct.register(Kind::Node, record("new", "i")).await.unwrap();
    let mut client = etcd.client().await;
    let put = client.put("/elsewhere", "x", None).await.unwrap();
    let revision = put.header().unwrap().revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    assert!(reader.watch(Kind::Node).borrow().records.contains_key("old"));
    proxy.open();
    until_ids(&reader, &["new"]).await;
    assert!(metric("fault_compact_registry_resyncs_total") >= Some(1.0));
    new.revoke().await;
    until_ids(&reader, &[]).await;
    reader.close().await;
    direct.close().await;
}

#[tokio::test]
async fn a_half_open_connection_is_left_for_another_endpoint() {
    let etcd = Etcd::start().await;
    let proxy = Proxy::start(etcd.addr()).await;
    let frozen = Proxy::start(etcd.addr()).await;
    let both = Registry::etcd(settings(&[proxy.url(), frozen.url()], "fault_frozen"));
    let registration = both.register(Kind::Node, record("n1", "i1")).await.unwrap();
    until_ids(&both, &["n1"]).await;
    // Whichever is in use, it goes quiet without an end, and the other one too, one after the other.
    for proxy in [&proxy, &frozen] {
        proxy.freeze();
        sleep(Duration::from_millis(500)).await;
        let direct = registry(&etcd.url(), "fault_frozen_writer");
        let second = direct.register(Kind::Node, record("n2", "i2")).await.unwrap();
        until_ids(&both, &["n1", "n2"]).await;
        second.revoke().await;
        until_ids(&both, &["n1"]).await;
        direct.close().await;
        proxy.open();
    }
    registration.revoke().await;
    both.close().await;
}
