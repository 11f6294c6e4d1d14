//! Runs the property tests with many cases, and then the fuzz targets: `make torture`.

#![allow(clippy::print_stdout, reason = "it reports to a terminal")]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use torture::{CASES, PROGRESS, SECONDS, SEED};

/// A property test.
struct Property {
    name: &'static str,
    /// The test binary and the test.
    test: [&'static str; 2],
    cases: u64,
    /// What a case consists of.
    of_case: u64,
    /// Percent of the time, at most. What is left over goes to the fuzz targets.
    share: u32,
}

const PROPERTIES: [Property; 4] = [
    Property {
        name: "webhook histories, delivered in any order",
        test: ["convergence", "every_delivery_of_the_same_events_converges"],
        cases: 5_000,
        of_case: 1,
        share: 15,
    },
    Property {
        name: "webhook histories, erased in between",
        test: ["convergence", "late_events_do_not_restore_erased_details"],
        cases: 5_000,
        of_case: 1,
        share: 15,
    },
    Property {
        name: "tokens, through this verifier and Clerk's",
        test: ["differential", "tokens_that_clerk_rejects_are_rejected_and_stricter_rules_are_listed"],
        cases: 100_000,
        of_case: 1,
        share: 15,
    },
    Property {
        name: "requests, with faults and killed functions",
        test: ["e2e", "random_faults::responses_are_right_and_writes_take_effect_once"],
        cases: 2_000,
        of_case: 50,
        share: 30,
    },
];

const FUZZ_TARGETS: u32 = 7;

/// Run the property tests and the fuzz targets for a long time
#[derive(Parser)]
struct Options {
    /// How long, without compiling
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// The seed of the random numbers [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Omit the fuzz targets
    #[arg(long)]
    without_fuzzing: bool,
}

fn main() -> Result<()> {
    let Options { minutes, seed, without_fuzzing } = Options::parse();
    let seed = seed.map_or_else(|| UNIX_EPOCH.elapsed().map(|time| time.as_secs()), Ok)?;
    println!("seed {seed}");
    let binaries = PROPERTIES.iter().flat_map(|property| ["--test", property.test[0]]);
    finish(cargo().args(["test", "--workspace", "--quiet", "--no-run"]).args(binaries), |_| ())?;
    if !without_fuzzing {
        finish(Command::new("make").args(["--no-print-directory", "fuzz", "SECONDS_EACH=1"]), |_| ())?;
    }

    let (begin, budget) = (Instant::now(), Duration::from_mins(1) * minutes);
    for property in &PROPERTIES {
        println!("{:>12}  {}", property.run(seed, budget * property.share / 100)?, property.name);
    }
    if !without_fuzzing {
        let each = budget.saturating_sub(begin.elapsed()) / FUZZ_TARGETS;
        for (target, inputs) in fuzz(seed, each.max(Duration::from_secs(1)))? {
            println!("{inputs:>12}  inputs of the fuzz target {target}");
        }
    }
    println!("no failure in {} min", begin.elapsed().as_secs().div_ceil(60));
    Ok(())
}

impl Property {
    /// How many were tested.
    fn run(&self, seed: u64, time: Duration) -> Result<u64> {
        let bar = bar(self.name, self.cases * self.of_case)?;
        let [binary, test] = self.test;
        let mut command = cargo();
        command.args(["test", "--workspace", "--quiet", "--test", binary, "--", "--exact", test, "--nocapture"]);
        command.env(SEED, seed.to_string()).env(CASES, self.cases.to_string());
        command.env(SECONDS, time.as_secs().to_string());
        finish(&mut command, |line| {
            if let Some(Ok(begun)) = line.strip_prefix(PROGRESS).map(str::parse::<u64>) {
                bar.set_position(bar.position().max(begun * self.of_case));
            }
        })?;
        let tested = bar.position();
        bar.finish_and_clear();
        if tested == 0 {
            bail!("{test} has run no case");
        }
        Ok(tested)
    }
}

/// Runs each target for so long, and returns how many inputs each got.
fn fuzz(seed: u64, each: Duration) -> Result<Vec<(String, u64)>> {
    let bar = bar("fuzz targets, in seconds", (each * FUZZ_TARGETS).as_secs())?;
    let begin = Instant::now();
    let mut command = Command::new("make");
    command.args(["--no-print-directory", "fuzz"]);
    // libFuzzer's seed has 32 bits, and 0 is a random one.
    command.args([format!("SECONDS_EACH={}", each.as_secs()), format!("SEED={}", seed % 0xffff_ffff + 1)]);
    let mut inputs = Vec::new();
    let mut target = String::new();
    finish(&mut command, |line| {
        bar.set_position(begin.elapsed().as_secs());
        if let Some(name) = line.strip_prefix("fuzz target ") {
            name.clone_into(&mut target);
        } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            inputs.push((target.clone(), count.trim().parse().unwrap_or_default()));
        }
    })?;
    bar.finish_and_clear();
    Ok(inputs)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn bar(name: &'static str, length: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:45} {bar:30} {pos}/{len}, {eta} left at most")?;
    Ok(ProgressBar::new(length).with_style(style).with_message(name))
}

/// Runs a command and gives its output line by line. If it fails, prints the last lines.
fn finish(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    const LAST: usize = 60;
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?} does not start"))?;
    let mut last = VecDeque::new();
    for line in BufReader::new(child.stdout.take().context("it has no output")?).lines() {
        let line = line.context("its output cannot be read")?;
        on_line(&line);
        last.push_back(line);
        if last.len() > LAST {
            last.pop_front();
        }
    }
    if !child.wait()?.success() {
        for line in last {
            println!("{line}");
        }
        bail!("{command:?} has failed");
    }
    Ok(())
}
