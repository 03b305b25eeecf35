//! One shard: a thread with its own event loop, its own connections and its own tables.
//!
//! In reading order: [`thread`] runs the event loop; `upgrade` turns a socket into a WebSocket, if `doors` lets it,
//! after a `tls_handshake` where TLS is spoken; `socket` and `tls` are what bytes then go through; `task` is a
//! connection's own task, and `crowd` makes it wait if many have something to do at once; [`state`] is what the shard owns;
//! `reading`, `session` and `membership` take what clients say, `token` looks at what they may, `pace` at how much;
//! `resume` takes a client back and `replay` gives it what it missed; `delivery` places what the inbox holds, `control`
//! obeys what is a control in it; `tickets` issues tickets; `sweep` does what time demands; `closing` ends connections.

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
mod crowd;
mod delivery;
pub(crate) mod doors;
mod membership;
mod pace;
mod reading;
mod replay;
mod resume;
mod session;
mod socket;
mod sweep;
mod task;
mod tickets;
mod tls;
mod tls_handshake;
mod token;
mod upgrade;
mod wheel;
