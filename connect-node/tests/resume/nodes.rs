//! Nodes that have not everything say so.

use connect_node::ingest::IngestSettings;
use pushcast_proto::connectnode::v1::Heartbeat;

use crate::returning::{Kept, Pair, come_back, connect, gone};

#[test]
fn a_node_that_is_not_complete_sends_clients_on_and_at_last_says_so() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    // The second node loses a message for good.
    let now = pair.nodes[1].now().micros;
    pair.nodes[1].ingest.gap(pair.nodes[1].owner, 5, now).unwrap();
    pair.nodes[1].seq = 5;
    for attempt in 0..3 {
        let (_, _) = {
            let resume = kept.resume(attempt);
            connect(&mut pair.nodes[1], &["r"], &mut kept, Some(resume))
        };
        assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(4003), "attempt {attempt}");
        assert_eq!(kept.recovered, None);
    }
    let resume = kept.resume(3);
    connect(&mut pair.nodes[1], &["r"], &mut kept, Some(resume));
    assert_eq!((kept.recovered, kept.closed.clone()), (Some(false), None));
    assert!(kept.take_contents().is_empty());
    assert_eq!(kept.rooms, ["r"]);
}

#[test]
fn at_a_hole_older_clients_get_nothing_more_and_are_sent_elsewhere_from_before_it() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    pair.push_to_room("r", "1");
    let now = pair.nodes[0].now().micros;
    pair.nodes[0].ingest.gap(pair.nodes[0].owner, 2, now).unwrap();
    pair.nodes[0].seq = 2;
    pair.nodes[1].push_to_room("r", b"2");
    pair.push_to_room("r", "3");
    pair.nodes[0].pass(2_100);
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1"]);
    assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(4003));
    come_back(&mut pair, &mut kept);
    assert_eq!((kept.recovered, kept.take_contents()), (Some(true), vec!["2".to_owned(), "3".to_owned()]));
    // Whoever comes after the hole is not concerned.
    let mut fresh = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut fresh, None);
    pair.push_to_room("r", "4");
    pair.nodes[0].pass(2_100);
    fresh.read(&peer);
    assert_eq!((fresh.take_contents(), fresh.closed), (vec!["4".to_owned()], None));
}

#[test]
fn without_a_registry_a_manager_that_is_named_to_a_fresh_node_may_have_been_there_before_it() {
    for (millis, closed) in [(1_000, Some(4003)), (20_000, None)] {
        let mut pair = Pair::at(millis, &IngestSettings::default());
        let mut kept = gone(&mut pair, &["r"]);
        let node = &pair.nodes[1];
        let now = node.now().micros;
        let beat = Heartbeat { sent_at: now, managers: vec![77], through: now, ..Heartbeat::default() };
        node.ingest.heartbeat(node.owner, &beat, now).unwrap();
        come_back(&mut pair, &mut kept);
        assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), closed, "after {millis} ms");
    }
}
