//! Measures the functions beside what people would use instead. `make bench` runs it, and `make profile` with the word
//! `profile`.

#![allow(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "numbers are small, JSON gives null for what is not there, and telling is this program's job"
)]

mod growth;
mod lambda;
mod load;
mod measure;
mod micro;
mod plan;
mod plots;
mod profile;
mod programs;
mod proxies;
mod report;
mod requests;
mod share;
mod statistics;
mod world;

use std::{env, fs, thread, time::Duration};

use anyhow::{Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;
use tokio::runtime;

use measure::Bench;
use plan::{FULL, QUICK};
use world::World;

/// The engine allocates much, which is in every contestant's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<()> {
    let quick = env::var_os("QUICK").is_some_and(|quick| !quick.is_empty());
    let plan = if quick { QUICK } else { FULL };
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    let folder = programs::workspace().join("target/bench");
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    fs::create_dir_all(&folder)?;
    match env::args().nth(1).as_deref() {
        None => {}
        Some("profile") => {
            let world = World::start(&folder)?;
            return runtime.block_on(profile::take(&world, |what| bar.set_message(what.to_owned())));
        }
        Some(other) => bail!("{other} is nothing that can be measured"),
    }
    bar.set_message("building ours");
    let mut programs = programs::ours(&folder)?;
    // Only its memory is looked at, so it need not have the machine for itself. It creates chats, in a world of its own.
    bar.set_message("soak, and building the others");
    let apart = folder.join("soak");
    fs::create_dir_all(&apart)?;
    let (memory, others) = thread::scope(|scope| {
        let others = scope.spawn(|| programs::others(&folder));
        let memory = World::start(&apart).and_then(|world| {
            let bench = Bench { world: &world, programs: &programs, bar: &bar, number: 0.into() };
            runtime.block_on(load::soak(&bench, plan.soak))
        });
        (memory, others.join())
    });
    programs.extend(others.map_err(|_| anyhow!("building the others has panicked"))??);
    let memory = memory?;
    bar.set_message("benchmarks of parts");
    let parts = micro::run_all(plan.parts)?;
    let world = World::start(&folder)?;
    let bench = Bench { world: &world, programs: &programs, bar: &bar, number: 0.into() };
    let results = runtime.block_on(plan.carry_out(&bench, parts, memory))?;
    bar.finish_and_clear();
    report::write(&results, &plan)
}
