//! What is measured, and how often.

use anyhow::Result;

use crate::{
    growth::{self, CHATS, Growth, USERS},
    load::{self, CONCURRENCY, Load, Memory},
    measure::{Bench, Cold, Repeats, Rounds, Setting, Warm},
    micro::Parts,
    programs::{Contestant, FUNCTIONS, Programs},
    requests::{CASES, Case, LIST_10, Operation},
    share::Share,
    world::Way,
};

/// How often each measurement is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Rounds of cold starts, with a whole processor and with a share.
    pub(crate) cold: usize,
    pub(crate) cold_shared: usize,
    /// Warm requests for the list of ten.
    pub(crate) warm: Repeats,
    /// The same with a database that is far.
    pub(crate) far: Repeats,
    /// The same over TLS, on each share of a processor.
    pub(crate) shared: Repeats,
    /// Warm requests for each other case.
    pub(crate) others: Repeats,
    /// Rounds of parts.
    pub(crate) parts: usize,
    /// Rounds of growth.
    pub(crate) growth: usize,
    /// How many people are in the tables at most.
    pub(crate) users: usize,
    /// Requests under load, for each number of clients.
    pub(crate) load: usize,
    pub(crate) soak: usize,
}

/// For the committed document.
pub(crate) const FULL: Plan = Plan {
    name: "full",
    cold: 12,
    cold_shared: 3,
    warm: Repeats { rounds: 5, warming: 200, requests: 800 },
    far: Repeats { rounds: 5, warming: 50, requests: 100 },
    shared: Repeats { rounds: 2, warming: 100, requests: 40 },
    others: Repeats { rounds: 2, warming: 100, requests: 100 },
    parts: 5,
    growth: 10,
    users: 1_000_000,
    load: 3_200,
    soak: 200_000,
};

/// For a look.
pub(crate) const QUICK: Plan = Plan {
    name: "quick",
    cold: 4,
    cold_shared: 2,
    warm: Repeats { rounds: 3, warming: 100, requests: 200 },
    far: Repeats { rounds: 3, warming: 100, requests: 40 },
    shared: Repeats { rounds: 1, warming: 100, requests: 30 },
    others: Repeats { rounds: 1, warming: 100, requests: 50 },
    parts: 2,
    growth: 5,
    users: 1_000,
    load: 320,
    soak: 4_000,
};

/// How functions are started: with a whole processor, and with the shares that come with these sizes in MB.
pub(crate) const WHOLE: Setting = Setting { way: Way::Plain, memory: None };
const SETTINGS: [Setting; 6] = [
    WHOLE,
    Setting { way: Way::Jwks, memory: None },
    Setting { way: Way::Tls, memory: None },
    Setting { way: Way::Tls, memory: Some(1769) },
    Setting { way: Way::Tls, memory: Some(512) },
    SMALL,
];
/// What of them warm requests are measured in as well.
const WARM_SETTINGS: [Setting; 4] = [
    Setting { way: Way::Tls, memory: None },
    Setting { way: Way::Tls, memory: Some(1769) },
    Setting { way: Way::Tls, memory: Some(512) },
    SMALL,
];
/// Lambda's smallest, over TLS.
pub(crate) const SMALL: Setting = Setting { way: Way::Tls, memory: Some(128) };
/// Requests in a block of growth.
const BLOCK: usize = 50;

/// All that was measured.
pub(crate) struct Results<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) parts: Parts,
    /// Cold starts for the list of ten.
    pub(crate) cold: Vec<(Setting, Rounds<Cold>)>,
    /// Why there are none on a share of a processor, if there are none.
    pub(crate) skipped: Option<String>,
    /// Cold starts of the other functions.
    pub(crate) others: Vec<(&'static Case, Rounds<Cold>)>,
    pub(crate) warm: Vec<(&'static Case, Rounds<Warm>)>,
    /// The list of ten over TLS, on shares of a processor.
    pub(crate) shared: Vec<(Setting, Rounds<Warm>)>,
    /// The list of ten from a distant database.
    pub(crate) far: Rounds<Warm>,
    pub(crate) of_chats: Growth,
    pub(crate) of_users: Growth,
    pub(crate) loads: Vec<Load>,
    pub(crate) memory: Memory,
}

impl Plan {
    /// The numbers of people that are tried.
    pub(crate) fn users(&self) -> Vec<usize> {
        USERS.into_iter().filter(|users| *users <= self.users).collect()
    }

    /// Measures all but parts and soak, whose results are passed on.
    pub(crate) async fn carry_out<'a>(&self, bench: &Bench<'a>, parts: Parts, memory: Memory) -> Result<Results<'a>> {
        let say = |what: &'static str| bench.bar.set_message(what);
        let skipped = Share::of(128).err().map(|error| format!("{error:#}"));
        let can = |setting: &Setting| skipped.is_none() || setting.memory.is_none();
        let settings: Vec<Setting> = SETTINGS.into_iter().filter(can).collect();
        let warm_settings: Vec<Setting> = WARM_SETTINGS.into_iter().filter(can).collect();
        bench.bar.set_position(0);
        bench.bar.set_length(self.steps(&settings, &warm_settings));

        let mut cold = Vec::new();
        for setting in settings {
            let contestants: &[Contestant] =
                if setting.way == Way::Jwks { &Contestant::WHOLE } else { &Contestant::ALL };
            cold.push((setting, bench.cold(contestants, &LIST_10, setting, self.rounds(setting)).await?));
        }
        let mut others = Vec::new();
        for case in CASES.iter().filter(|case| case.function != "chats") {
            others.push((case, bench.cold(&Contestant::WHOLE, case, WHOLE, self.cold).await?));
        }

        let mut warm = Vec::new();
        for case in &CASES {
            let (contestants, repeats): (&[Contestant], _) = if case.name == LIST_10.name {
                (&Contestant::ALL, self.warm)
            } else {
                (&Contestant::WHOLE, self.others)
            };
            warm.push((case, bench.warm(contestants, case, WHOLE, repeats).await?));
        }
        let mut shared = Vec::new();
        for setting in warm_settings {
            shared.push((setting, bench.warm(&Contestant::ALL, &LIST_10, setting, self.shared).await?));
        }
        let distant = Setting { way: Way::Far, memory: None };
        let far = bench.warm(&Contestant::ALL, &LIST_10, distant, self.far).await?;

        say("growth");
        let of_chats = growth::of_chats(bench, self.growth, BLOCK).await?;
        let of_users = growth::of_users(bench, &self.users(), self.growth, BLOCK).await?;

        say("load");
        let mut loads = Vec::new();
        for clients in CONCURRENCY {
            loads.push(load::concurrency(bench, clients, self.load).await?);
        }
        Ok(Results {
            programs: bench.programs,
            parts,
            cold,
            skipped,
            others,
            warm,
            shared,
            far,
            of_chats,
            of_users,
            loads,
            memory,
        })
    }

    fn rounds(&self, setting: Setting) -> usize {
        if setting.memory.is_some() { self.cold_shared } else { self.cold }
    }

    /// How often the bar moves.
    fn steps(&self, settings: &[Setting], warm_settings: &[Setting]) -> u64 {
        let contestants = |way| if way == Way::Jwks { Contestant::WHOLE.len() } else { Contestant::ALL.len() };
        let cold: usize = settings
            .iter()
            .map(|setting| (self.rounds(*setting) + setting.uncounted()) * contestants(setting.way))
            .sum();
        let others = (self.cold + 1) * Contestant::WHOLE.len() * (FUNCTIONS.len() - 1);
        let of_all = self.warm.rounds + self.far.rounds + self.shared.rounds * warm_settings.len();
        let of_whole = self.others.rounds * (CASES.len() - 1);
        let warm = of_all * Contestant::ALL.len() + of_whole * Contestant::WHOLE.len();
        let growth = self.growth * Operation::ALL.len() * (CHATS.len() + self.users().len());
        (cold + others + warm + growth + CONCURRENCY.len()) as u64
    }
}
