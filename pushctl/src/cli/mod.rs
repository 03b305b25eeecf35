//! Arguments in, exit code out: 0 done, 1 failed, 64 used wrongly.

mod arguments;
mod bench;
mod completions;
mod dev;
mod examples;
mod failures;
mod key;
mod listen;
mod manager_arguments;
mod nodes;
mod numbers;
mod outage;
mod output;
mod pipe;
mod push;
mod readable;
mod style;
mod table;
mod token;
mod top;
mod watch;

use std::{ffi::OsString, io, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Command};

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 64;

pub(crate) fn run(argv: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(argv) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come as errors that are none; where they cannot be printed, nobody reads.
            let _unread = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(if error.is::<output::Misuse>() { EXIT_USAGE } else { EXIT_FAILURE })
        }
    }
}

fn execute(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        match arguments.command {
            Command::Dev(dev) => dev::run(dev).await,
            Command::Push(push) => push::run(push).await,
            Command::Listen(listen) => listen::run(listen).await,
            Command::Nodes(nodes) => nodes::run(nodes).await,
            Command::Top(top) => top::run(top).await,
            Command::Bench(bench) => bench::run(bench).await,
            Command::Key(key) => key::run(key),
            Command::Token(token) => token::run(token),
            Command::Completions(completions) => completions::run(&completions),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
