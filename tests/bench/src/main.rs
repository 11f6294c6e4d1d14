//! Measures the functions beside Node and the floors: `make bench`. `make profile` passes the argument `profile`.

#![allow(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "numbers are small, JSON gives null for missing members, and this program prints its progress"
)]

mod builds;
mod calls;
mod fixture;
mod lambda;
mod live;
mod measure;
mod network;
mod plan;
mod profile;
mod quota;
mod report;
mod statistics;

use std::{env, fs};

use anyhow::{Result, bail};
use mimalloc::MiMalloc;
use tokio::runtime;

use fixture::Fixture;
use measure::Bench;
use plan::{FULL, QUICK};

/// The database allocates much, which is part of every subject's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<()> {
    let quick = env::var_os("QUICK").is_some_and(|quick| !quick.is_empty());
    let folder = builds::workspace().join("target/bench");
    fs::create_dir_all(&folder)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = if quick { QUICK } else { FULL };
    match env::args().nth(1).as_deref() {
        None => {
            println!("building");
            let programs = builds::build(&folder)?;
            let fixture = Fixture::start(&folder)?;
            let bench = Bench { fixture: &fixture, programs: &programs, number: 0.into() };
            let live = fixture.runtime.block_on(live::measure(&fixture, &programs, plan.live))?;
            report::write(&runtime.block_on(plan.measure(&bench, live))?, &plan)
        }
        Some("profile") => runtime.block_on(profile::write(&Fixture::start(&folder)?)),
        Some(other) => bail!("unknown argument {other}"),
    }
}
