//! The measurements and their numbers of rounds.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    builds::{Programs, Subject},
    calls::{CALLS, Call, GET, LIST_10},
    live::{Connections, Round},
    measure::{Bench, Cold, Repeats, Rounds, Setting, Warm},
    network::{Consumption, Network},
    quota::Quota,
};

/// How often each measurement is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) is_quick: bool,
    /// Rounds of cold starts without a quota, and with one.
    pub(crate) cold: usize,
    pub(crate) cold_limited: usize,
    /// Warm reads of a chat, and lists of 10: without a quota, from a distant database, with a quota.
    pub(crate) warm: Repeats,
    pub(crate) distant: Repeats,
    pub(crate) limited: Repeats,
    /// Every other warm call.
    pub(crate) others: Repeats,
    /// Changes to live data.
    pub(crate) live: Repeats,
}

/// The plan of the committed document.
pub(crate) const FULL: Plan = Plan {
    is_quick: false,
    cold: 20,
    cold_limited: 10,
    warm: Repeats { rounds: 10, warmup: 200, requests: 800 },
    distant: Repeats { rounds: 5, warmup: 50, requests: 100 },
    limited: Repeats { rounds: 6, warmup: 100, requests: 60 },
    others: Repeats { rounds: 6, warmup: 100, requests: 200 },
    live: Repeats { rounds: 10, warmup: 100, requests: 100 },
};

/// The plan of a quick run, which only tests that everything works.
pub(crate) const QUICK: Plan = Plan {
    is_quick: true,
    cold: 3,
    cold_limited: 1,
    warm: Repeats { rounds: 2, warmup: 100, requests: 100 },
    distant: Repeats { rounds: 2, warmup: 50, requests: 40 },
    limited: Repeats { rounds: 1, warmup: 50, requests: 20 },
    others: Repeats { rounds: 1, warmup: 50, requests: 50 },
    live: Repeats { rounds: 2, warmup: 50, requests: 50 },
};

pub(crate) const PLAIN: Setting = Setting { network: Network::Plain, memory: None };
pub(crate) const DISTANT: Setting = Setting { network: Network::Distant, memory: None };
/// Over TLS, with the processor time of: a whole processor, the template's memory size, and Lambda's smallest.
const ONE_PROCESSOR: Setting = Setting { network: Network::Tls, memory: Some(1769) };
const TEMPLATE: Setting = Setting { network: Network::Tls, memory: Some(512) };
pub(crate) const SMALLEST: Setting = Setting { network: Network::Tls, memory: Some(128) };

/// The results of one call in one setting.
pub(crate) struct Measured<T> {
    pub(crate) call: &'static Call,
    pub(crate) setting: Setting,
    pub(crate) rounds: Rounds<T>,
}

pub(crate) struct Results<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) consumption: Vec<(Subject, &'static Call, Consumption)>,
    pub(crate) cold: Vec<Measured<Cold>>,
    pub(crate) warm: Vec<Measured<Warm>>,
    pub(crate) live: BTreeMap<Connections, Vec<Round>>,
    /// The reason if results with a quota are missing.
    pub(crate) skipped: Option<String>,
}

impl Plan {
    pub(crate) async fn measure<'a>(
        &self,
        bench: &Bench<'a>,
        live: BTreeMap<Connections, Vec<Round>>,
    ) -> Result<Results<'a>> {
        let mut chats = bench.start(Subject::Cubby, "chats", Network::Plain, None).await?;
        bench.fixture.create_chats(&mut chats).await?;
        chats.kill().await?;

        let mut consumption = Vec::new();
        for subject in Subject::COMPLETE {
            let calls = bench.consumption(subject).await?;
            consumption.extend(calls.into_iter().map(|(call, consumption)| (subject, call, consumption)));
        }

        let skipped = Quota::of(128).err().map(|error| format!("{error:#}"));
        let limited = if skipped.is_none() { vec![ONE_PROCESSOR, TEMPLATE, SMALLEST] } else { Vec::new() };
        let mut cold = Vec::new();
        for (setting, count) in [(PLAIN, self.cold)].into_iter().chain(limited.iter().map(|&s| (s, self.cold_limited)))
        {
            cold.push(Measured { call: &LIST_10, setting, rounds: bench.cold(&LIST_10, setting, count).await? });
        }

        let mut warm = Vec::new();
        for call in &CALLS {
            let (subjects, repeats) = match call.name {
                name if name == LIST_10.name => (&Subject::ALL[..], self.warm),
                name if name == GET.name => (&[Subject::Cubby, Subject::Sdk, Subject::Node][..], self.warm),
                _ => (&Subject::COMPLETE[..], self.others),
            };
            warm.push(Measured { call, setting: PLAIN, rounds: bench.warm(subjects, call, PLAIN, repeats).await? });
        }
        let others = limited.into_iter().map(|setting| (setting, self.limited));
        for (setting, repeats) in others.chain([(DISTANT, self.distant)]) {
            let rounds = bench.warm(&Subject::ALL, &LIST_10, setting, repeats).await?;
            warm.push(Measured { call: &LIST_10, setting, rounds });
        }
        Ok(Results { programs: bench.programs, consumption, cold, warm, live, skipped })
    }
}
