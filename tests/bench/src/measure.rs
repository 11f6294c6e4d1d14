//! Cold starts and warm requests of several subjects, in turns.

use std::{cell::Cell, collections::BTreeMap, fmt, mem, sync::PoisonError, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom;

use crate::{
    builds::{Programs, Subject},
    calls::{CALLS, CREATE, Call, DELETE},
    fixture::Fixture,
    lambda::{Function, Usage},
    network::{Consumption, Network},
    quota::Quota,
    statistics::quantile,
};

/// How a function runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Setting {
    pub(crate) network: Network,
    /// The memory in MB whose share of a processor it has; `None` is unlimited.
    pub(crate) memory: Option<u64>,
}

impl fmt::Display for Setting {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(match self.network {
            Network::Plain => "plain HTTP",
            Network::Tls => "TLS",
            Network::Distant => "plain HTTP, distant database",
            Network::Metered => "plain HTTP, metered",
        })?;
        self.memory.map_or(Ok(()), |memory| write!(text, ", {memory} MB"))
    }
}

/// A process that was started and answered one request, times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    pub(crate) init: f64,
    pub(crate) first: f64,
}

impl Cold {
    pub(crate) fn total(&self) -> f64 {
        self.init + self.first
    }
}

/// A process that answered many requests, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Warm {
    /// In milliseconds.
    pub(crate) latencies: Vec<f64>,
    pub(crate) usage: Usage,
    /// Processor time per request, in milliseconds.
    pub(crate) processor: f64,
}

impl Warm {
    pub(crate) fn p50(&self) -> f64 {
        quantile(&self.latencies, 0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        quantile(&self.latencies, 0.99)
    }
}

/// How often warm requests are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeats {
    pub(crate) rounds: usize,
    /// Untimed requests to each process, in which a just-in-time compiler does most of its work.
    pub(crate) warmup: usize,
    /// Timed requests to each process.
    pub(crate) requests: usize,
}

/// The rounds of each subject.
pub(crate) type Rounds<T> = BTreeMap<Subject, Vec<T>>;

pub(crate) struct Bench<'a> {
    pub(crate) fixture: &'a Fixture,
    pub(crate) programs: &'a Programs,
    /// The number of the last request, so that each is different.
    pub(crate) number: Cell<u64>,
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The subjects in a random order.
fn shuffled(subjects: &[Subject]) -> Vec<Subject> {
    let mut subjects = subjects.to_vec();
    subjects.shuffle(&mut rand::rng());
    subjects
}

impl Bench<'_> {
    pub(crate) async fn start(
        &self,
        subject: Subject,
        function: &'static str,
        network: Network,
        quota: Option<&Quota>,
    ) -> Result<Function> {
        let program = self.programs.get(&(subject, function)).context("it was built")?;
        let environment = self.fixture.environment(function, network)?;
        let log = self.fixture.folder.join("logs").join(format!("{}-{function}.log", subject.name()));
        Function::start(&program.path, environment, quota, &log).await
    }

    /// Sends a request, checks the response and returns its latency in milliseconds.
    async fn request(&self, subject: Subject, function: &mut Function, call: &Call) -> Result<f64> {
        self.number.set(self.number.get() + 1);
        let (time, response) = function.invoke(call.event(self.fixture, self.number.get())?).await?;
        if subject == Subject::Floor {
            ensure!(response["statusCode"] == 200, "the floor's response is {response}");
        } else {
            call.check(&response).with_context(|| subject.name())?;
        }
        Ok(milliseconds(time))
    }

    /// Starts every subject once a round.
    pub(crate) async fn cold(&self, call: &Call, setting: Setting, rounds: usize) -> Result<Rounds<Cold>> {
        println!("cold starts: {}, {setting}", call.name);
        let quota = setting.memory.map(Quota::of).transpose()?;
        let mut results = Rounds::new();
        // One more round, whose times do not count, fills the disk's cache.
        for round in 0..=rounds {
            for subject in shuffled(&Subject::ALL) {
                let mut function = self.start(subject, call.function, setting.network, quota.as_ref()).await?;
                let first = self.request(subject, &mut function, call).await?;
                let cold = Cold { init: milliseconds(function.init), first };
                function.kill().await?;
                if round > 0 {
                    results.entry(subject).or_insert_with(Vec::new).push(cold);
                }
            }
        }
        Ok(results)
    }

    /// Sends requests to a process of each subject once a round.
    pub(crate) async fn warm(
        &self,
        subjects: &[Subject],
        call: &Call,
        setting: Setting,
        repeats: Repeats,
    ) -> Result<Rounds<Warm>> {
        println!("warm requests: {}, {setting}", call.name);
        let quota = setting.memory.map(Quota::of).transpose()?;
        let mut results = Rounds::new();
        for _ in 0..repeats.rounds {
            for subject in shuffled(subjects) {
                let mut function = self.start(subject, call.function, setting.network, None).await?;
                for _ in 0..repeats.warmup {
                    self.request(subject, &mut function, call).await?;
                }
                if let Some(quota) = &quota {
                    function.limit(quota)?;
                }
                let before = function.usage()?.processor;
                let mut latencies = Vec::with_capacity(repeats.requests);
                for _ in 0..repeats.requests {
                    latencies.push(self.request(subject, &mut function, call).await?);
                }
                let usage = function.usage()?;
                let processor = milliseconds(usage.processor.saturating_sub(before)) / repeats.requests as f64;
                function.kill().await?;
                results.entry(subject).or_insert_with(Vec::new).push(Warm { latencies, usage, processor });
            }
        }
        Ok(results)
    }

    /// Counts what one request of each call consumes.
    pub(crate) async fn consumption(&self, subject: Subject) -> Result<Vec<(&'static Call, Consumption)>> {
        println!("requests to DynamoDB: {}", subject.name());
        let take = || mem::take(&mut *self.fixture.meter.lock().unwrap_or_else(PoisonError::into_inner));
        let mut results = Vec::new();
        for call in CALLS.iter().chain([&DELETE]) {
            let mut function = self.start(subject, call.function, Network::Metered, None).await?;
            if call.name == DELETE.name {
                function.invoke(CREATE.event(self.fixture, self.number.get() + 1)?).await?;
            }
            take();
            self.request(subject, &mut function, call).await?;
            results.push((call, take()));
            function.kill().await?;
        }
        Ok(results)
    }
}
