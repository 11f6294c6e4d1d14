//! Operators' commands; see `--help`.
//!
//! They use the operator's own permissions on the tables. Functions have no way to read or change data by a user's id.

// The program prints its results.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod doctor;
mod erase;
mod export;
mod place;
mod restore;

use std::{ffi::OsStr, process::ExitCode};

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, builder::Resettable};
use doctor::Doctor;
use erase::Erase;
use export::Export;
use place::Place;
use restore::Restore;

#[derive(Parser)]
#[command(name = "operate", bin_name = "cargo ops", version, about)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write all stored data of a user to a JSON file
    Export(Export),
    /// Erase the data of users that were deleted some time ago
    Erase(Erase),
    /// Check a deployed stack; the exit status is 1 if a check fails
    Doctor(Doctor),
    /// Restore a table to a point in time, beside the existing one
    Restore(Restore),
    /// Print the tag that identifies a user in logs
    UserTag {
        /// Clerk's id of the user
        user: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let matches = without_blank_variables(Cli::command()).get_matches();
    match run(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
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

async fn run(Cli { place, command }: Cli) -> Result<()> {
    match command {
        Command::Export(export) => export.run(&place.open().await?).await,
        Command::Erase(erase) => erase.run(&place.open().await?).await,
        Command::Doctor(doctor) => {
            let (config, stack) = place.deployed().await?;
            doctor.run(&config, &stack).await
        }
        Command::Restore(restore) => restore.run(&place.open().await?).await,
        Command::UserTag { user } => {
            println!("{}", clerk_auth::user_tag(&user));
            Ok(())
        }
    }
}
