//! Flags and environment variables, with every mistake reported at once.
//!
//! [`parse()`] reads the command line into a clap struct of plain texts and collects what clap refuses;
//! the binary's `Config` then turns the texts into values through [`Problems`], which collects the
//! rest; [`Problems::check`] finally ends in exit code 64 with one line per mistake.

mod addr;
mod etcd_args;
mod parse;
mod problems;
mod size;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub use addr::{Addr, BindError, bind};
pub use etcd_args::EtcdArgs;
pub use parse::{parse, parse_with};
pub use problems::{OPEN, Problem, Problems};

/// Exit code for a wrong command line (EX_USAGE of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// The process has to end here: help was asked for, or the settings are wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ExitOutcome {
    /// 0 for `--help` and `--version`, [`EXIT_USAGE`] for mistakes.
    pub code: u8,
    /// What to show, ending in a line break.
    pub text: String,
}

impl ExitOutcome {
    /// Shows the text (help on stdout, mistakes on stderr) and gives `main` its exit code.
    pub fn report(&self) -> ExitCode {
        // With the reader gone there is nobody left to tell.
        let _unread = if self.code == 0 {
            io::stdout().lock().write_all(self.text.as_bytes())
        } else {
            io::stderr().lock().write_all(self.text.as_bytes())
        };
        ExitCode::from(self.code)
    }
}
