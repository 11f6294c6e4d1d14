//! Cold starts and warm requests of all contestants, in turns.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use rand::seq::SliceRandom;

use crate::{
    lambda::{Function, Used},
    programs::{Contestant, Programs},
    requests::{Case, Operation},
    share::Share,
    statistics::{median, quantile},
    world::{Way, World},
};

/// How a function is started.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Setting {
    pub(crate) way: Way,
    /// The memory in MB whose share of a processor it has; a whole one without.
    pub(crate) memory: Option<u64>,
}

impl Setting {
    /// Rounds of cold starts that are not counted: they are for the disk's cache. On a share of a processor, what a
    /// whole one started is in it.
    pub(crate) fn uncounted(self) -> usize {
        usize::from(self.memory.is_none())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(match self.way {
            Way::Plain => "Plain HTTP, key in the environment",
            Way::Jwks => "Plain HTTP, keys fetched from the issuer",
            Way::Tls => "TLS, key in the environment",
            Way::Far => "Plain HTTP, a database that is far",
        })?;
        match self.memory {
            None => text.write_str(", a whole processor"),
            Some(memory) => write!(text, ", the processor of {memory} MB"),
        }
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
    pub(crate) used: Used,
    /// Processor time of a request, in milliseconds.
    pub(crate) cpu: f64,
}

impl Warm {
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// How often warm requests are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeats {
    pub(crate) rounds: usize,
    /// Requests to each process before time is taken, on a whole processor: a compiler that works while the program runs
    /// has done the most by then.
    pub(crate) warming: usize,
    /// Requests to each process whose time is taken.
    pub(crate) requests: usize,
}

/// The rounds of each contestant.
pub(crate) type Rounds<T> = BTreeMap<Contestant, Vec<T>>;

/// A number of each round.
pub(crate) fn each<T>(rounds: &Rounds<T>, contestant: Contestant, number: impl Fn(&T) -> f64) -> Vec<f64> {
    rounds.get(&contestant).map(|rounds| rounds.iter().map(number).collect()).unwrap_or_default()
}

/// The median of a number of each round.
pub(crate) fn middle<T>(rounds: &Rounds<T>, contestant: Contestant, number: impl Fn(&T) -> f64) -> f64 {
    median(&each(rounds, contestant, number))
}

/// What measuring needs.
pub(crate) struct Bench<'a> {
    pub(crate) world: &'a World,
    pub(crate) programs: &'a Programs,
    pub(crate) bar: &'a ProgressBar,
    /// Counts requests, so that each is another.
    pub(crate) number: std::cell::Cell<u64>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Bench<'_> {
    /// Starts `contestant` for `case`.
    pub(crate) async fn start(
        &self,
        contestant: Contestant,
        function: &'static str,
        way: Way,
        share: Option<&Share>,
    ) -> Result<Function> {
        let program = self.programs.get(&(contestant, function)).context("it was built")?;
        let environment = self.world.environment(contestant, function, way)?;
        Function::start(&program.path, &environment, share, &self.log(contestant, function)).await
    }

    /// Where a function's lines go.
    pub(crate) fn log(&self, contestant: Contestant, function: &str) -> PathBuf {
        self.world.folder.join("logs").join(format!("{}-{function}.log", contestant.name()))
    }

    /// One request, whose answer is the right one. Gives its milliseconds.
    pub(crate) async fn request(&self, contestant: Contestant, function: &mut Function, case: &Case) -> Result<f64> {
        self.number.set(self.number.get() + 1);
        let event = case.event(self.world, self.number.get())?;
        let (time, answer) = function.invoke(event).await?;
        if contestant == Contestant::Floor {
            ensure!(answer["statusCode"] == 200, "the floor answers {answer}");
        } else {
            case.check(&answer).with_context(|| contestant.name())?;
        }
        Ok(milliseconds(time))
    }

    /// One operation by ours, for somebody, whose answer is the right one. Gives its milliseconds.
    pub(crate) async fn operate(&self, function: &mut Function, operation: Operation, user: &str) -> Result<f64> {
        self.number.set(self.number.get() + 1);
        let (time, answer) = function.invoke(operation.event(self.world, user, self.number.get())?).await?;
        // What was created goes at once, so that the person has as many chats as before.
        if let Some(event) = operation.undo(self.world, user, &answer)? {
            function.invoke(event).await?;
        }
        Ok(milliseconds(time))
    }

    /// Starts of all `contestants`, in an order that is drawn anew each round.
    pub(crate) async fn cold(
        &self,
        contestants: &[Contestant],
        case: &Case,
        setting: Setting,
        rounds: usize,
    ) -> Result<Rounds<Cold>> {
        self.bar.set_message(format!("cold starts: {}; {setting}", case.name));
        let share = setting.memory.map(Share::of).transpose()?;
        let mut results = Rounds::new();
        for round in 0..rounds + setting.uncounted() {
            for contestant in shuffled(contestants) {
                let mut function = self.start(contestant, case.function, setting.way, share.as_ref()).await?;
                let first = self.request(contestant, &mut function, case).await?;
                let cold = Cold { init: milliseconds(function.init), first };
                function.stop().await?;
                if round >= setting.uncounted() {
                    results.entry(contestant).or_insert_with(Vec::new).push(cold);
                }
                self.bar.inc(1);
            }
        }
        Ok(results)
    }

    /// Requests to a process of each of `contestants`, in an order that is drawn anew each round.
    pub(crate) async fn warm(
        &self,
        contestants: &[Contestant],
        case: &Case,
        setting: Setting,
        repeats: Repeats,
    ) -> Result<Rounds<Warm>> {
        self.bar.set_message(format!("warm requests: {}; {setting}", case.name));
        let share = setting.memory.map(Share::of).transpose()?;
        let mut results = Rounds::new();
        for _ in 0..repeats.rounds {
            for contestant in shuffled(contestants) {
                let mut function = self.start(contestant, case.function, setting.way, None).await?;
                for _ in 0..repeats.warming {
                    self.request(contestant, &mut function, case).await?;
                }
                if let Some(share) = &share {
                    function.put_on(share)?;
                }
                let before = function.used()?.cpu;
                let mut latencies = Vec::with_capacity(repeats.requests);
                for _ in 0..repeats.requests {
                    latencies.push(self.request(contestant, &mut function, case).await?);
                }
                let used = function.used()?;
                let cpu = milliseconds(used.cpu.saturating_sub(before)) / repeats.requests as f64;
                function.stop().await?;
                results.entry(contestant).or_insert_with(Vec::new).push(Warm { latencies, used, cpu });
                self.bar.inc(1);
            }
        }
        Ok(results)
    }
}

/// The same in an order drawn by lot.
pub(crate) fn shuffled<T: Copy>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.shuffle(&mut rand::rng());
    items
}
