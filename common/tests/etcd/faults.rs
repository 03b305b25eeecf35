//! etcd goes away, comes back, and forgets.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use etcd_client::CompactionOptions;
use pushcast_common::registry::{Kind, Registry, Source, State};
use tokio::time::sleep;

use crate::{
    metric, proxy::Proxy, record, registry, server::Etcd, settings, until, until_away, until_connected,
    until_ids,
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
    until_away("fault_restart").await;
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

/// Collects what is logged on this test's own thread, where all its tasks run too.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_outage_is_told_once_however_often_it_is_tried() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // With a single subscriber in the process, tracing asks whichever thread comes first to a log line
    // whether anybody wants it, and remembers that: other tests' threads would silence us.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _on_this_thread = tracing::subscriber::set_default(subscriber);
    let mut etcd = Etcd::start().await;
    let registry = registry(&etcd.url(), "fault_told");
    let node = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    until_ids(&registry, &["n1"]).await;
    registry.watch(Kind::Manager);
    until_connected("fault_told").await;
    etcd.stop();
    until_away("fault_told").await;
    // Tried again and again.
    sleep(Duration::from_secs(3)).await;
    etcd.run().await;
    until_connected("fault_told").await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("Cannot use etcd").count(), 1, "{text}");
    assert_eq!(text.matches("etcd answers again").count(), 1, "{text}");
    assert!(text.lines().count() < 8, "{text}");
    node.revoke().await;
    registry.close().await;
}
