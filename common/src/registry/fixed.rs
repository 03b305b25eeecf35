//! Nodes given by hand (`--nodes`).

use std::collections::BTreeMap;

use super::record::{Kind, Record, Snapshot, Source, State};

/// What watchers see before, or instead of, a registry's answer.
pub(crate) fn first_snapshot(kind: Kind, nodes: Option<&[String]>, has_registry: bool) -> Snapshot {
    match (kind, nodes) {
        (Kind::Node, Some(nodes)) => Snapshot::new(Source::Fixed, records(nodes)),
        _ if has_registry => Snapshot::new(Source::Unknown, BTreeMap::new()),
        _ => Snapshot::new(Source::Fixed, BTreeMap::new()),
    }
}

/// An address is all we know of such a node, so it is its id too, and it counts as ready.
fn records(addrs: &[String]) -> BTreeMap<String, Record> {
    let record = |addr: &String| Record {
        id: addr.clone(),
        grpc_addr: addr.clone(),
        state: State::Ready,
        ..Record::default()
    };
    addrs.iter().map(|addr| (addr.clone(), record(addr))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_nodes_are_named_by_their_address() {
        let nodes = ["a:1".to_owned(), "b:1".to_owned(), "a:1".to_owned()];
        let snapshot = first_snapshot(Kind::Node, Some(&nodes), true);
        assert_eq!(snapshot.source, Source::Fixed);
        assert_eq!(snapshot.records.len(), 2);
        let record = &snapshot.records["a:1"];
        assert_eq!((record.grpc_addr.as_str(), record.state), ("a:1", State::Ready));
    }

    #[test]
    fn without_fixed_nodes_nothing_is_known_until_the_registry_answers() {
        assert_eq!(first_snapshot(Kind::Node, None, true).source, Source::Unknown);
        assert_eq!(first_snapshot(Kind::Manager, Some(&[]), true).source, Source::Unknown);
        assert_eq!(first_snapshot(Kind::Node, None, false).source, Source::Fixed);
        assert_eq!(first_snapshot(Kind::Manager, None, false).source, Source::Fixed);
    }
}
