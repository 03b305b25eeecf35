//! The push-manager: takes pushes from business servers and fans them out to every connect-node.
//!
//! The path of a push: `push_service` or `push_stream` (or `gateway`, for HTTP) checks it with
//! `validate` and hands it to the `hub`, which appends it to the `log`; every `link` takes what
//! its `link_state` says comes next; acknowledgements come back to `answers`, which tells when the
//! push is answered. `nodes` knows which nodes there are, `fleet` owns their links. `api_auth` stands before it all,
//! where callers have to prove who they are.
//!
//! `log`, `link_state`, `answers` and `nodes` do no I/O and are told the time, so that a simulation can
//! drive them.

pub mod answers;
pub mod api;
pub mod api_auth;
mod backoff;
pub mod clock;
mod config;
mod connection;
mod deadline;
mod fleet;
mod gateway;
mod grpc_server;
mod hub;
mod link;
pub mod link_state;
mod listing;
pub mod log;
mod membership;
mod metrics;
pub mod nodes;
mod push;
mod push_service;
mod push_stream;
mod readiness;
mod refusal;
mod responses;
mod run;
mod silence;
pub mod trace;
mod validate;

pub use self::{
    config::Config,
    membership::MembershipError,
    run::{Extras, Listeners, RunError, run, run_with},
};
