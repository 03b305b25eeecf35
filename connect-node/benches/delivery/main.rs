//! What each step of a delivery costs by itself, without sockets: `cargo bench -p connect-node`, with a part of a
//! name behind it for some of them.
//!
//! For comparing two versions on one machine, one after the other. What holds anywhere is the count of
//! instructions in `tests/guard`.

mod decoding;
mod fixture;
mod frames;
mod ingest;
mod outbox;
mod tables;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // What else the machine does changes the figures more than chance does, and longer runs do not change that.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    decoding::benchmarks(&mut criterion);
    ingest::benchmarks(&mut criterion);
    tables::benchmarks(&mut criterion);
    frames::benchmarks(&mut criterion);
    outbox::benchmarks(&mut criterion);
    criterion.final_summary();
}
