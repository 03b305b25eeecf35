//! Clients that come back, in virtual time: what they get, what they are told, and what becomes of the connection
//! they had.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod controls;
mod missed;
mod nodes;
#[path = "../peer/mod.rs"]
mod peer;
mod returning;
mod tickets;
