//! The first five minutes of a newcomer: `pushctl dev`, its page in a browser, the command line in a
//! terminal, and every command of the README.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod dev;
mod page;
mod readme;
mod terminal;
mod tmux;
mod top;
