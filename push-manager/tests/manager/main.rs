//! Whole managers over real sockets, against nodes that speak Link and nothing else.

// The helpers are tests too, but clippy only knows those with the attribute.
#![allow(clippy::unwrap_used)]

mod answers;
mod conflicts;
mod controls;
mod gateway;
mod hand_ups;
mod harness;
mod http;
mod lifecycle;
mod links;
mod process;
mod sink;
mod streams;
