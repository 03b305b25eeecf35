//! A connect-node: holds the clients' connections and delivers every push its rooms and users want.
//!
//! The path of one message, in reading order: a manager's batch comes in at [`link_service`], which asks
//! [`link_state`] what it may mean; [`ingest`] numbers it and offers it to every shard's [`inbox`]; a
//! [`shard`] looks into its tables, encodes it once per format and puts it into [`shard::outbox`]es; when
//! every shard has done so ([`placement`]), the link acknowledges it with the counts.
//!
//! What holds it up: nodes never call nodes · tables do no I/O and never await · no lock is held across an
//! await or a write · nothing on the path of a delivery waits for a client.

mod acceptor;
mod close;
mod config;
mod drain;
mod http_router;
mod link_service;
mod managers;
mod metrics;
mod node_service;
mod readiness;
mod run;

mod acks;
pub mod auth;
pub mod batch;
mod clocks;
mod completeness;
mod controls;
pub mod floor;
mod hand_ups;
mod history;
pub mod inbox;
pub mod ingest;
pub mod key;
pub mod limits;
pub mod link_state;
pub mod manager;
pub mod placement;
pub mod position;
mod requests;
mod roster;
pub mod shard;
pub mod tickets;
pub mod window;

pub use config::Config;
pub use metrics::ShardMetrics;
pub use run::{Listeners, RunError, run};
