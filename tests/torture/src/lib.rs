//! A property test's cases: a few in `make test`, many in `make torture`. A seed and a case's number reproduce the case.

#![allow(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails where something is missing, and its output is the progress"
)]

use std::{
    env,
    fmt::Display,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The number of cases instead of the test's own.
pub const CASES: &str = "TORTURE_CASES";
/// The seed instead of 0.
pub const SEED: &str = "TORTURE_SEED";
/// The only case to run.
pub const CASE: &str = "TORTURE_CASE";
/// The time after which no case begins.
pub const SECONDS: &str = "TORTURE_SECONDS";
/// The beginning of a line of progress, which the number of cases follows that have begun.
pub const PROGRESS: &str = "cases begun: ";

/// The cases of a test, which several threads may run.
pub struct Campaign {
    seed: u64,
    cases: u64,
    until: Option<Instant>,
    next: AtomicU64,
    is_reported: bool,
}

impl Campaign {
    /// So many cases, unless the environment has another number.
    pub fn new(cases: u64) -> Self {
        let case = variable(CASE);
        let seconds = variable(SECONDS).map(Duration::from_secs);
        Self {
            seed: variable(SEED).unwrap_or(0),
            cases: case.map_or_else(|| variable(CASES).unwrap_or(cases), |case: u64| case + 1),
            until: seconds.map(|seconds| Instant::now() + seconds),
            next: AtomicU64::new(case.unwrap_or(0)),
            is_reported: seconds.is_some(),
        }
    }

    /// The next case, until all have begun or the time is up.
    pub fn next(&self) -> Option<Case> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.cases {
            return None;
        }
        if self.is_reported {
            println!("{PROGRESS}{}", number + 1);
        }
        Some(Case { seed: self.seed, number })
    }

    /// Fails the test, and begins no more cases.
    pub fn fail(&self, case: Case, message: impl Display) -> ! {
        self.next.store(self.cases, Ordering::Relaxed);
        panic!("{message}\nTo repeat this case, set {SEED}={} and {CASE}={}.", case.seed, case.number);
    }
}

/// A case of a [`Campaign`].
#[derive(Clone, Copy, Debug)]
pub struct Case {
    seed: u64,
    /// From 0.
    pub number: u64,
}

impl Case {
    /// The seed of the case's random numbers.
    pub fn seed(self) -> [u8; 32] {
        let mut seed = [0; 32];
        for (byte, value) in seed.iter_mut().zip([self.seed.to_le_bytes(), self.number.to_le_bytes()].concat()) {
            *byte = value;
        }
        seed
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().ok().unwrap_or_else(|| panic!("{name} is not a number")))
}
