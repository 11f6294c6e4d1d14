//! The document and its pictures.

use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

use anyhow::Result;

use crate::{
    growth::{CHATS, Cost, Growth},
    measure::{Cold, Repeats, Rounds, Setting, Warm, each, middle},
    micro::PARTS,
    plan::{Plan, Results, SMALL, WHOLE},
    plots,
    programs::{Contestant, FUNCTIONS, workspace},
    requests::{LIST_10, Operation},
    statistics::{Ratio, median},
    world::{FAR, Way},
};

/// One line of what was aimed at.
struct Target {
    measure: &'static str,
    aim: String,
    found: String,
    met: bool,
}

/// Writes the document and prints its summary. A quick run leaves the committed one as it is.
pub(crate) fn write(results: &Results<'_>, plan: &Plan) -> Result<()> {
    let (document, pictures) = if plan.name == "full" {
        (workspace().join("docs/benchmarks.md"), workspace().join("docs/benchmarks"))
    } else {
        (workspace().join("target/bench/benchmarks.md"), workspace().join("target/bench/benchmarks"))
    };
    fs::create_dir_all(&pictures)?;
    let small = find(results, SMALL).or_else(|| find(results, Setting { way: Way::Tls, memory: None }));
    if let Some(cold) = small {
        let title = if results.skipped.is_some() {
            "Cold start and first request, over TLS"
        } else {
            "Cold start and first request, over TLS, with the processor of 128 MB"
        };
        let totals = cold.iter().map(|(who, rounds)| (*who, rounds.iter().map(Cold::total).collect())).collect();
        plots::distribution(&pictures.join("cold.svg"), title, "ms", &totals)?;
    }
    if let Some(warm) = warm(results, LIST_10.name) {
        let all = |rounds: &Vec<Warm>| rounds.iter().flat_map(|round| round.latencies.iter().copied()).collect();
        let latencies: BTreeMap<_, Vec<f64>> = warm.iter().map(|(who, rounds)| (*who, all(rounds))).collect();
        plots::distribution(
            &pictures.join("warm.svg"),
            "Warm requests, list of 10, plain HTTP on loopback",
            "ms",
            &latencies,
        )?;
    }
    plots::growth(&pictures.join("chats.svg"), "As one person's chats grow", "chats of the person", &results.of_chats)?;
    plots::growth(&pictures.join("users.svg"), "As people grow", "people in the tables", &results.of_users)?;

    let mut targets = upper_bounds(results);
    targets.extend(lower_bounds(results));
    let template = include_str!("report.md");
    let text = template
        .replace("{{machine}}", &machine())
        .replace("{{run}}", &run_of(plan))
        .replace("{{targets}}", &target_table(&targets))
        .replace("{{cold}}", &cold_tables(results))
        .replace("{{others}}", &other_tables(results))
        .replace("{{warm}}", &warm_tables(results))
        .replace("{{shared}}", &shared_tables(results))
        .replace("{{far}}", &warm_table(&results.far))
        .replace("{{far-ms}}", &FAR.as_millis().to_string())
        .replace("{{zips}}", &zips(results))
        .replace("{{chats}}", &growth_table(&results.of_chats, "chats"))
        .replace("{{users}}", &growth_table(&results.of_users, "people"))
        .replace("{{loads}}", &loads(results))
        .replace("{{soak}}", &soak(results))
        .replace("{{parts}}", &parts(results));
    fs::write(&document, text)?;
    println!("{}", target_table(&targets));
    println!("written to {}", document.display());
    Ok(())
}

fn find<'r>(results: &'r Results<'_>, setting: Setting) -> Option<&'r Rounds<Cold>> {
    results.cold.iter().find(|(of, _)| *of == setting).map(|(_, rounds)| rounds)
}

fn warm<'r>(results: &'r Results<'_>, name: &str) -> Option<&'r Rounds<Warm>> {
    results.warm.iter().find(|(case, _)| case.name == name).map(|(_, rounds)| rounds)
}

/// How many times as much a contestant takes as another, round by round.
fn ratio<T>(rounds: &Rounds<T>, one: Contestant, other: Contestant, number: impl Fn(&T) -> f64) -> Ratio {
    Ratio::of(&each(rounds, one, &number), &each(rounds, other, &number))
}

fn shown(ratio: Ratio) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high)
}

/// What is to be small.
fn upper_bounds(results: &Results<'_>) -> Vec<Target> {
    use Contestant::{Ours, Query, Unchecked};
    let mut targets = Vec::new();
    let mut at_most = |measure, aim: f64, ratio: Ratio| {
        let met = ratio.median <= aim;
        targets.push(Target { measure, aim: format!("at most {aim}"), found: shown(ratio), met });
    };
    if let Some(cold) = find(results, WHOLE) {
        at_most("chats, init, to the query floor's", 1.25, ratio(cold, Ours, Query, |cold| cold.init));
    }
    if let Some(warm) = warm(results, LIST_10.name) {
        at_most(
            "chats, warm p50, list of 10, to the query floor's",
            1.15,
            ratio(warm, Ours, Query, |warm| warm.quantile(0.5)),
        );
        at_most(
            "the look at account and session: p50 with it to p50 without",
            1.1,
            ratio(warm, Ours, Unchecked, |warm| warm.quantile(0.5)),
        );
    }
    at_most(
        "the query floor, with a database that is far",
        1.15,
        ratio(&results.far, Ours, Query, |warm| warm.quantile(0.5)),
    );
    at_most(
        "the look, with a database that is far",
        1.1,
        ratio(&results.far, Ours, Unchecked, |warm| warm.quantile(0.5)),
    );
    let verification = Ratio::of(&results.parts["verification"], &results.parts["raw RSA verification"]);
    at_most("verification, header to identity, to the raw RSA verification", 1.5, verification);
    for operation in Operation::ALL {
        let measure = match operation {
            Operation::List => "list, largest to smallest number of chats",
            Operation::Get => "get, the same",
            Operation::Create => "create, the same",
        };
        at_most(measure, 1.1, single(last_to_first(&results.of_chats, operation)));
    }
    for operation in Operation::ALL {
        let measure = match operation {
            Operation::List => "list, largest to smallest number of people",
            Operation::Get => "get, the same, people",
            Operation::Create => "create, the same, people",
        };
        at_most(measure, 1.1, single(last_to_first(&results.of_users, operation)));
    }
    let zip = FUNCTIONS
        .iter()
        .filter_map(|function| results.programs.get(&(Ours, *function)))
        .map(|program| program.zip)
        .max();
    let zip = zip.unwrap_or_default() as f64 / 1e6;
    targets.push(Target {
        measure: "zip of the largest function, MB",
        aim: "at most 3".to_owned(),
        found: format!("{zip:.2}"),
        met: zip <= 3.0,
    });
    targets
}

/// What others are to take more of than ours.
fn lower_bounds(results: &Results<'_>) -> Vec<Target> {
    use Contestant::{Node, Ours, Untuned};
    let mut targets = Vec::new();
    let mut at_least = |measure, aim: f64, ratio: Ratio| {
        let met = ratio.median >= aim;
        targets.push(Target { measure, aim: format!("at least {aim}"), found: shown(ratio), met });
    };
    if let Some(cold) = find(results, SMALL) {
        at_least("chats, cold over TLS at 128 MB: Node's to ours", 15.0, ratio(cold, Node, Ours, Cold::total));
        at_least("the same: the untuned build's to ours", 4.0, ratio(cold, Untuned, Ours, Cold::total));
    }
    let one_processor = Setting { way: Way::Tls, memory: Some(1769) };
    let shared = results.shared.iter().find(|(setting, _)| *setting == one_processor).map(|(_, rounds)| rounds);
    let p50 = |rounds| ratio(rounds, Node, Ours, |warm: &Warm| warm.quantile(0.5));
    let p99 = |rounds| ratio(rounds, Node, Ours, |warm: &Warm| warm.quantile(0.99));
    if let Some(warm) = warm(results, LIST_10.name) {
        at_least("chats, warm p50, list of 10: Node's to ours", 3.5, p50(warm));
        if let Some(shared) = shared {
            at_least("the same over TLS, with the processor of 1769 MB", 3.5, p50(shared));
        }
        at_least("chats, warm p99, list of 10: Node's to ours", 10.0, p99(warm));
        if let Some(shared) = shared {
            at_least("the same over TLS, with the processor of 1769 MB", 10.0, p99(shared));
        }
        let memory = ratio(warm, Node, Ours, |warm| warm.used.peak_memory as f64);
        at_least("memory after the requests: Node's to ours", 10.0, memory);
    }
    targets
}

fn single(value: f64) -> Ratio {
    Ratio { median: value, low: value, high: value }
}

fn last_to_first(growth: &Growth, operation: Operation) -> f64 {
    let latencies: Vec<f64> =
        growth.iter().filter(|((of, _), _)| *of == operation).map(|(_, cost)| cost.latency).collect();
    match (latencies.first(), latencies.last()) {
        (Some(first), Some(last)) => last / first,
        _ => f64::NAN,
    }
}

fn target_table(targets: &[Target]) -> String {
    let mut text = "| measure | aim | found | |\n| --- | --- | --- | --- |\n".to_owned();
    for Target { measure, aim, found, met } in targets {
        let _ = writeln!(text, "| {measure} | {aim} | {found} | {} |", if *met { "met" } else { "**not met**" });
    }
    text
}

fn cold_table(rounds: &Rounds<Cold>) -> String {
    let mut text =
        "| | init ms | first request ms | both ms, median | p99 | times ours |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for (who, cold) in rounds {
        let totals: Vec<f64> = cold.iter().map(Cold::total).collect();
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {} |",
            who.name(),
            middle(rounds, *who, |cold| cold.init),
            middle(rounds, *who, |cold| cold.first),
            median(&totals),
            crate::statistics::quantile(&totals, 0.99),
            shown(ratio(rounds, *who, Contestant::Ours, Cold::total)),
        );
    }
    text
}

fn cold_tables(results: &Results<'_>) -> String {
    let mut text = String::new();
    for (setting, rounds) in &results.cold {
        let _ = writeln!(text, "{setting}, list of 10:\n\n{}", cold_table(rounds));
    }
    if let Some(reason) = &results.skipped {
        let _ = writeln!(text, "Shares of a processor were skipped: {reason}.\n");
    }
    text.trim_end().to_owned()
}

fn other_tables(results: &Results<'_>) -> String {
    let table =
        |(case, rounds): &(&crate::requests::Case, Rounds<Cold>)| format!("{}:\n\n{}", case.name, cold_table(rounds));
    results.others.iter().map(table).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn warm_table(rounds: &Rounds<Warm>) -> String {
    let mut text = "| | p50 ms | p99 ms | CPU ms a request | peak memory MiB | p50, times ours | p99, times ours |\n\
        | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for who in rounds.keys() {
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.3} | {:.3} | {:.1} | {} | {} |",
            who.name(),
            middle(rounds, *who, |warm| warm.quantile(0.5)),
            middle(rounds, *who, |warm| warm.quantile(0.99)),
            middle(rounds, *who, |warm| warm.cpu),
            middle(rounds, *who, |warm| warm.used.peak_memory as f64 / 1024.0),
            shown(ratio(rounds, *who, Contestant::Ours, |warm| warm.quantile(0.5))),
            shown(ratio(rounds, *who, Contestant::Ours, |warm| warm.quantile(0.99))),
        );
    }
    text
}

fn shared_tables(results: &Results<'_>) -> String {
    let table = |(setting, rounds): &(Setting, Rounds<Warm>)| format!("{setting}:\n\n{}", warm_table(rounds));
    results.shared.iter().map(table).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn warm_tables(results: &Results<'_>) -> String {
    let table =
        |(case, rounds): &(&crate::requests::Case, Rounds<Warm>)| format!("{}:\n\n{}", case.name, warm_table(rounds));
    results.warm.iter().map(table).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn zips(results: &Results<'_>) -> String {
    let mut text = "| | function | zip, MB |\n| --- | --- | --- |\n".to_owned();
    for ((who, function), program) in results.programs {
        let _ = writeln!(text, "| {} | {function} | {:.2} |", who.name(), program.zip as f64 / 1e6);
    }
    text.trim_end().to_owned()
}

fn growth_table(growth: &Growth, what: &str) -> String {
    let mut text =
        format!("| {what} | operation | p50 ms | read units | write units |\n| --- | --- | --- | --- | --- |\n");
    for ((operation, size), Cost { latency, units: (read, write) }) in growth {
        let _ = writeln!(text, "| {size} | {} | {latency:.3} | {read} | {write} |", operation.name());
    }
    text.trim_end().to_owned()
}

fn loads(results: &Results<'_>) -> String {
    let mut text =
        "| clients and instances | requests a second | p50 ms | p99 ms |\n| --- | --- | --- | --- |\n".to_owned();
    for load in &results.loads {
        let _ = writeln!(text, "| {} | {:.0} | {:.2} | {:.2} |", load.concurrency, load.throughput, load.p50, load.p99);
    }
    text.trim_end().to_owned()
}

fn soak(results: &Results<'_>) -> String {
    let mut text = "| requests | resident memory MiB |\n| --- | --- |\n".to_owned();
    for (number, memory) in results.memory.iter().step_by(5) {
        let _ = writeln!(text, "| {number} | {:.1} |", *memory as f64 / 1024.0);
    }
    text.trim_end().to_owned()
}

fn parts(results: &Results<'_>) -> String {
    let mut text = "| part | median µs |\n| --- | --- |\n".to_owned();
    for part in PARTS {
        let _ = writeln!(text, "| {part} | {:.2} |", median(&results.parts[part]) / 1000.0);
    }
    text.trim_end().to_owned()
}

/// What it ran on.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_start_matches([' ', '\t', ':']);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let node = workspace().join(".tools/node/bin/node");
    format!(
        "{model}, {processors} processors, {} {}; {}; Node {}; {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        said("rustc", "--version"),
        said(&node.to_string_lossy(), "--version"),
        said("python3", "--version"),
    )
}

fn run_of(plan: &Plan) -> String {
    let quick = if plan.name == "full" { "" } else { "a quick look, so take it with care: " };
    let of = |repeats: Repeats| format!("{} of {} after {}", repeats.rounds, repeats.requests, repeats.warming);
    format!(
        "{quick}{} rounds of cold starts ({} on a share of a processor). Rounds of warm requests: {} that are not timed \
         for the list of ten, {} from a distant database, {} on each share of a processor, {} for each other case. {} \
         rounds of parts, {} of growth in blocks of 50, {} requests for each number of clients, {} requests to the soaking process; \
         the largest numbers of the growth are {} chats and {} people",
        plan.cold,
        plan.cold_shared,
        of(plan.warm),
        of(plan.far),
        of(plan.shared),
        of(plan.others),
        plan.parts,
        plan.growth,
        plan.load,
        plan.soak,
        CHATS.iter().max().copied().unwrap_or_default(),
        plan.users,
    )
}
