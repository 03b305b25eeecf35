//! The Rust client library of Pushcast, and the command line on top of it.
//!
//! For business servers: [`push`] sends pushes to a push-manager and [`pipeline`] sends many of them on one
//! stream, with an [`api_key`] where the manager asks for one. For receivers: [`client`] is one connection to a connect-node, [`session`] is a connection that
//! comes back by itself as [`reconnect`] says, goes on where it was ([`progress`]), and shows no message twice
//! ([`seen`]). For watchers: [`figures`] says what a manager did between two scrapes of its metrics.

pub mod address;
pub mod api_key;
pub mod client;
pub mod figures;
pub mod format;
pub mod pipeline;
pub mod progress;
pub mod push;
pub mod reconnect;
pub mod seen;
pub mod session;
