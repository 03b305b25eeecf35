use std::sync::Arc;

use proptest::prelude::*;
use pushcast_common::registry::State;

use super::*;

fn record(id: &str, addr: &str, instance: &str) -> Record {
    Record {
        id: id.into(),
        grpc_addr: addr.into(),
        instance: instance.into(),
        state: State::Ready,
        ..Record::default()
    }
}

fn snapshot(source: Source, records: &[Record]) -> Snapshot {
    let records = records.iter().map(|record| (record.id.clone(), record.clone())).collect();
    Snapshot { source, records: Arc::new(records) }
}

fn registry(records: &[Record]) -> Snapshot {
    snapshot(Source::Registry, records)
}

fn fixed(addrs: &[&str]) -> Snapshot {
    snapshot(Source::Fixed, &addrs.iter().map(|addr| record(addr, addr, "")).collect::<Vec<_>>())
}

fn link(nodes: &mut Nodes, key: u32, id: &str, instance: &str) {
    nodes.check(NodeKey(key), id).unwrap();
    nodes.linked(NodeKey(key), id, instance);
}

fn added(keys: &[u32]) -> Vec<Change> {
    keys.iter().map(|&key| Change::Added(NodeKey(key))).collect()
}

fn names(nodes: &Nodes) -> Vec<&str> {
    nodes.iter().map(|(_, node)| node.name()).collect()
}

#[test]
fn a_node_is_gone_when_its_record_is_gone_and_its_link_is_down() {
    let mut nodes = Nodes::new();
    assert_eq!(nodes.apply(&snapshot(Source::Unknown, &[])), []);
    let both = [record("a", "h:1", "i"), record("b", "h:2", "i")];
    assert_eq!(nodes.apply(&registry(&both)), added(&[0, 1]));
    assert!(!nodes.all_listed_have_linked());
    link(&mut nodes, 0, "a", "i");
    // etcd loses everything: only the one without a link goes.
    assert_eq!(nodes.apply(&registry(&[])), [Change::Removed(NodeKey(1))]);
    // It is listed again: nothing to do for the linked one.
    assert_eq!(nodes.apply(&registry(&both)), added(&[2]));
    assert_eq!(nodes.unlinked(NodeKey(0)), None);
    link(&mut nodes, 0, "a", "i");
    nodes.apply(&registry(&both[1..]));
    assert_eq!(nodes.unlinked(NodeKey(0)), Some(Change::Removed(NodeKey(0))));
    assert_eq!(names(&nodes), ["b"]);
}

#[test]
fn another_address_or_process_is_linked_anew() {
    let mut nodes = Nodes::new();
    nodes.apply(&registry(&[record("a", "h:1", "i")]));
    link(&mut nodes, 0, "a", "i");
    let relink = [Change::Relink(NodeKey(0))];
    assert_eq!(nodes.apply(&registry(&[record("a", "h:1", "j")])), relink);
    assert_eq!(nodes.apply(&registry(&[record("a", "h:1", "j")])), []);
    nodes.unlinked(NodeKey(0));
    link(&mut nodes, 0, "a", "k");
    // The link knew the new process before the registry did.
    assert_eq!(nodes.apply(&registry(&[record("a", "h:1", "k")])), []);
    nodes.unlinked(NodeKey(0));
    assert_eq!(nodes.apply(&registry(&[record("a", "h:2", "k")])), relink);
    assert_eq!(nodes.get(NodeKey(0)).unwrap().addr, "h:2");
}

#[test]
fn hand_given_addresses_are_replaced_by_the_first_answer() {
    let mut nodes = Nodes::new();
    assert_eq!(nodes.apply(&fixed(&["h:1", "h:2", "h:3"])), added(&[0, 1, 2]));
    assert_eq!(names(&nodes), ["h:1", "h:2", "h:3"]);
    link(&mut nodes, 0, "a", "i");
    link(&mut nodes, 1, "b", "i");
    let changes = nodes.apply(&registry(&[record("a", "host:1", "i"), record("c", "h:3", "i")]));
    // "a" is adopted with its link, "b" stays while linked, the third never linked and is replaced.
    assert_eq!(changes, [Change::Removed(NodeKey(2)), Change::Added(NodeKey(3))]);
    assert_eq!(names(&nodes), ["a", "b", "c"]);
    assert_eq!(nodes.get(NodeKey(0)).unwrap().addr, "host:1");
    assert_eq!(nodes.apply(&fixed(&["h:1"])), []);
    assert_eq!(nodes.unlinked(NodeKey(1)), Some(Change::Removed(NodeKey(1))));
}

#[test]
fn a_hand_given_node_that_registers_later_is_adopted_then() {
    let mut nodes = Nodes::new();
    nodes.apply(&fixed(&["h:1"]));
    link(&mut nodes, 0, "a", "i");
    assert_eq!(nodes.apply(&registry(&[])), []);
    assert_eq!(nodes.apply(&registry(&[record("a", "h:1", "i")])), []);
    assert_eq!(nodes.unlinked(NodeKey(0)), None);
}

#[test]
fn wrong_and_doubled_nodes_are_refused() {
    let mut nodes = Nodes::new();
    nodes.apply(&fixed(&["h:1", "h:2"]));
    link(&mut nodes, 0, "a", "i");
    let same = Refusal::SameNode { id: "a".into(), addr: "h:1".into() };
    assert_eq!(nodes.check(NodeKey(1), "a"), Err(same));
    // With the first link down the node may be reached by the other address.
    nodes.unlinked(NodeKey(0));
    link(&mut nodes, 1, "a", "i");
    assert_eq!(names(&nodes), ["h:1", "a"]);
    // A hand-given address may host another node later.
    nodes.unlinked(NodeKey(1));
    link(&mut nodes, 1, "b", "i");

    let mut nodes = Nodes::new();
    nodes.apply(&registry(&[record("a", "h:1", "i")]));
    let other = Refusal::OtherNode { found: "b".into(), listed: "a".into() };
    assert_eq!(nodes.check(NodeKey(0), "b"), Err(other));
    assert_eq!(nodes.check(NodeKey(9), "b"), Err(Refusal::Removed));
}

#[derive(Clone, Debug)]
enum Step {
    /// A record per node: absent, or at one of two addresses, of one of two processes.
    Records(Vec<Option<(u8, u8)>>),
    Up {
        node: usize,
    },
    Down {
        node: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entry = prop::option::of((0..2u8, 0..2u8));
    let step = prop_oneof![
        prop::collection::vec(entry, 3).prop_map(Step::Records),
        (0..3usize).prop_map(|node| Step::Up { node }),
        (0..3usize).prop_map(|node| Step::Down { node }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn known_is_listed_or_linked_and_never_doubled(steps in steps(), by_hand in any::<bool>()) {
        let mut nodes = Nodes::new();
        let mut known: std::collections::BTreeSet<NodeKey> = Default::default();
        let mut listed = [by_hand; 3];
        let apply = |known: &mut std::collections::BTreeSet<NodeKey>, changes: Vec<Change>| {
            for change in changes {
                match change {
                    Change::Added(key) => assert!(known.insert(key)),
                    Change::Removed(key) => assert!(known.remove(&key)),
                    Change::Relink(key) => assert!(known.contains(&key)),
                }
            }
        };
        if by_hand {
            apply(&mut known, nodes.apply(&fixed(&["n0:0", "n1:0", "n2:0"])));
        }
        for step in steps {
            match step {
                Step::Records(entries) => {
                    let records: Vec<Record> = entries
                        .iter()
                        .enumerate()
                        .filter_map(|(i, entry)| {
                            let (addr, instance) = (*entry)?;
                            Some(record(&format!("n{i}"), &format!("n{i}:{addr}"), &format!("i{instance}")))
                        })
                        .collect();
                    listed = std::array::from_fn(|i| entries[i].is_some());
                    apply(&mut known, nodes.apply(&registry(&records)));
                }
                Step::Up { node } => {
                    let at = nodes.iter().find(|(_, n)| n.addr.starts_with(&format!("n{node}:")));
                    let Some(key) = at.map(|(key, _)| key) else { continue };
                    if nodes.check(key, &format!("n{node}")).is_ok() {
                        nodes.linked(key, &format!("n{node}"), "i0");
                    }
                }
                Step::Down { node } => {
                    let at = nodes.iter().find(|(_, n)| n.addr.starts_with(&format!("n{node}:")));
                    let Some(key) = at.map(|(key, _)| key) else { continue };
                    apply(&mut known, nodes.unlinked(key).into_iter().collect());
                }
            }
            prop_assert_eq!(&nodes.iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>(), &known);
            let mut ids: Vec<&str> = names(&nodes);
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), nodes.len());
            for (_, node) in nodes.iter() {
                let i: usize = node.addr[1..2].parse().unwrap();
                prop_assert!(node.linked.is_some() || listed[i], "{:?}", node);
            }
        }
    }
}
