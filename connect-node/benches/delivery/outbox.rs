//! Frames through an outbox: straight to a socket that takes them, and waiting for one that does not.

use std::{hint::black_box, io, task::Waker};

use connect_node::shard::{outbox::Outbox, transport::Transport};
use criterion::{BatchSize, Criterion, Throughput};

use crate::fixture::CONTENT;

/// Frames sent to a socket that refuses, one after the other.
const REFUSED: u64 = 8;

/// Bytes that wait for a socket before they are flushed.
const WAITING: usize = 64 * 1024;

/// A socket that takes everything, or nothing.
enum Socket {
    Open,
    Full,
}

impl Transport for Socket {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // Which it is must not be known when this is compiled.
        match black_box(self) {
            Self::Open => Ok(black_box(bytes).len()),
            Self::Full => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wake_when_writable(&self, _: &Waker) {}

    fn finish(&self) {}
}

/// A binary frame whose length takes two more bytes.
fn frame() -> Vec<u8> {
    let mut frame = vec![0x82, 126, 0, CONTENT as u8];
    frame.resize(frame.len() + CONTENT, b'x');
    frame
}

fn waiting() -> Outbox {
    let mut outbox = Outbox::default();
    while outbox.len() < WAITING {
        outbox.push(&frame());
    }
    outbox
}

pub(crate) fn benchmarks(criterion: &mut Criterion) {
    let frame = frame();
    let mut group = criterion.benchmark_group("outbox");

    group.throughput(Throughput::Elements(1));
    let mut outbox = Outbox::default();
    group.bench_function("send_to_one_that_takes", |bencher| {
        bencher.iter(|| outbox.send(&Socket::Open, &frame).is_ok());
    });
    group.throughput(Throughput::Elements(REFUSED));
    group.bench_function("send_8_to_one_that_refuses", |bencher| {
        let send = |outbox: &mut Outbox| {
            for _ in 0..REFUSED {
                black_box(outbox.send(&Socket::Full, &frame).is_ok());
            }
        };
        bencher.iter_batched_ref(Outbox::default, send, BatchSize::SmallInput);
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("flush_64_KiB_to_one_that_takes", |bencher| {
        let flush = |outbox: &mut Outbox| outbox.flush(&Socket::Open).is_ok();
        bencher.iter_batched_ref(waiting, flush, BatchSize::LargeInput);
    });
    let mut outbox = waiting();
    group.bench_function("flush_64_KiB_to_one_that_refuses", |bencher| {
        bencher.iter(|| outbox.flush(&Socket::Full).is_ok());
    });
    group.finish();
}
