//! `pushctl completions`.

use clap::CommandFactory as _;

use super::{
    arguments::{Arguments, CompletionsArguments},
    output::print_raw,
};

pub(super) fn run(CompletionsArguments { shell }: &CompletionsArguments) -> anyhow::Result<()> {
    // Made in memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut Arguments::command(), "pushctl", &mut script);
    Ok(print_raw(script.trim_ascii_end())?)
}
