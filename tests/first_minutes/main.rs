//! The first five minutes of a newcomer: `pushctl dev`, its page in a browser, the command line in a
//! terminal. (Every command of the README: see `readme/`.)

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod dev;
mod page;
mod terminal;
mod tmux;
mod top;
