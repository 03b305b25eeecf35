//! What a message costs a manager once, and what a batch of it costs per node: `cargo bench -p push-manager`, with a
//! part of a name behind it for some of them.
//!
//! For comparing two versions on one machine, one after the other. What holds anywhere is the count of
//! instructions in `tests/guard`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use prost::Message as _;
use push_manager::{
    api::Api,
    clock::{Now, SECOND},
    link_state::{Identity, LinkState, Next},
    log::{BATCH_BYTES, Log, LogLimits, Range},
};
use pushcast_proto::connectnode::v1::{
    Ack, LinkRequest, LinkResponse, Message, Start, link_response::Frame, message::Target, start::From,
};

/// Content of every message, bytes: the size the budgets speak of.
const CONTENT: usize = 128;

/// As by default.
const LIMITS: LogLimits = LogLimits { bytes: 128 << 20, age: 120 * SECOND };

/// Nodes that are sent a batch in one go, so that reading the clock costs nothing beside it.
const NODES: u64 = 64;

/// Messages per batch: idle, and as the budgets have it, and under load.
const BATCHES: [u64; 3] = [1, 16, 256];

const NOW: Now = Now { wall: 1_000_000_000, mono: 1 };

fn message() -> Message {
    Message {
        target: Some(Target::RoomId("room-1".into())),
        content: Bytes::from(vec![b'x'; CONTENT]),
        ..Message::default()
    }
}

fn append(log: &mut Log, message: &mut Message) {
    black_box(log.append(message, Some(Api::PushToRoom), NOW));
}

/// A log that is full: what is appended makes something else go.
fn full_log() -> Log {
    let mut log = Log::new(LIMITS);
    let mut message = message();
    while log.oldest() == 1 {
        append(&mut log, &mut message);
    }
    log
}

fn appending(criterion: &mut Criterion) {
    let mut log = full_log();
    let mut message = message();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    group.bench_function("append", |bencher| bencher.iter(|| append(&mut log, &mut message)));
    let oldest = log.oldest();
    group.bench_function("range_of_a_full_batch", |bencher| {
        bencher.iter(|| assert!(matches!(log.range(oldest, BATCH_BYTES), Range::Batch(_))));
    });
    group.finish();
}

/// The links to some nodes, and the log they are sent.
struct Fleet {
    log: Log,
    links: Vec<LinkState>,
    identity: Identity,
    /// What HTTP/2 takes a frame from.
    wire: Vec<u8>,
}

/// What is timed of a batch's way to a node and back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Send,
    Acknowledgement,
}

impl Fleet {
    fn new() -> Self {
        let identity = Identity { manager_id: 7, ..Identity::default() };
        let mut fleet = Self { log: full_log(), links: Vec::new(), identity, wire: Vec::new() };
        fleet.links = (0..NODES).map(|n| fleet.linked(n)).collect();
        fleet
    }

    /// A link whose node has everything.
    fn linked(&mut self, n: u64) -> LinkState {
        let mut link = LinkState::new();
        link.opened();
        self.send(&mut link);
        let start = Start {
            node_id: format!("node-{n}"),
            instance: "1".into(),
            from: Some(From::AfterSeq(self.log.newest())),
            ..Start::default()
        };
        self.hear(&mut link, Frame::Start(start));
        // The first heartbeat; no other is due while the clock stands.
        self.send(&mut link);
        link
    }

    fn send(&mut self, link: &mut LinkState) {
        let Next::Frame(frame) = link.next_frame(&mut self.log, &self.identity, NOW) else {
            panic!("the link has nothing to send");
        };
        self.wire.clear();
        LinkRequest { frame: Some(frame) }.encode(&mut self.wire).expect("a vector takes every frame");
    }

    /// One batch, or two where a segment of the log ends between.
    fn send_news(&mut self, link: &mut LinkState) {
        while link.sent() < self.log.newest() {
            self.send(link);
        }
    }

    fn hear(&self, link: &mut LinkState, frame: Frame) {
        let heard = link.received(LinkResponse { frame: Some(frame) }, &self.log, NOW);
        black_box(heard.expect("the node says what it may"));
    }

    /// How long `part` takes of so many batches to all nodes.
    fn time(&mut self, part: Part, batches: u64, messages: u64) -> Duration {
        let mut message = message();
        let mut links = std::mem::take(&mut self.links);
        let mut spent = Duration::ZERO;
        for _ in 0..batches {
            let first_seq = self.log.newest() + 1;
            (0..messages).for_each(|_| append(&mut self.log, &mut message));
            let ack = || Ack { first_seq, recipients: vec![1; messages as usize], ..Ack::default() };
            let acks: Vec<Ack> = links.iter().map(|_| ack()).collect();

            let begun = Instant::now();
            links.iter_mut().for_each(|link| self.send_news(link));
            let sent = Instant::now();
            links.iter_mut().zip(acks).for_each(|(link, ack)| self.hear(link, Frame::Ack(ack)));
            spent += if part == Part::Send { sent - begun } else { sent.elapsed() };
        }
        self.links = links;
        spent
    }
}

fn linking(criterion: &mut Criterion) {
    for (name, part) in [("link_send", Part::Send), ("link_acknowledgement", Part::Acknowledgement)] {
        let mut fleet = Fleet::new();
        let mut group = criterion.benchmark_group(name);
        for messages in BATCHES {
            // One element is one node's share.
            group.throughput(Throughput::Elements(NODES));
            group.bench_function(format!("batch_of_{messages}_to_64_nodes"), |bencher| {
                bencher.iter_custom(|batches| fleet.time(part, batches, messages));
            });
        }
        group.finish();
    }
}

fn main() {
    // What else the machine does changes the figures more than chance does, and longer runs do not change that.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    appending(&mut criterion);
    linking(&mut criterion);
    criterion.final_summary();
}
