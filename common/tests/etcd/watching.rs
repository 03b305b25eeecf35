//! What watchers see of others.

use pushcast_common::registry::{Kind, Registry, Source, State};

use crate::{metric, record, registry, server::Etcd, settings, until, until_connected, until_ids};

#[tokio::test]
async fn records_are_listed_watched_changed_and_removed() {
    let etcd = Etcd::start().await;
    let writer = registry(&etcd.url(), "watch_a");
    let first = writer.register(Kind::Node, record("n1", "i1")).await.unwrap();
    let reader = registry(&etcd.url(), "watch_b");
    // Listed, as it was there before the reader ...
    assert_eq!(until_ids(&reader, &["n1"]).await.source, Source::Registry);
    // ... and watched.
    let second = writer.register(Kind::Node, record("n2", "i2")).await.unwrap();
    let set = until_ids(&reader, &["n1", "n2"]).await;
    assert_eq!(set.records["n2"], record("n2", "i2"));
    second.set_state(State::Ready);
    second.set_state(State::Draining);
    until(&mut reader.watch(Kind::Node), |set| set.records["n2"].state == State::Draining).await;
    first.revoke().await;
    until_ids(&reader, &["n2"]).await;
    // Managers are another set, known and empty.
    let managers = until(&mut reader.watch(Kind::Manager), |set| set.source == Source::Registry).await;
    assert!(managers.records.is_empty());
    let manager = writer.register(Kind::Manager, record("00000000000000ab", "m")).await.unwrap();
    until(&mut reader.watch(Kind::Manager), |set| set.records.len() == 1).await;
    until_connected("watch_b").await;
    assert_eq!(metric("watch_b_registry_resyncs_total"), Some(0.0));
    manager.revoke().await;
    second.revoke().await;
    until(&mut reader.watch(Kind::Manager), |set| set.records.is_empty()).await;
    writer.close().await;
    reader.close().await;
}

#[tokio::test]
async fn what_is_not_a_record_is_ignored_and_counted_once() {
    let etcd = Etcd::start().await;
    let mut client = etcd.client().await;
    let good = r#"{"id":"n1","instance":"i","grpc_addr":"h:1","state":"ready","later":[1]}"#;
    client.put("/pushcast/nodes/n1", good, None).await.unwrap();
    client.put("/pushcast/nodes/n2", "not json", None).await.unwrap();
    client.put("/pushcast/nodes/n3", good, None).await.unwrap();
    client.put(b"/pushcast/nodes/\xff".to_vec(), good, None).await.unwrap();
    client.put("/pushcast/nodesx/n4", good, None).await.unwrap();
    let reader = registry(&etcd.url(), "watch_broken");
    until_ids(&reader, &["n1"]).await;
    client.put("/pushcast/nodes/n5", r#"{"id":"n5","grpc_addr":"","state":"ready"}"#, None).await.unwrap();
    // A good one behind it shows that the broken one has been seen.
    client.put("/pushcast/nodes/n6", good.replace("n1", "n6"), None).await.unwrap();
    until_ids(&reader, &["n1", "n6"]).await;
    // Longer than the periodic list, which must not count them again.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(metric("watch_broken_registry_bad_records_total"), Some(4.0));
    // A record of ours that becomes unreadable is no longer in the set.
    client.put("/pushcast/nodes/n6", "{}", None).await.unwrap();
    until_ids(&reader, &["n1"]).await;
    reader.close().await;
}

#[tokio::test]
async fn fixed_nodes_are_used_until_etcd_answers() {
    let mut etcd = Etcd::stopped("http", &[]);
    let reader = registry(&etcd.url(), "watch_late").with_fixed_nodes(vec!["a:8001".to_owned()]);
    let mut nodes = reader.watch(Kind::Node);
    let registering = tokio::spawn({
        let reader = reader.clone();
        async move { reader.register(Kind::Manager, record("00000000000000ab", "m")).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(nodes.borrow_and_update().source, Source::Fixed);
    assert!(nodes.borrow().records.contains_key("a:8001"));
    assert_eq!(reader.watch(Kind::Manager).borrow().source, Source::Unknown);
    assert_eq!(metric("watch_late_registry_connected"), Some(0.0));
    assert!(!registering.is_finished());
    etcd.run().await;
    // Empty, but from the registry: it is the truth now.
    let set = until(&mut nodes, |set| set.source == Source::Registry).await;
    assert!(set.records.is_empty());
    let registration = registering.await.unwrap().unwrap();
    until(&mut reader.watch(Kind::Manager), |set| set.records.len() == 1).await;
    until_connected("watch_late").await;
    registration.revoke().await;
    reader.close().await;
}

#[tokio::test]
async fn one_dead_endpoint_of_several_does_not_matter() {
    let etcd = Etcd::start().await;
    let dead = Etcd::stopped("http", &[]);
    for component in ["watch_dead_1", "watch_dead_2", "watch_dead_3", "watch_dead_4"] {
        let both = Registry::etcd(settings(&[dead.url(), etcd.url()], component));
        let registration = both.register(Kind::Node, record(component, "i")).await.unwrap();
        until_ids(&both, &[component]).await;
        registration.revoke().await;
        until_ids(&both, &[]).await;
        both.close().await;
    }
}
