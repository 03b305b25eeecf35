//! Whom a message is for, by the key it brings along.

use anyhow::ensure;
use connect_node::{
    key::{Key, Keys},
    shard::tables::Tables,
};

use crate::Case;

/// Connections, and rooms. How many there are changes what is in the caches, and not what is done.
const ROOMS: usize = 1000;

/// Rooms of a connection, and connections in a room.
const ROOM_SIZE: usize = 10;

/// Looking up every room, or as many that nobody is in.
pub(crate) struct LookUps {
    tables: Tables,
    rooms: Vec<(Key, String)>,
    somebody: bool,
    found: usize,
}

impl LookUps {
    pub(crate) fn new(somebody: bool) -> Self {
        let keys = Keys::default();
        let mut tables = Tables::new(keys.clone());
        for n in 0..ROOMS {
            tables.connect(n as u32, "", &format!("user-{n}"));
            for nth in 0..ROOM_SIZE {
                tables.join(n as u32, &format!("room-{}", (n * ROOM_SIZE + nth) % ROOMS), 1);
            }
        }
        let of = |n| if somebody { format!("room-{n}") } else { format!("else-{n}") };
        let rooms = (0..ROOMS).map(of).map(|room| (keys.room(b"", room.as_bytes()), room)).collect();
        Self { tables, rooms, somebody, found: 0 }
    }
}

impl Case for LookUps {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        for (key, room) in &self.rooms {
            self.found += self.tables.room(*key, b"", room.as_bytes()).len();
        }
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        let there = if self.somebody { rounds * ROOMS * ROOM_SIZE } else { 0 };
        ensure!(self.found == there, "{} members found, not {there}", self.found);
        Ok(())
    }
}
