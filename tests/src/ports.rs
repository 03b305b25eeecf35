//! Free ports for programs that cannot be told to pick one (etcd).

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which the kernel gives out ports, so that nobody gets ours by chance between
/// looking and using.
const FIRST: u16 = 12_000;
const COUNT: u16 = 16_000;

/// A port that nobody listens on, given out to nobody else in this process.
///
/// # Panics
/// If there is none at all.
pub fn free_port() -> u16 {
    free_span(1)
}

/// The first of `count` ports in a row that nobody listens on, given out to nobody else in this process: whoever has
/// them may stop listening and listen again.
///
/// # Panics
/// If there are none.
pub fn free_span(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes at once start at different places.
    let offset = (std::process::id() % u32::from(COUNT)) as u16;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for _ in 0..COUNT / count {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + offset.wrapping_mul(37).wrapping_add(step) % COUNT;
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row between {FIRST} and {}", FIRST + COUNT);
}
