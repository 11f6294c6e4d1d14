//! The local stack's program; `--help` says what it does.

// Telling its user what happens is this program's job.
#![allow(clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match local::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as `main` would print it: RUST_BACKTRACE would add a backtrace to a mistyped id.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
