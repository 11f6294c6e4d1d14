//! The local stack's program; see `--help`.

// The program prints its results.
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
            // Returned from `main`, the error of a mistyped id would be printed with a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// An empty variable counts as unset, as in the functions.
fn without_blank_variables(command: clap::Command) -> clap::Command {
    let is_blank = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if arg.get_env().is_some_and(is_blank) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_blank_variables)
}
