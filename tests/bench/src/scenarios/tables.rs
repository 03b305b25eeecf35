//! The tables alone, with a million members and no sockets: what of a connection's memory is theirs, and what entering,
//! leaving and looking up cost when nothing of them fits into a cache.

use std::{hint::black_box, time::Duration};

use anyhow::ensure;
use connect_node::{
    key::{Key, Keys},
    shard::tables::Tables,
};

use super::{Failures, Settings, progress};
use crate::{clock::Nanos, cores, procfs::memory_of_tree, statistics::Series};

/// Connections, each a user of its own and in one room.
pub(crate) const MEMBERS: usize = 1_000_000;

/// Rooms, each of ten.
pub(crate) const ROOMS: usize = 100_000;

/// Steps of these come to every room and to every member, far from the one before: neither has a divisor in common with
/// what it steps through.
const ROOM_STRIDE: usize = 61_803;
const MEMBER_STRIDE: usize = 618_033;

/// How often every room is looked up: each pass takes some milliseconds.
const PASSES: usize = 10;

/// By round, but for memory: microseconds for each connection or stay, nanoseconds for each look-up.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Of the first round alone: later ones get what this process has used before.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) connect: Series,
    pub(crate) join: Series,
    /// The ten members of a room, by its key.
    pub(crate) look_up: Series,
    /// A room that nobody is in.
    pub(crate) look_up_nobody: Series,
    pub(crate) leave: Series,
    pub(crate) disconnect: Series,
}

/// Resident memory per member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    /// Of a connection and its user, in no room.
    pub(crate) connection: f64,
    /// Of its stay in a room, that room's own share included.
    pub(crate) stay: f64,
}

/// To be run before anything else: memory that this process had and gave back would count for nothing.
pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Figures {
    let mut figures = Figures::default();
    for round in 0..settings.rounds {
        let what = format!("tables with {MEMBERS} members, round {}", round + 1);
        progress(&what);
        if let Some(one) = failures.note(&what, cores::on_server_core(measure)) {
            figures.bytes = figures.bytes.or_else(|| (round == 0).then_some(one.bytes));
            figures.connect.push(round, micros(one.connect, MEMBERS));
            figures.join.push(round, micros(one.join, MEMBERS));
            figures.look_up.push(round, 1e3 * micros(one.look_up, ROOMS * PASSES));
            figures.look_up_nobody.push(round, 1e3 * micros(one.look_up_nobody, ROOMS * PASSES));
            figures.leave.push(round, micros(one.leave, MEMBERS));
            figures.disconnect.push(round, micros(one.disconnect, MEMBERS));
        }
    }
    figures
}

struct Round {
    bytes: Bytes,
    connect: Duration,
    join: Duration,
    look_up: Duration,
    look_up_nobody: Duration,
    leave: Duration,
    disconnect: Duration,
}

fn measure() -> anyhow::Result<Round> {
    let memory = || memory_of_tree(std::process::id());
    let keys = Keys::default();
    // Names are there before anything is counted: a node has them from the client's frame.
    let users: Vec<String> = (0..MEMBERS).map(|n| format!("user-{n:07}")).collect();
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("room-{n:06}")).collect();
    let nobodys: Vec<String> = (0..ROOMS).map(|n| format!("else-{n:06}")).collect();
    let asked = |names: &[String]| -> Vec<(Key, usize)> {
        let at = |n| n * ROOM_STRIDE % ROOMS;
        (0..ROOMS).map(|n| (keys.room(b"", names[at(n)].as_bytes()), at(n))).collect()
    };
    let (wanted, unwanted) = (asked(&rooms), asked(&nobodys));
    let room_of = |member: usize| &rooms[member * ROOM_STRIDE % ROOMS];
    let scattered = || (0..MEMBERS).map(|n| n * MEMBER_STRIDE % MEMBERS);

    let mut tables = Tables::new(keys.clone());
    let empty = memory()?;
    let (connect, ()) = timed(|| {
        for (slot, user) in users.iter().enumerate() {
            tables.connect(slot as u32, "", user);
        }
    });
    let connected = memory()?;
    let (join, joined) = timed(|| scattered().filter(|n| tables.join(*n as u32, room_of(*n), 1)).count());
    let inside = memory()?;
    let look_up = |tables: &Tables, asked: &[(Key, usize)], names: &[String]| {
        timed(|| {
            let members = |(key, at): &(Key, usize)| tables.room(*key, b"", names[*at].as_bytes()).len();
            (0..PASSES).map(|_| black_box(asked).iter().map(members).sum::<usize>()).sum::<usize>()
        })
    };
    let (look_up_wanted, found) = look_up(&tables, &wanted, &rooms);
    let (look_up_nobody, found_nobody) = look_up(&tables, &unwanted, &nobodys);
    let (leave, left) =
        timed(|| scattered().filter(|n| tables.leave(*n as u32, room_of(*n)).is_some()).count());
    let (disconnect, _keys) =
        timed(|| scattered().map(|slot| tables.disconnect(slot as u32).len()).sum::<usize>());

    ensure!((joined, left) == (MEMBERS, MEMBERS), "{joined} members joined and {left} left");
    ensure!((found, found_nobody) == (MEMBERS * PASSES, 0), "{found} and {found_nobody} members were found");
    ensure!(tables.connections() == 0 && tables.rooms() == 0, "somebody is left in the tables");
    let each = |after: u64, before: u64| (after as f64 - before as f64) / MEMBERS as f64;
    Ok(Round {
        bytes: Bytes { connection: each(connected, empty), stay: each(inside, connected) },
        connect,
        join,
        look_up: look_up_wanted,
        look_up_nobody,
        leave,
        disconnect,
    })
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Nanos::now();
    let done = work();
    (Nanos::now().since(begun), done)
}

fn micros(all: Duration, count: usize) -> f64 {
    all.as_secs_f64() * 1e6 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_come_to_everything_once() {
        for (stride, count) in [(ROOM_STRIDE, ROOMS), (MEMBER_STRIDE, MEMBERS)] {
            let mut seen = vec![false; count];
            (0..count).for_each(|n| seen[n * stride % count] = true);
            assert!(seen.into_iter().all(|seen| seen), "{stride} through {count}");
        }
    }
}
