//! A fleet in one thread and in virtual time: the product's own log, links, answers, ingest, inboxes and
//! shards, driven through a random schedule, and checked against what was really accepted and placed.
//!
//! No socket, no runtime, no clock: a schedule is its seed. What the product leaves to its I/O is played
//! here: connections that delay, cut and lose frames, processes that crash, a registry that lags, clients
//! whose sockets refuse, shards that are late.
//!
//! In reading order: `world` is the schedule and what happens in it; `manager` and `node` hold one process
//! each; `pipe` is a connection between them; `client` and `socket` are a client. `truth` is what the checks
//! know to be so; `numbers`, `quotes`, `ledger` and `world::ending` check; `findings` names the checks.
//! [`Naive`] replaces a mechanism by its naive form, so that a test can see the check behind it fail.

mod chance;
mod client;
mod findings;
mod ledger;
mod manager;
mod naive;
mod node;
mod numbers;
mod person;
mod pipe;
mod quotes;
mod registry;
mod socket;
mod stage;
mod truth;
mod world;

pub use findings::{Check, Counts, Report, Violation};
pub use naive::Naive;

/// Runs the schedule of a seed, with one mechanism replaced if `naive` says so. The same arguments give the
/// same report.
pub fn run(seed: u64, naive: Option<Naive>) -> Report {
    world::World::new(seed, naive, false).run()
}

/// The same, with the report telling what happened.
pub fn retell(seed: u64, naive: Option<Naive>) -> Report {
    world::World::new(seed, naive, true).run()
}
