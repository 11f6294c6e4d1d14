//! What a request costs as the tables grow.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    lambda::Function,
    measure::{Bench, shuffled},
    programs::Contestant,
    requests::Operation,
    statistics::median,
    world::{Way, World, owner_of},
};

/// Chats of one person.
pub(crate) const CHATS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// People with a profile and a chat each, beside whoever calls.
pub(crate) const USERS: [usize; 3] = [1, 1_000, 1_000_000];
/// How many chats whoever calls has while the number of people grows.
const OWN: usize = 10;

/// What an operation takes at one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The median of the rounds' medians, in milliseconds.
    pub(crate) latency: f64,
    /// Read and write capacity units, as the function's own line tells them.
    pub(crate) units: (f64, f64),
}

pub(crate) type Growth = BTreeMap<(Operation, usize), Cost>;

/// Lists, gets and creates for people with more and more chats, by one process, in an order that is drawn anew each round.
pub(crate) async fn of_chats(bench: &Bench<'_>, rounds: usize, requests: usize) -> Result<Growth> {
    for chats in CHATS {
        bench.world.add_person(&owner_of(chats), chats)?;
    }
    let mut function = start(bench).await?;
    let sizes = CHATS.map(|size| (size, owner_of(size)));
    let mut latencies: BTreeMap<(Operation, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (operation, size) in shuffled(&pairs(&CHATS)) {
            let owner = sizes.iter().find(|(of, _)| *of == size).map(|(_, owner)| owner).context("it is listed")?;
            latencies
                .entry((operation, size))
                .or_default()
                .push(block(bench, &mut function, operation, owner, requests).await?);
        }
    }
    let mut growth = Growth::new();
    for (operation, size) in pairs(&CHATS) {
        let units = units(bench, &mut function, operation, &owner_of(size)).await?;
        growth.insert((operation, size), Cost { latency: median(&latencies[&(operation, size)]), units });
    }
    function.stop().await?;
    Ok(growth)
}

/// The same for one person with ten chats, among more and more people: a database and a process for each number.
pub(crate) async fn of_users(bench: &Bench<'_>, users: &[usize], rounds: usize, requests: usize) -> Result<Growth> {
    let mut worlds = Vec::new();
    for number in users {
        let folder = bench.world.folder.join(format!("users-{number}"));
        fs::create_dir_all(&folder)?;
        let world = World::start(&folder)?;
        world.add_strangers(*number)?;
        worlds.push((*number, world));
    }
    let mut benches = Vec::new();
    for (number, world) in &worlds {
        let bench = Bench { world, number: 0.into(), ..*bench };
        let function = start(&bench).await?;
        benches.push((*number, bench, function));
    }
    let mut latencies: BTreeMap<(Operation, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (operation, size) in shuffled(&pairs(users)) {
            let (_, bench, function) = benches.iter_mut().find(|(of, ..)| *of == size).context("it is listed")?;
            latencies
                .entry((operation, size))
                .or_default()
                .push(block(bench, function, operation, &owner_of(OWN), requests).await?);
        }
    }
    let mut growth = Growth::new();
    for (size, bench, mut function) in benches {
        for operation in Operation::ALL {
            let units = units(&bench, &mut function, operation, &owner_of(OWN)).await?;
            growth.insert((operation, size), Cost { latency: median(&latencies[&(operation, size)]), units });
        }
        function.stop().await?;
    }
    Ok(growth)
}

fn pairs(sizes: &[usize]) -> Vec<(Operation, usize)> {
    Operation::ALL.iter().flat_map(|operation| sizes.iter().map(|size| (*operation, *size))).collect()
}

async fn start(bench: &Bench<'_>) -> Result<Function> {
    bench.start(Contestant::Ours, "chats", Way::Plain, None).await
}

/// The median of some requests, the first few left out.
async fn block(
    bench: &Bench<'_>,
    function: &mut Function,
    operation: Operation,
    owner: &str,
    requests: usize,
) -> Result<f64> {
    let mut latencies = Vec::with_capacity(requests);
    for number in 0..requests + 5 {
        let latency = bench.operate(function, operation, owner).await?;
        if number >= 5 {
            latencies.push(latency);
        }
    }
    bench.bar.inc(1);
    Ok(median(&latencies))
}

/// What one more request consumes.
async fn units(bench: &Bench<'_>, function: &mut Function, operation: Operation, owner: &str) -> Result<(f64, f64)> {
    bench.operate(function, operation, owner).await?;
    let line = last_request(&bench.log(Contestant::Ours, "chats"))?;
    let units = |name: &str| line[name].as_f64().with_context(|| format!("the line has no {name}"));
    Ok((units("read_units")?, units("write_units")?))
}

/// A function writes its line before it answers.
fn last_request(log: &Path) -> Result<Value> {
    let lines = fs::read_to_string(log)?;
    let line = lines.lines().rev().find(|line| line.contains("\"message\":\"request\"")).context("there is a line")?;
    Ok(serde_json::from_str(line)?)
}
