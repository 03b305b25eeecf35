//! The push-manager.

pub mod answers;
pub mod api;
pub mod clock;
mod backoff;
mod connection;
mod deadline;
mod fleet;
mod hub;
mod link;
mod listing;
mod silence;
pub mod link_state;
pub mod log;
mod metrics;
pub mod nodes;
mod push;
mod push_service;
mod push_stream;
mod refusal;
mod validate;
