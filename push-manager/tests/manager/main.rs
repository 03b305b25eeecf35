//! Whole managers over real sockets, against nodes that speak Link and nothing else.

mod answers;
mod gateway;
mod harness;
mod http;
mod lifecycle;
mod links;
mod process;
mod sink;
mod streams;
