//! One shard: a thread with its own event loop, its own connections and its own tables.
//!
//! In reading order: [`thread`] runs the event loop; `upgrade` turns a socket into a WebSocket; `task` is a
//! connection's own task; [`state`] is what the shard owns; `reading` and `session` take what clients say;
//! `resume` takes a client back and `replay` gives it what it missed; `delivery` places what the inbox holds,
//! `control` obeys what is a control in it; `tickets` issues tickets; `sweep` does what time demands; `closing` ends
//! connections.

pub mod connection;
pub mod frames;
pub mod outbox;
pub mod slab;
pub mod state;
pub mod tables;
pub mod thread;
pub mod transport;

mod closing;
mod control;
mod delivery;
mod reading;
mod replay;
mod resume;
mod session;
mod sweep;
mod task;
mod tickets;
mod upgrade;
mod wheel;
