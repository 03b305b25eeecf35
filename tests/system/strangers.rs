//! Strangers on the fleet's own ports: managers that speak Link badly to a node, nodes that do to a manager.

use std::time::Duration;

use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Close, Fill, Gap, Heartbeat, Hello, LinkRequest, LinkResponse, Message, MessageBatch, link_request,
    link_response, message, start,
};
use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Manager, Node, Plan},
    raw::exchange_bytes,
    sink::{Manners, Sink},
};
use pushctl::push::Push;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const WITHIN: Duration = Duration::from_secs(30);
/// A silent link is given up after 3 s; doubled, and a little.
const NOTICED: Duration = Duration::from_secs(8);

/// The manager's side of a link, without a manager.
struct Stranger {
    frames: mpsc::Sender<LinkRequest>,
    answers: Streaming<LinkResponse>,
}

impl Stranger {
    async fn open(node: &Node) -> Self {
        let (frames, queue) = mpsc::channel(64);
        let mut service = node.service().await;
        let answers = service.link(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { frames, answers }
    }

    async fn send(&self, frame: link_request::Frame) {
        let _ended = self.frames.send(LinkRequest { frame: Some(frame) }).await;
    }

    /// The next answer that is no heartbeat; `None` if the node ended the link without an error.
    async fn answer(&mut self) -> Result<Option<link_response::Frame>, Status> {
        loop {
            let answer = timeout(NOTICED, self.answers.message()).await.expect("the node reacts");
            match answer?.map(|answer| answer.frame.expect("a node sends no empty frames")) {
                Some(link_response::Frame::Heartbeat(_)) => {}
                other => return Ok(other),
            }
        }
    }

    /// Says hello as a manager that has accepted `newest_seq` messages; hands out where to start.
    async fn hello(&mut self, manager_id: u64, newest_seq: u64) -> start::From {
        self.send(hello(manager_id, newest_seq)).await;
        match self.answer().await.unwrap() {
            Some(link_response::Frame::Start(start)) => start.from.unwrap(),
            other => panic!("no start but {other:?}"),
        }
    }

    /// How the node ends the link; acknowledgements before it are skipped.
    async fn end(mut self) -> Result<(), Status> {
        while self.answer().await?.is_some() {}
        Ok(())
    }
}

fn hello(manager_id: u64, newest_seq: u64) -> link_request::Frame {
    link_request::Frame::Hello(Hello { manager_id, oldest_seq: 1, newest_seq, ..Hello::default() })
}

fn batch(seqs: impl IntoIterator<Item = u64>) -> link_request::Frame {
    let message = |seq| Message {
        seq,
        accepted_at: seq,
        target: Some(message::Target::RoomId("r".to_owned())),
        content: format!("stranger {seq}").into(),
        ..Message::default()
    };
    let batch = MessageBatch { messages: seqs.into_iter().map(message).collect() };
    link_request::Frame::Batch(batch.encode_to_vec().into())
}

fn fill(first_seq: u64, last_seq: u64) -> link_request::Frame {
    link_request::Frame::Fill(Fill { first_seq, last_seq, ..Fill::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_speaks_link_badly_loses_his_link_and_nobody_else_anything() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let node = &fleet.nodes[0];
    let mut listener = node.listen("u1", &["r"]).await;
    let garbage = link_request::Frame::Batch(vec![0xff; 100].into());
    let truncated = match batch([1]) {
        link_request::Frame::Batch(bytes) => link_request::Frame::Batch(bytes.slice(..bytes.len() - 3)),
        _ => unreachable!("batch makes batches"),
    };
    let no_target = link_request::Frame::Batch(
        MessageBatch { messages: vec![Message { seq: 1, accepted_at: 1, ..Message::default() }] }
            .encode_to_vec()
            .into(),
    );
    let heartbeat =
        link_request::Frame::Heartbeat(Heartbeat { newest_seq: 9, sent_seq: 9, ..Heartbeat::default() });
    let close = |newest_seq| link_request::Frame::Close(Close { newest_seq });
    let gap = |from, to| link_request::Frame::Gap(Gap { from, to });
    // What follows a good hello and fill of nothing, unless it says otherwise.
    let cases: Vec<(&str, bool, Vec<link_request::Frame>)> = vec![
        ("a batch before hello", false, vec![batch([1])]),
        ("a heartbeat before hello", false, vec![heartbeat]),
        ("hello of nobody", false, vec![hello(0, 0)]),
        ("a batch where fill is due", false, vec![hello(0xbad, 0), batch([1])]),
        ("a fill with a hole in it", false, vec![hello(0xbad, 5), fill(7, 3)]),
        ("a second hello", true, vec![hello(0xbad, 0)]),
        ("a second fill", true, vec![fill(1, 0)]),
        ("garbage for a batch", true, vec![garbage]),
        ("a batch cut off", true, vec![truncated]),
        ("a message without target", true, vec![no_target]),
        ("a hole between batches", true, vec![batch([1]), batch([3])]),
        ("a hole inside a batch", true, vec![batch([1, 3])]),
        ("a batch that starts too late", true, vec![batch([2])]),
        ("a message with seq 0", true, vec![batch([0])]),
        ("the end of all numbers", true, vec![batch([u64::MAX])]),
        ("a gap backwards", true, vec![batch([1, 2, 3]), gap(3, 2)]),
        ("a gap that leaves a hole", true, vec![gap(5, 9)]),
        ("a close of what was never sent", true, vec![batch([1]), close(7)]),
        ("a batch after close", true, vec![close(0), batch([1])]),
    ];
    for (number, (name, greets, frames)) in cases.into_iter().enumerate() {
        let mut stranger = Stranger::open(node).await;
        if greets {
            // Another id each time: what one stranger said must not excuse the next.
            stranger.hello(0x1000 + number as u64, 0).await;
            stranger.send(fill(1, 0)).await;
        }
        for frame in frames {
            stranger.send(frame).await;
        }
        let status = stranger.end().await.expect_err(name);
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::DataLoss),
            "{name}: {status}"
        );
        assert!(!status.message().is_empty(), "{name}");
    }
    // An empty frame, which is not even badly spoken.
    let mut stranger = Stranger::open(node).await;
    stranger.frames.send(LinkRequest { frame: None }).await.unwrap();
    assert!(stranger.answer().await.is_err());

    // The manager is still linked, and the strangers' whole messages are all that came beside.
    let answer = fleet.pusher().push(Push::to_room("r", "ours"), None).await.unwrap();
    assert_eq!((answer.nodes, answer.acked, answer.recipients), (1, 1, 1), "{answer:?}");
    for text in listener.texts_until("ours").await {
        assert!(text.starts_with("stranger "), "{text}");
    }
    eventually("only the manager's link is left", WITHIN, async || {
        let links = node.metrics().await.sum("connect_node_links", &[]);
        check(links == 1.0, || links.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stranger_is_given_up() {
    let node = Node::alone("n1", &[]).await;
    let mut before_hello = Stranger::open(&node).await;
    let mut after_hello = Stranger::open(&node).await;
    after_hello.hello(7, 0).await;
    let (first, second) = tokio::join!(before_hello.answer(), after_hello.answer());
    assert!(!matches!(first, Ok(Some(_))), "{first:?}");
    assert!(!matches!(second, Ok(Some(_))), "{second:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_link_of_a_manager_takes_over_and_repeats_are_dropped() {
    let node = Node::alone("n1", &[]).await;
    let mut listener = node.listen("u1", &["r"]).await;
    let mut old = Stranger::open(&node).await;
    assert!(matches!(old.hello(7, 0).await, start::From::FillBytes(_)));
    old.send(fill(1, 0)).await;
    old.send(batch([1, 2, 3])).await;
    match old.answer().await.unwrap() {
        Some(link_response::Frame::Ack(ack)) => {
            assert_eq!((ack.first_seq, ack.recipients), (1, vec![1, 1, 1]))
        }
        other => panic!("no ack but {other:?}"),
    }
    let mut new = Stranger::open(&node).await;
    assert_eq!(new.hello(7, 3).await, start::From::AfterSeq(3));
    assert!(old.end().await.is_err(), "the old link is told that it was replaced");
    // The manager never got the ack and repeats; the node has them already.
    new.send(batch([2, 3, 4])).await;
    for expected in 1..=4 {
        assert_eq!(listener.next_text().await, format!("stranger {expected}"));
    }
    new.send(batch([5])).await;
    assert_eq!(listener.next_text().await, "stranger 5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_speak_link_badly_delay_nobody() {
    let good = Sink::start("good", 1, Manners::Good).await;
    let mut bad = Vec::new();
    for (number, manners) in [
        Manners::NeverStarts,
        Manners::StartsInTheFuture,
        Manners::StartsTwice,
        Manners::AcksFirst,
        Manners::AcksAhead,
        Manners::AcksTwice,
        Manners::SendsNothingInAFrame,
        Manners::EndsAtOnce,
        Manners::Refuses,
    ]
    .into_iter()
    .enumerate()
    {
        bad.push(Sink::start(&format!("bad-{number}"), 1_000, manners).await);
    }
    let addresses: Vec<&str> = bad.iter().chain([&good]).map(Sink::addr).collect();
    let mut manager = Manager::start("m1", &[("--nodes", &addresses.join(","))]).await;
    manager.ready().await;
    let client = manager.client();
    eventually("the good one is linked", WITHIN, async || {
        let nodes = client.nodes().await.map_err(|status| status.to_string())?.nodes;
        check(nodes.iter().any(|node| node.node_id == "good" && node.link == "linked"), || {
            format!("{nodes:?}")
        })
    })
    .await;
    for number in 0..20 {
        let start = std::time::Instant::now();
        let answer = client.push(Push::to_everyone(number.to_string()), None).await.unwrap();
        // A second at most, which a machine that stands still makes longer; for an answer of all it would be 5 s.
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(answer.nodes as usize, bad.len() + 1, "{answer:?}");
        assert!(!answer.pending_nodes.contains(&"good".to_owned()), "{answer:?}");
    }
    let seen = good.seen();
    assert_eq!((seen.messages, seen.out_of_order, seen.links), (20, 0, 1), "{seen:?}");
    assert!(manager.process.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_grpc_ports_is_hung_up_on() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let bad_frame = [&preface[..], &[0xff; 64]].concat();
    for addr in [&fleet.managers[0].addr.grpc, &fleet.nodes[0].addr.grpc] {
        for garbage in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 64], &bad_frame] {
            exchange_bytes(addr, garbage).await;
        }
    }
    let answer = fleet.pusher().push(Push::to_room("r", "still"), None).await.unwrap();
    assert_eq!(answer.recipients, 1);
    assert_eq!(listener.next_text().await, "still");
}
