//! Measures the functions beside what people would use instead. `make bench` runs it.

// Telling its user what happens is this program's job.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod growth;
mod lambda;
mod load;
mod measure;
mod programs;
mod proxies;
mod requests;
mod share;
mod statistics;
mod world;

use anyhow::Result;
use indicatif::ProgressBar;
use tokio::runtime;

use measure::{Bench, Setting, middle};
use programs::Contestant;
use requests::{CASES, LIST_10};
use world::{Way, World};

fn main() -> Result<()> {
    let bar = ProgressBar::new_spinner();
    let folder = programs::workspace().join("target/bench");
    let programs = programs::build(|what| bar.println(what))?;
    let world = World::start(&folder)?;
    let bench = Bench { world: &world, programs: &programs, bar: &bar, number: 0.into() };
    let contestants: Vec<Contestant> =
        Contestant::ALL.into_iter().filter(|c| programs.contains_key(&(*c, "chats"))).collect();
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for setting in [
            Setting { way: Way::Plain, memory: None },
            Setting { way: Way::Tls, memory: None },
            Setting { way: Way::Tls, memory: Some(128) },
        ] {
            let cold = bench.cold(&contestants, &LIST_10, setting, 15).await?;
            for c in &contestants {
                println!(
                    "{setting:?} {:12} init {:8.2} first {:8.2} total {:8.2}",
                    c.name(),
                    middle(&cold, *c, |r| r.init),
                    middle(&cold, *c, |r| r.first),
                    middle(&cold, *c, |r| r.total())
                );
            }
        }
        for case in &CASES {
            let warm = bench
                .warm(
                    if case.name == "list 10" { &contestants } else { &[Contestant::Ours] },
                    case,
                    Setting { way: Way::Plain, memory: None },
                    3,
                    1000,
                )
                .await?;
            for (c, rounds) in &warm {
                let _ = rounds;
                println!(
                    "{:10} {:12} p50 {:8.3} p99 {:8.3} cpu {:8.3} peak {}",
                    case.name,
                    c.name(),
                    middle(&warm, *c, |r| r.quantile(0.5)),
                    middle(&warm, *c, |r| r.quantile(0.99)),
                    middle(&warm, *c, |r| r.cpu),
                    middle(&warm, *c, |r| r.used.peak_memory as f64)
                );
            }
        }
        Ok(())
    })
}
