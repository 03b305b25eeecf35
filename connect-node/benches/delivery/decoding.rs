//! A batch from the bytes of a link, keys included.

use connect_node::{batch::Batch, key::Keys};
use criterion::{Criterion, Throughput};

use crate::fixture::{BATCHES, batch};

pub(crate) fn benchmarks(criterion: &mut Criterion) {
    let keys = Keys::default();
    let mut group = criterion.benchmark_group("decode");
    for messages in BATCHES {
        let bytes = batch(1, messages);
        group.throughput(Throughput::Elements(messages));
        group.bench_function(format!("batch_of_{messages}"), |bencher| {
            bencher.iter(|| Batch::decode(bytes.clone(), &keys));
        });
    }
    group.finish();
}
