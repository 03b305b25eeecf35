//! What the window really takes of the heap, index included, beside what it may.

#![allow(clippy::print_stdout, reason = "the figures are worth a look")]

mod peer;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use connect_node::{
    batch::Batch, ingest::IngestSettings, key::Keys, tickets::TicketKeys, window::WindowLimits,
};
use peer::Node;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Heartbeat, Message, MessageBatch, message::Target};

/// Bytes that are allocated now.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does all the work; beside it only a number is counted.
#[allow(unsafe_code, reason = "an allocator is unsafe to write; this one only counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: what `alloc` gave came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BOUND: usize = 8 << 20;

/// Two tables of 64 Ki places.
const INDEX: usize = 2 * 64 * 1024 * 8;

/// Fills a window several times over with batches of so many messages. Returns the most that was held.
fn most_held(messages: usize, content: usize) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    let window = WindowLimits { bytes: BOUND, age: u64::MAX };
    let mut node = Node::with(IngestSettings { window, ..IngestSettings::default() }, TicketKeys::default());
    let without = HELD.load(Ordering::Relaxed);
    let keys = Keys::default();
    let (mut most, mut sent) = (0, 0);
    while sent < 3 * BOUND {
        let message = |at: u64| Message {
            seq: node.seq + at,
            accepted_at: node.now().micros,
            target: Some(Target::RoomId(format!("room-{}", at % 50))),
            content: Bytes::from(vec![b'x'; content]),
            ..Message::default()
        };
        let batch = MessageBatch { messages: (1..=messages as u64).map(message).collect() };
        let bytes = Bytes::from(batch.encode_to_vec());
        // Small messages take more in the window than on the wire.
        sent += bytes.len() + 100 * messages;
        let batch = Batch::decode(bytes, &keys).expect("it is a batch");
        node.seq += messages as u64;
        let now = node.now().micros;
        node.ingest.offer(node.owner, batch, now).expect("the link owns the manager");
        while node.ingest.next_ack(node.owner).expect("it does").is_some() {}
        let beat =
            Heartbeat { sent_seq: node.seq, acked_seq: node.seq, through: now, ..Heartbeat::default() };
        node.ingest.heartbeat(node.owner, &beat, now).expect("it does");
        most = most.max(HELD.load(Ordering::Relaxed));
    }
    // The index is there from the start, and a part of the bound.
    let rest = without - before - INDEX;
    assert!(rest < BOUND / 8, "{rest} bytes beside the index before the first message");
    most - before - rest
}

/// One test, since the heap is everybody's.
#[test]
fn the_window_takes_what_it_may_and_no_more() {
    for (messages, content) in [(1, 0), (1, 1000), (64, 0), (64, 128), (500, 20), (2, 200_000)] {
        let held = most_held(messages, content);
        let percent = held * 100 / BOUND;
        println!("{messages} messages of {content} bytes: {percent} %");
        // Not less either: then something that is not there would be counted.
        assert!((85..=105).contains(&percent), "{messages} messages of {content} bytes: {percent} %");
    }
}
