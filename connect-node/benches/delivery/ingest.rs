//! A batch from its arrival into the window, and past an inbox whose shard does not want it.
//!
//! The window is as large as by default and full, so that each batch that comes makes another one go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use connect_node::{
    batch::Batch,
    inbox::{Inbox, Taken},
    ingest::{Ingest, IngestSettings, Owner},
    key::{Key, Keys},
};
use criterion::{Criterion, Throughput};
use pushcast_proto::connectnode::v1::{Fill, Heartbeat, Hello};
use tokio::sync::Notify;

use crate::fixture::{BATCHES, MANAGER, NOW, ROOMS, batch};

/// Batches that are made, then offered in one go, so that reading the clock costs nothing beside it: 64 messages each
/// are some 5 MiB.
const AT_ONCE: u64 = 256;

/// A link that has filled the window of its node.
struct Link {
    ingest: Ingest,
    owner: Owner,
    keys: Keys,
    sent: u64,
}

impl Link {
    fn new(keys: Keys, inboxes: Vec<Arc<Inbox>>, batches_of: u64) -> Self {
        let settings = IngestSettings::default();
        let wakes = inboxes.iter().map(|_| Arc::new(Notify::new())).collect();
        let ingest = Ingest::new(inboxes, wakes, keys.clone(), settings.clone());
        let owner = ingest.take_over(&Hello { manager_id: MANAGER, ..Hello::default() }, NOW).owner;
        let fill = Fill { first_seq: 1, ..Fill::default() };
        ingest.fill(owner, &fill, NOW).expect("the link owns its manager");
        let mut link = Self { ingest, owner, keys, sent: 0 };
        let mut filled = 0;
        while filled < settings.window.bytes {
            let batch = link.next_batch(batches_of);
            filled += batch.bytes();
            link.offer(batch);
            link.settle();
        }
        link
    }

    fn next_batch(&mut self, messages: u64) -> Batch {
        let bytes = batch(self.sent + 1, messages);
        self.sent += messages;
        Batch::decode(bytes, &self.keys).expect("it is a batch")
    }

    fn offer(&self, batch: Batch) {
        self.ingest.offer(self.owner, batch, NOW).expect("the link owns its manager");
    }

    /// Acknowledges what was offered, and has that confirmed.
    fn settle(&self) {
        while self.ingest.next_ack(self.owner).expect("the link owns its manager").is_some() {}
        let beat = Heartbeat { sent_seq: self.sent, acked_seq: self.sent, ..Heartbeat::default() };
        self.ingest.heartbeat(self.owner, &beat, NOW).expect("the link owns its manager");
    }

    /// How long it takes to offer so many batches.
    fn time(&mut self, batches: u64, messages: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = batches;
        while left > 0 {
            let now: Vec<Batch> = (0..left.min(AT_ONCE)).map(|_| self.next_batch(messages)).collect();
            left -= now.len() as u64;
            let begun = Instant::now();
            now.into_iter().for_each(|batch| self.offer(batch));
            spent += begun.elapsed();
            self.settle();
        }
        spent
    }
}

/// An inbox of a shard with as many rooms as there are, and none of those that messages are for.
fn strangers_inbox(keys: &Keys) -> Arc<Inbox> {
    let interest: Vec<Key> =
        (0..ROOMS).map(|n| keys.room(b"", format!("elsewhere-{n}").as_bytes())).collect();
    let inbox = Inbox::default();
    inbox.subscribe(&interest, &mut Taken::default());
    Arc::new(inbox)
}

pub(crate) fn benchmarks(criterion: &mut Criterion) {
    for name in ["window_insert", "nobody_wants_it"] {
        let mut group = criterion.benchmark_group(name);
        for messages in BATCHES {
            group.throughput(Throughput::Elements(messages));
            let new_link = || {
                let keys = Keys::default();
                let inboxes = if name == "window_insert" { Vec::new() } else { vec![strangers_inbox(&keys)] };
                Link::new(keys, inboxes, messages)
            };
            // Only once it is known that this one was asked for: it takes a moment.
            let mut link = None;
            group.bench_function(format!("batch_of_{messages}"), |bencher| {
                let link = link.get_or_insert_with(new_link);
                bencher.iter_custom(|batches| link.time(batches, messages));
            });
        }
        group.finish();
    }
}
