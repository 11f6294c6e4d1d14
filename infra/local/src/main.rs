//! The local stack's program; `--help` says what it does.

// Telling its user what happens is this program's job.
#![allow(clippy::print_stderr)]

use std::{ffi::OsStr, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, builder::Resettable};
use local::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let matches = without_blank_variables(Cli::command()).get_matches();
    match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as `main` would print it: RUST_BACKTRACE would add a backtrace to a mistyped id.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A variable that is empty counts as unset, as it does for the functions.
fn without_blank_variables(command: clap::Command) -> clap::Command {
    let is_blank = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_blank) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_blank_variables)
}
