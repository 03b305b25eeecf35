//! The harness of the whole-system tests: our own processes on free ports, a real etcd, real sockets.
//!
//! A test builds a [`fleet`], pushes through it with `pushctl`'s library, and waits for conditions with
//! [`eventually`]. What may stand between or beside the parts: a [`proxy`] that makes the network bad, and
//! a [`sink`] that speaks the node's side of a link cheaply, or wrongly on purpose.

pub mod api_keys;
pub mod authority;
pub mod dev;
pub mod etcd;
pub mod eventually;
pub mod fleet;
pub mod http;
pub mod listener;
pub mod metrics;
pub mod ports;
pub mod processes;
pub mod proxy;
pub mod raw;
pub mod sink;
pub mod upgrade;
