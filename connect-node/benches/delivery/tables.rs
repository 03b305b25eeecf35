//! Whom a message is for: a look-up by the key it brings along, and a walk over the members.

use std::{cell::LazyCell, hint::black_box};

use connect_node::{
    key::{Key, Keys},
    shard::tables::Tables,
};
use criterion::{Criterion, Throughput};

use crate::fixture::{ROOMS, room};

const ROOM_SIZE: u64 = 10;
const LARGE_ROOM: &str = "large";
const LARGE_ROOM_SIZE: u64 = 5000;

/// Has no divisor in common with [`ROOMS`], so that steps of it come to every room, far from the one before.
const STRIDE: u64 = 61_803;

/// As many connections as rooms, each in as many rooms as a room has members, the first in the large one, too.
fn tables(keys: &Keys) -> Tables {
    let mut tables = Tables::new(keys.clone());
    for n in 0..ROOMS {
        let slot = n as u32;
        tables.connect(slot, "", &format!("user-{n}"));
        for nth in 0..ROOM_SIZE {
            tables.join(slot, &room(n * ROOM_SIZE + nth), 1);
        }
        if n < LARGE_ROOM_SIZE {
            tables.join(slot, LARGE_ROOM, 1);
        }
    }
    tables
}

/// Ids with their keys, in an order that no cache foresees.
fn scattered(keys: &Keys, name: impl Fn(u64) -> String) -> Vec<(Key, String)> {
    let named = |n: u64| {
        let room = name(n * STRIDE % ROOMS);
        (keys.room(b"", room.as_bytes()), room)
    };
    (0..ROOMS).map(named).collect()
}

/// Touches every member.
fn walk(members: &[u32]) -> u32 {
    members.iter().fold(0, |sum, slot| sum.wrapping_add(*slot))
}

pub(crate) fn benchmarks(criterion: &mut Criterion) {
    let keys = Keys::default();
    let tables = LazyCell::new(|| tables(&keys));
    let look_up = |(key, room): &(Key, String)| {
        // As a message has it: no tenant, at a place where there is something else.
        let (tenant, room) = room.as_bytes().split_at(0);
        walk(tables.room(*key, tenant, room))
    };
    let mut group = criterion.benchmark_group("table_look_up");

    let one = (keys.room(b"", room(1).as_bytes()), room(1));
    group.throughput(Throughput::Elements(1));
    group.bench_function("room_of_10_again_and_again", |bencher| bencher.iter(|| look_up(black_box(&one))));
    for (name, rooms) in [
        ("room_of_10_another_each_time", scattered(&keys, room)),
        ("room_of_nobody_another_each_time", scattered(&keys, |n| format!("elsewhere-{n}"))),
    ] {
        let mut rooms = rooms.iter().cycle();
        group.bench_function(name, |bencher| bencher.iter(|| rooms.next().map(look_up)));
    }
    let large = (keys.room(b"", LARGE_ROOM.as_bytes()), LARGE_ROOM.to_owned());
    group.throughput(Throughput::Elements(LARGE_ROOM_SIZE));
    group.bench_function("room_of_5000", |bencher| bencher.iter(|| look_up(black_box(&large))));
    group.finish();
}
