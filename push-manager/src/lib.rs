//! The push-manager.

pub mod answers;
pub mod api;
pub mod clock;
mod hub;
pub mod link_state;
pub mod log;
mod metrics;
pub mod nodes;
mod push;
