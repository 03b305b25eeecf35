//! What a manager may say on a link, what the node answers, and that acknowledgements survive the link.

use std::sync::Arc;

use bytes::Bytes;
use connect_node::{
    inbox::{Inbox, Taken},
    ingest::{Ingest, IngestError, IngestSettings, Owner},
    key::{EVERYONE, Keys},
    link_state::{LinkError, LinkState, Me, Outcome},
};
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Ack, Close, Everyone, Fill, Gap, Heartbeat, Hello, LinkRequest, Message, MessageBatch, UserIds,
    link_request::Frame, link_response, message::Target, start,
};
use tokio::sync::Notify;

const MANAGER: u64 = 5;

/// Half of the default window.
const FILL: u64 = 32 << 20;

struct Node {
    ingest: Ingest,
    inbox: Arc<Inbox>,
    keys: Keys,
}

impl Node {
    fn new() -> Self {
        let inbox = Arc::new(Inbox::default());
        let (keys, wakes) = (Keys::default(), vec![Arc::new(Notify::new())]);
        let settings = IngestSettings { registry: true, ..IngestSettings::default() };
        let ingest = Ingest::new(vec![Arc::clone(&inbox)], wakes, keys.clone(), settings);
        Self { ingest, inbox, keys }
    }

    fn say(&self, link: &mut LinkState, frame: Frame) -> Result<Outcome, LinkError> {
        let me = Me { node_id: "n1", instance: "i1" };
        link.on_frame(LinkRequest { frame: Some(frame) }, &self.ingest, &self.keys, me, 1)
    }

    /// A link that said hello; where the node wants it to start.
    fn hello(&self, newest_seq: u64, acked_seq: u64) -> (LinkState, Owner, start::From) {
        let mut link = LinkState::default();
        match self.say(&mut link, hello(newest_seq, acked_seq)).expect("a good hello") {
            Outcome::Started { answer, taken_over, .. } => {
                let Some(link_response::Frame::Start(start)) = answer.frame else { panic!("no Start") };
                (link, taken_over.owner, start.from.expect("a start"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn open(&self) -> (LinkState, Owner) {
        let (mut link, owner, from) = self.hello(0, 0);
        assert_eq!(from, start::From::FillBytes(FILL));
        self.say(&mut link, fill(1, 0)).expect("asked for");
        (link, owner)
    }

    /// Places everything, `recipients` times each.
    fn place(&self, recipients: u32) {
        let mut taken = Taken::default();
        self.inbox.take(&mut taken);
        for delivery in &taken.deliveries {
            for index in &delivery.wanted {
                delivery.placement.count(*index as usize, recipients);
            }
            delivery.placement.finish_shard();
        }
    }

    fn ack(&self, owner: Owner) -> Option<Ack> {
        self.ingest.next_ack(owner).expect("owned")
    }
}

fn hello(newest_seq: u64, acked_seq: u64) -> Frame {
    let oldest_seq = 1;
    Frame::Hello(Hello { manager_id: MANAGER, oldest_seq, newest_seq, acked_seq, ..Hello::default() })
}

fn fill(first_seq: u64, last_seq: u64) -> Frame {
    Frame::Fill(Fill { first_seq, last_seq, ..Fill::default() })
}

fn batch(seqs: impl IntoIterator<Item = u64>) -> Frame {
    let message = |seq| Message {
        seq,
        target: Some(Target::Everyone(Everyone { all_apps: true })),
        ..Message::default()
    };
    let messages = seqs.into_iter().map(message).collect();
    Frame::Batch(Bytes::from(MessageBatch { messages }.encode_to_vec()))
}

fn heartbeat(sent_seq: u64, acked_seq: u64) -> Frame {
    Frame::Heartbeat(Heartbeat { sent_seq, acked_seq, newest_seq: sent_seq, ..Heartbeat::default() })
}

fn acked(first_seq: u64, recipients: &[u32]) -> Option<Ack> {
    Some(Ack { first_seq, recipients: recipients.to_vec(), ..Ack::default() })
}

#[test]
fn a_stranger_who_speaks_badly_is_refused_with_the_reason() {
    let hello_with = |change: fn(&mut Hello)| {
        let mut hello = Hello { manager_id: MANAGER, oldest_seq: 1, ..Hello::default() };
        change(&mut hello);
        Frame::Hello(hello)
    };
    let cases: Vec<(&str, Vec<Frame>, &str)> = vec![
        ("no hello", vec![heartbeat(0, 0)], "Heartbeat where Hello was due"),
        ("manager 0", vec![hello_with(|hello| hello.manager_id = 0)], "manager_id 0"),
        ("oldest beyond newest", vec![hello_with(|hello| hello.oldest_seq = 9)], "beyond newest_seq"),
        ("a huge seq", vec![hello_with(|hello| hello.newest_seq = u64::MAX)], "2^63"),
        ("two hellos", vec![hello(0, 0), hello(0, 0)], "Hello where Fill was due"),
        ("no fill", vec![hello(0, 0), batch([1])], "a batch where Fill was due"),
        ("a fill of nothing", vec![hello(0, 0), fill(0, 0)], "a range that cannot be"),
        ("a fill backwards", vec![hello(0, 0), fill(9, 2)], "a range that cannot be"),
        ("two fills", vec![hello(0, 0), fill(1, 0), fill(1, 0)], "Fill where"),
        ("a hole", vec![hello(0, 0), fill(1, 0), batch([2])], "seq 2 came where 1 was due"),
        ("seq 0", vec![hello(0, 0), fill(1, 0), batch([0])], "seq 0"),
        ("a last seq of u64::MAX", vec![hello(0, 0), fill(1, 0), batch([u64::MAX])], "2^63"),
        ("a hole inside", vec![hello(0, 0), fill(1, 0), batch([1, 3])], "message 3 follows message 1"),
        (
            "no batch",
            vec![hello(0, 0), fill(1, 0), Frame::Batch(Bytes::from_static(b"\xff"))],
            "MessageBatch",
        ),
        ("an empty batch", vec![hello(0, 0), fill(1, 0), Frame::Batch(Bytes::new())], "empty"),
        ("a lying heartbeat", vec![hello(0, 0), fill(1, 0), heartbeat(3, 0)], "seq 4 came where 1"),
        ("a heartbeat of u64::MAX", vec![hello(0, 0), fill(1, 0), heartbeat(u64::MAX, 0)], "where 1 was due"),
        ("a gap ahead", vec![hello(0, 0), fill(1, 0), Frame::Gap(Gap { from: 5, to: 6 })], "seq 5"),
        ("a gap backwards", vec![hello(0, 0), fill(1, 0), Frame::Gap(Gap { from: 1, to: 0 })], "Gap"),
        ("a close ahead", vec![hello(0, 0), fill(1, 0), Frame::Close(Close { newest_seq: 2 })], "seq 3"),
        (
            "words after close",
            vec![hello(0, 0), fill(1, 0), Frame::Close(Close { newest_seq: 0 }), batch([1])],
            "nothing after Close",
        ),
    ];
    for (what, frames, reason) in cases {
        let node = Node::new();
        let mut link = LinkState::default();
        let (last, before) = frames.split_last().expect("at least one");
        for frame in before {
            node.say(&mut link, frame.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let error = node.say(&mut link, last.clone()).expect_err(what).to_string();
        assert!(error.contains(reason), "{what}: {error}");
    }
    let node = Node::new();
    let me = Me { node_id: "n1", instance: "i1" };
    let nothing = LinkRequest { frame: None };
    let refused = LinkState::default().on_frame(nothing, &node.ingest, &node.keys, me, 1);
    assert!(matches!(refused, Err(LinkError::UnknownFrame)));
}

#[test]
fn nothing_is_acknowledged_before_every_shard_has_placed_it() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE], &mut Taken::default());
    let (mut link, owner) = node.open();
    node.say(&mut link, batch([1, 2])).expect("in order");
    assert_eq!(node.ack(owner), None);
    node.place(3);
    assert_eq!(node.ack(owner), acked(1, &[3, 3]));
    assert_eq!(node.ack(owner), None);
}

#[test]
fn a_new_link_takes_over_and_counts_not_confirmed_are_repeated() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE], &mut Taken::default());
    let (mut old, old_owner) = node.open();
    node.say(&mut old, batch(1..=4)).expect("in order");
    node.place(2);
    assert_eq!(node.ack(old_owner), acked(1, &[2, 2, 2, 2]));
    node.say(&mut old, batch(5..=6)).expect("in order");

    let (mut new, owner, from) = node.hello(6, 1);
    assert_eq!(from, start::From::AfterSeq(6));
    let superseded = node.say(&mut old, batch(7..=7)).expect_err("a newer link took over");
    assert!(matches!(superseded, LinkError::Ingest(IngestError::Superseded)));
    assert_eq!(node.ack(owner), acked(2, &[2, 2, 2]));
    node.place(9);
    assert_eq!(node.ack(owner), acked(5, &[9, 9]));
    node.say(&mut new, heartbeat(6, 6)).expect("all was sent");

    // What the heartbeat confirmed is forgotten: a link that asks for it again gets nothing twice.
    let (_, owner, _) = node.hello(6, 0);
    assert_eq!(node.ack(owner), None);
}

#[test]
fn what_arrived_before_is_dropped_and_acknowledged_once() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE], &mut Taken::default());
    let (mut link, owner) = node.open();
    node.say(&mut link, batch(1..=3)).expect("in order");
    let again = node.say(&mut link, batch(2..=5)).expect("an overlap is no hole");
    assert!(matches!(again, Outcome::Received { messages: 2, duplicates: 2, .. }));
    assert!(matches!(
        node.say(&mut link, batch(1..=2)),
        Ok(Outcome::Received { messages: 0, duplicates: 2, .. })
    ));
    node.place(1);
    let mut recipients = Vec::new();
    while let Some(ack) = node.ack(owner) {
        recipients.extend(ack.recipients);
    }
    assert_eq!(recipients, [1; 5]);
}

#[test]
fn counts_per_user_come_in_acks_that_fit_a_frame_also_when_repeated() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE, node.keys.user(b"", b"u0")], &mut Taken::default());
    let (mut link, owner) = node.open();
    let ids: Vec<String> = (0..1000).map(|n| format!("u{n}")).collect();
    let message = |seq| Message {
        seq,
        target: Some(Target::UserIds(UserIds { ids: ids.clone() })),
        ..Message::default()
    };
    for seq in 1..=300 {
        let bytes = MessageBatch { messages: vec![message(seq)] }.encode_to_vec();
        node.say(&mut link, Frame::Batch(Bytes::from(bytes))).expect("in order");
    }
    let mut taken = Taken::default();
    node.inbox.take(&mut taken);
    for delivery in &taken.deliveries {
        delivery.placement.count(0, 1000);
        delivery.placement.count_by_user(0, &[1; 1000]);
        delivery.placement.finish_shard();
    }
    let drain = |owner| {
        let mut next = 1;
        let mut frames = 0;
        while let Some(ack) = node.ack(owner) {
            assert!(ack.encoded_len() < 256 * 1024, "{} B", ack.encoded_len());
            assert_eq!(ack.first_seq, next);
            assert!(ack.recipients.iter().all(|recipients| *recipients == 1000));
            let seqs: Vec<u64> = ack.by_user.iter().map(|counts| counts.seq).collect();
            next += ack.recipients.len() as u64;
            assert_eq!(seqs, (ack.first_seq..next).collect::<Vec<_>>());
            frames += 1;
        }
        assert_eq!(next, 301);
        frames
    };
    assert!(drain(owner) > 1);
    let (_, owner, _) = node.hello(300, 0);
    assert!(drain(owner) > 1);
}

#[test]
fn a_gap_is_counted_and_acknowledged_by_going_on_behind_it() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE], &mut Taken::default());
    let (mut link, owner) = node.open();
    node.say(&mut link, batch([1])).expect("in order");
    let lost = node.say(&mut link, Frame::Gap(Gap { from: 2, to: 9 })).expect("it follows");
    assert!(matches!(lost, Outcome::Lost { messages: 8 }));
    node.place(1);
    assert_eq!(node.ack(owner), acked(1, &[1]));
    assert_eq!(node.ack(owner), acked(10, &[]));
    node.say(&mut link, batch([10])).expect("it follows the gap");
    node.place(4);
    assert_eq!(node.ack(owner), acked(10, &[4]));
}

#[test]
fn what_a_manager_accepted_while_it_could_not_link_still_reaches_the_clients() {
    let node = Node::new();
    node.inbox.subscribe(&[EVERYONE], &mut Taken::default());
    node.ingest.open(10_000_000);
    let (mut link, owner, from) = node.hello(3, 0);
    assert_eq!(from, start::From::FillBytes(FILL));
    node.say(&mut link, fill(1, 3)).expect("asked for");
    let message = |seq, accepted_at| Message {
        seq,
        accepted_at,
        target: Some(Target::Everyone(Everyone { all_apps: true })),
        ..Message::default()
    };
    // The first is older than the first client, whatever the clocks.
    let messages = vec![message(1, 4_000_000), message(2, 5_000_000), message(3, 10_000_000)];
    let bytes = Bytes::from(MessageBatch { messages }.encode_to_vec());
    node.say(&mut link, Frame::Batch(bytes)).expect("the fill");
    node.place(2);
    assert_eq!(node.ack(owner), acked(1, &[0, 2, 2]));
}

#[test]
fn a_manager_is_expected_while_registered_linked_or_named() {
    let node = Node::new();
    let as_of = || {
        let mut taken = Taken::default();
        node.inbox.take(&mut taken);
        taken.marks.as_of(999)
    };
    assert_eq!(as_of(), 0, "the registry was not listed yet");
    node.ingest.set_registered(&[], 1);
    assert_eq!(as_of(), 999, "with no manager it is the node's own clock");
    node.ingest.set_registered(&[MANAGER, 6], 1);
    assert_eq!(as_of(), 0, "registered managers that never linked are waited for");
    node.ingest.set_registered(&[MANAGER], 1);
    let (mut link, owner) = node.open();
    let beat = |managers: Vec<u64>, through| {
        Frame::Heartbeat(Heartbeat { managers, through, ..Heartbeat::default() })
    };
    node.say(&mut link, beat(vec![], 50)).expect("a heartbeat");
    assert_eq!(as_of(), 50);
    node.say(&mut link, beat(vec![8], 60)).expect("a heartbeat");
    assert_eq!(as_of(), 0, "a manager that a linked one names is waited for");
    node.say(&mut link, beat(vec![], 70)).expect("a heartbeat");
    assert_eq!(as_of(), 70);
    node.ingest.link_down(owner, 1);
    assert_eq!(as_of(), 70, "registered, it is waited for without a link");
    node.ingest.set_registered(&[], 1);
    assert_eq!(as_of(), 999, "gone when its record is gone and its link is down");
}
