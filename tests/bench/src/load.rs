//! Many requests: at once, and for long.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use futures_util::future::try_join_all;
use local::functions;
use rand::seq::IndexedRandom;
use reqwest::Client;
use serde_json::Value;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use crate::{
    measure::Bench,
    programs::{Contestant, workspace},
    requests::{CASES, Case, LIST_10, REFUSED},
    statistics::quantile,
    world::Way,
};

/// Requests at a time, and instances to answer them.
pub(crate) const CONCURRENCY: [usize; 4] = [1, 4, 16, 64];
/// How often a soaking process is looked at.
const SAMPLES: usize = 40;
const START: Duration = Duration::from_mins(2);

/// What many clients saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) concurrency: usize,
    /// Requests a second.
    pub(crate) throughput: f64,
    /// In milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The list of ten, for as many clients as `cargo lambda watch` may start instances.
pub(crate) async fn concurrency(bench: &Bench<'_>, clients: usize, requests: usize) -> Result<Load> {
    let address = functions::free_address().await?;
    let mut watch = Command::new(functions::program());
    watch
        .args(["lambda", "watch", "--quiet", "--release", "--ignore-changes"])
        .args(["--invoke-address", &address.ip().to_string()])
        .args(["--invoke-port", &address.port().to_string()])
        .args(["--concurrency", &clients.to_string()])
        .arg("--manifest-path")
        .arg(workspace().join("functions/chats/Cargo.toml"))
        .arg("--config")
        .arg(workspace().join(".cargo/config.toml"))
        .current_dir(functions::sources(&bench.world.folder)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    // It sets the rest, and finds cargo by this program's own path.
    let environment = bench.world.environment(Contestant::Ours, "chats", Way::Plain)?;
    watch.envs(environment.into_iter().filter(|(name, _)| !name.starts_with("AWS_LAMBDA_") && name != "PATH"));
    let watch = watch.spawn().context("cargo-lambda cannot be started")?;
    let load = under_load(bench, address, clients, requests).await;
    functions::stop(watch).await;
    load
}

async fn under_load(bench: &Bench<'_>, address: SocketAddr, clients: usize, requests: usize) -> Result<Load> {
    let url = format!("http://{address}/2015-03-31/functions/chats/invocations");
    let http = Client::builder().no_proxy().pool_max_idle_per_host(clients).build()?;
    let post = async |event| {
        let answer: Value = http.post(&url).body::<Bytes>(event).send().await?.json().await?;
        LIST_10.check(&answer)
    };
    let deadline = Instant::now() + START;
    while let Err(error) = post(LIST_10.event(bench.world, 0)?).await {
        ensure!(Instant::now() < deadline, "cargo-lambda does not serve the function: {error:#}");
        sleep(Duration::from_millis(100)).await;
    }
    // Every instance is started before the time is taken: a wave of as many requests as there may be, and another.
    let client = async |requests: usize| {
        let mut latencies = Vec::with_capacity(requests);
        for _ in 0..requests {
            let event = LIST_10.event(bench.world, 0)?;
            let started = Instant::now();
            post(event).await?;
            latencies.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        Ok::<_, anyhow::Error>(latencies)
    };
    let wave =
        async |requests| Ok::<_, anyhow::Error>(try_join_all((0..clients).map(|_| client(requests))).await?.concat());
    timeout(START, wave(4)).await.context("the instances do not start")??;
    let started = Instant::now();
    let latencies = wave(requests / clients).await?;
    let throughput = latencies.len() as f64 / started.elapsed().as_secs_f64();
    bench.bar.inc(1);
    Ok(Load { concurrency: clients, throughput, p50: quantile(&latencies, 0.5), p99: quantile(&latencies, 0.99) })
}

/// The memory of one process in KiB, after so many requests.
pub(crate) type Memory = Vec<(usize, u64)>;

/// Requests of all kinds to one process of chats, drawn by lot, half of them refused. What they create is not deleted.
pub(crate) async fn soak(bench: &Bench<'_>, requests: usize) -> Result<Memory> {
    let cases: Vec<&Case> = CASES.iter().chain(&REFUSED).filter(|case| case.function == "chats").collect();
    let mut function = bench.start(Contestant::Ours, "chats", Way::Plain, None).await?;
    let mut memory = Memory::new();
    bench.bar.set_length(SAMPLES as u64);
    for number in 0..=requests {
        if number % (requests / SAMPLES) == 0 {
            memory.push((number, function.used()?.memory));
            bench.bar.inc(1);
        }
        let case = cases.choose(&mut rand::rng()).context("there are cases")?;
        bench.request(Contestant::Ours, &mut function, case).await?;
    }
    function.stop().await?;
    Ok(memory)
}
