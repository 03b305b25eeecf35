//! One shard: a thread with its own event loop, its own connections and its own tables.
//!
//! In reading order: [`thread`] runs the event loop; `upgrade` turns a socket into a WebSocket; `task` is a
//! connection's own task; [`state`] is what the shard owns; `reading` and `session` take what clients say;
//! `delivery` places what the inbox holds; `sweep` does what time demands; `closing` ends connections.

pub mod connection;
pub mod frames;
pub mod outbox;
pub mod slab;
pub mod state;
pub mod tables;
pub mod thread;
pub mod transport;

mod closing;
mod delivery;
mod reading;
mod session;
mod sweep;
mod task;
mod upgrade;
mod wheel;
