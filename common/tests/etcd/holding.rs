//! One id, one holder.

use std::time::{Duration, Instant};

use pushcast_common::registry::{Kind, RegisterError, State};
use tokio::time::timeout;

use crate::{PATIENCE, patient_registry, proxy::Proxy, record, registry, server::Etcd, until, until_ids};

#[tokio::test]
async fn a_live_holder_keeps_its_id_and_the_other_is_told() {
    let etcd = Etcd::start().await;
    let registry = patient_registry(&etcd.url(), "hold_taken");
    let holder = registry.register(Kind::Node, record("n1", "first")).await.unwrap();
    let start = Instant::now();
    let error = registry.register(Kind::Node, record("n1", "second")).await.unwrap_err();
    assert!(start.elapsed() > Duration::from_secs(6), "gave up before a lease was over");
    let RegisterError::Taken(taken) = &error else { panic!("{error}") };
    assert_eq!((taken.other_instance.as_str(), taken.other_addr.as_str()), ("first", "n1.example:8001"));
    let text = error.to_string();
    assert!(text.contains("n1") && text.contains("first") && text.contains("n1.example:8001"), "{text}");
    assert!(timeout(Duration::from_millis(100), holder.taken()).await.is_err());
    assert_eq!(until_ids(&registry, &["n1"]).await.records["n1"].instance, "first");
    holder.revoke().await;
    registry.close().await;
}

#[tokio::test]
async fn a_crashed_predecessor_is_waited_out() {
    let etcd = Etcd::start().await;
    let registry = registry(&etcd.url(), "hold_crash");
    drop(registry.register(Kind::Node, record("n1", "before")).await.unwrap());
    let after =
        timeout(PATIENCE, registry.register(Kind::Node, record("n1", "after"))).await.unwrap().unwrap();
    let mut nodes = registry.watch(Kind::Node);
    until(&mut nodes, |set| set.records.get("n1").is_some_and(|r| r.instance == "after")).await;
    after.revoke().await;
    registry.close().await;
}

#[tokio::test]
async fn of_many_that_want_an_id_one_gets_it() {
    let etcd = Etcd::start().await;
    let registry = patient_registry(&etcd.url(), "hold_race");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let registry = registry.clone();
        tasks.spawn(async move { registry.register(Kind::Node, record("n1", &format!("i{n}"))).await });
    }
    let results = tasks.join_all().await;
    let holders = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(holders, 1, "{results:?}");
    registry.close().await;
}

#[tokio::test]
async fn who_lost_its_lease_to_another_is_told_so() {
    let etcd = Etcd::start().await;
    let proxy = Proxy::start(etcd.addr()).await;
    let cut_off = registry(&proxy.url(), "hold_cut");
    let holder = cut_off.register(Kind::Node, record("n1", "first")).await.unwrap();
    proxy.cut();
    let direct = registry(&etcd.url(), "hold_direct");
    let second =
        timeout(PATIENCE, direct.register(Kind::Node, record("n1", "second"))).await.unwrap().unwrap();
    proxy.open();
    let taken = timeout(PATIENCE, holder.taken()).await.unwrap();
    assert_eq!(taken.other_instance, "second");
    // It tells every time it is asked, and harms nobody when it ends.
    assert_eq!(holder.taken().await, taken);
    holder.revoke().await;
    assert_eq!(until_ids(&direct, &["n1"]).await.records["n1"].instance, "second");
    second.revoke().await;
    cut_off.close().await;
    direct.close().await;
}

#[tokio::test]
async fn a_lost_lease_is_taken_again_with_the_newest_state() {
    let etcd = Etcd::start().await;
    let proxy = Proxy::start(etcd.addr()).await;
    let cut_off = registry(&proxy.url(), "hold_again");
    let holder = cut_off.register(Kind::Node, record("n1", "i1")).await.unwrap();
    let direct = registry(&etcd.url(), "hold_again_reader");
    until_ids(&direct, &["n1"]).await;
    proxy.cut();
    until_ids(&direct, &[]).await;
    holder.set_state(State::Ready);
    proxy.open();
    let set = until_ids(&direct, &["n1"]).await;
    assert_eq!((set.records["n1"].state, set.records["n1"].instance.as_str()), (State::Ready, "i1"));
    holder.revoke().await;
    until_ids(&direct, &[]).await;
    cut_off.close().await;
    direct.close().await;
}

#[tokio::test]
async fn a_record_removed_by_hand_comes_back() {
    let etcd = Etcd::start().await;
    let registry = registry(&etcd.url(), "hold_removed");
    let holder = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    let mut nodes = registry.watch(Kind::Node);
    until_ids(&registry, &["n1"]).await;
    nodes.mark_unchanged();
    etcd.client().await.delete("/pushcast/nodes/n1", None).await.unwrap();
    timeout(PATIENCE, nodes.changed()).await.unwrap().unwrap();
    until_ids(&registry, &["n1"]).await;
    holder.revoke().await;
    until_ids(&registry, &[]).await;
    registry.close().await;
}

#[tokio::test]
async fn revoking_is_bounded_when_etcd_is_away() {
    let mut etcd = Etcd::start().await;
    let registry = registry(&etcd.url(), "hold_away");
    let holder = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    etcd.stop();
    let start = Instant::now();
    holder.revoke().await;
    // Given up after 2 s, which a machine that stands still makes longer; without a bound it would be tried for ever.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    registry.close().await;
    let closed = registry.register(Kind::Node, record("n2", "i2")).await;
    assert_eq!(closed.unwrap_err(), RegisterError::Closed);
}
