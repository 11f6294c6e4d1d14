//! The document.

use std::{env, fmt::Write as _, fs, thread};

use anyhow::Result;

use crate::{
    builds::{Subject, commit, output, workspace},
    calls::{CREATE, Call, GET, LIST_10},
    live::{self, CROWD, Connections, MANY, ONE, Round},
    measure::{Cold, Repeats, Rounds, Setting, Warm},
    network::DELAY,
    plan::{DISTANT, Measured, PLAIN, Plan, Results, SMALLEST},
    statistics::{Ratio, median, quantile},
};

/// Writes the document and prints its targets. A quick run does not touch the committed document.
pub(crate) fn write(results: &Results<'_>, plan: &Plan) -> Result<()> {
    let folder = workspace().join(if plan.is_quick { "target/bench" } else { "docs" });
    let skipped =
        results.skipped.as_ref().map(|reason| format!("\nSettings with a memory size were skipped: {reason}.\n"));
    let targets = targets(results);
    let document = include_str!("report.md")
        .replace("{{machine}}", &machine())
        .replace("{{run}}", &run(plan))
        .replace("{{targets}}", &targets)
        .replace("{{consumption}}", &consumption(results))
        .replace("{{cold}}", &cold(&results.cold))
        .replace("{{warm}}", &warm(&results.warm))
        .replace("{{live}}", &live(results))
        .replace("{{delay}}", &DELAY.as_millis().to_string())
        .replace("{{skipped}}", &skipped.unwrap_or_default())
        .replace("{{zips}}", &zips(results));
    let file = folder.join("benchmarks.md");
    fs::write(&file, document)?;
    println!("{targets}written to {}", file.display());
    Ok(())
}

fn find<'r, T>(measured: &'r [Measured<T>], call: &Call, setting: Setting) -> Option<&'r Rounds<T>> {
    measured.iter().find(|one| one.call.name == call.name && one.setting == setting).map(|one| &one.rounds)
}

/// A number of each round.
fn each<T>(rounds: &Rounds<T>, subject: Subject, number: impl Fn(&T) -> f64) -> Vec<f64> {
    rounds.get(&subject).map(|rounds| rounds.iter().map(number).collect()).unwrap_or_default()
}

fn ratio<T>(rounds: &Rounds<T>, one: Subject, other: Subject, number: impl Fn(&T) -> f64) -> Ratio {
    Ratio::of(&each(rounds, one, &number), &each(rounds, other, &number))
}

fn in_words(ratio: Ratio) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high)
}

pub(crate) fn table(header: &str, rows: impl IntoIterator<Item = String>) -> String {
    let columns = header.matches('|').count() + 1;
    let mut text = format!("| {header} |\n|{}\n", " --- |".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "| {row} |");
    }
    text
}

fn targets(results: &Results<'_>) -> String {
    use Subject::{Cubby, Node, Sdk};
    let one = &results.live[&ONE];
    let cold = |setting, one, other, number: fn(&Cold) -> f64| {
        find(&results.cold, &LIST_10, setting).map(|rounds| ratio(rounds, one, other, number))
    };
    let warm = |call, setting, one, other, number: fn(&Warm) -> f64| {
        find(&results.warm, call, setting).map(|rounds| ratio(rounds, one, other, number))
    };
    let row = |measure: &str, bound: &str, target: f64, result: String, is_met: bool| {
        let verdict = if is_met { "met" } else { "**not met**" };
        format!("{measure} | {bound} {target} | {result} | {verdict}")
    };
    let at_most = [
        ("init: Cubby to SDK floor", 1.25, cold(PLAIN, Cubby, Sdk, |cold| cold.init)),
        ("list, warm p50: Cubby to SDK floor", 1.25, warm(&LIST_10, PLAIN, Cubby, Sdk, Warm::p50)),
        ("the same, distant database", 1.08, warm(&LIST_10, DISTANT, Cubby, Sdk, Warm::p50)),
        ("get, warm p50: Cubby to SDK floor", 1.25, warm(&GET, PLAIN, Cubby, Sdk, Warm::p50)),
        ("live: invocation with 100,000 other connections to 10", 1.1, Some(growth(&results.live[&CROWD], one))),
    ];
    let memory = |warm: &Warm| warm.usage.peak_memory as f64;
    let processor = |call| warm(call, PLAIN, Node, Cubby, |warm| warm.processor);
    // Without control groups, settings with a memory size are missing.
    let at_least = [
        ("list, processor time: Node to Cubby", 6.0, processor(&LIST_10)),
        ("get, processor time: Node to Cubby", 8.0, processor(&GET)),
        ("create, processor time: Node to Cubby", 5.5, processor(&CREATE)),
        ("list, warm p99: Node to Cubby", 8.0, warm(&LIST_10, PLAIN, Node, Cubby, Warm::p99)),
        ("cold start, TLS, 128 MB: Node to Cubby", 28.0, cold(SMALLEST, Node, Cubby, Cold::total)),
        ("list, peak memory: Node to Cubby", 20.0, warm(&LIST_10, PLAIN, Node, Cubby, memory)),
    ];
    let requests = |target| {
        let calls =
            results.consumption.iter().filter(|(subject, call, _)| *subject == Cubby && call.requests == target);
        calls.map(|(.., consumption)| consumption.operations.len() as f64).fold(0.0, f64::max)
    };
    let zip = |is_live| {
        let zips = results.programs.iter().filter(|((subject, function), _)| {
            *subject == Cubby && [live::CONNECT, live::NOTIFY].contains(function) == is_live
        });
        zips.map(|(_, program)| program.zip as f64 / 1e6).fold(0.0, f64::max)
    };
    let delays = all(one, |round| &round.delays);
    let spreads = all(&results.live[&MANY], |round| &round.spreads);
    let numbers = [
        ("requests to DynamoDB, get and profile", 1.0, requests(1)),
        ("the same, other calls", 2.0, requests(2)),
        ("largest zip file, MB", 2.8, zip(false)),
        ("live: largest zip file, MB", 2.9, zip(true)),
        ("live: response to message, p50 ms", 30.0, median(&delays)),
        ("live: response to message, p99 ms", 100.0, quantile(&delays, 0.99)),
        ("live: first to last of 100 messages, p99 ms", 50.0, quantile(&spreads, 0.99)),
    ];
    let mut rows = Vec::new();
    for (bound, sign, ratios) in [("at most", 1.0, &at_most[..]), ("at least", -1.0, &at_least)] {
        for (measure, target, ratio) in ratios {
            let met = |ratio: Ratio| (ratio.median - target) * sign <= 0.0;
            rows.extend(ratio.map(|ratio| row(measure, bound, *target, in_words(ratio), met(ratio))));
        }
    }
    rows.extend(
        numbers
            .map(|(measure, target, number)| row(measure, "at most", target, format!("{number:.2}"), number <= target)),
    );
    table("measure; list is a list of 10 | target | result | ", rows)
}

fn consumption(results: &Results<'_>) -> String {
    let rows = results.consumption.iter().map(|(subject, call, consumption)| {
        let (count, operations) = (consumption.operations.len(), consumption.operations.join(", "));
        let (read, write) = (consumption.read, consumption.write);
        format!("{} | {} | {count} | {operations} | {read} | {write}", call.name, subject.name())
    });
    table("call | | requests | operations | read units | write units", rows)
}

/// A row for each subject of each measurement.
fn rows<T>(measured: &[Measured<T>], row: impl Fn(&Rounds<T>, Subject) -> String) -> Vec<String> {
    let cells = |one: &Measured<T>| {
        let cells = one.rounds.keys().map(|&subject| {
            format!("{}, {} | {} | {}", one.call.name, one.setting, subject.name(), row(&one.rounds, subject))
        });
        cells.collect::<Vec<_>>()
    };
    measured.iter().flat_map(cells).collect()
}

fn cold(measured: &[Measured<Cold>]) -> String {
    let rows = rows(measured, |rounds, subject| {
        let (init, first) = (each(rounds, subject, |cold| cold.init), each(rounds, subject, |cold| cold.first));
        let total = each(rounds, subject, Cold::total);
        format!(
            "{:.2} | {:.2} | {:.2} | {:.2} | {}",
            median(&init),
            median(&first),
            median(&total),
            quantile(&total, 0.99),
            in_words(ratio(rounds, subject, Subject::Cubby, Cold::total)),
        )
    });
    table("call, setting | | init ms | first request ms | both ms | both, p99 | both, times Cubby's", rows)
}

fn warm(measured: &[Measured<Warm>]) -> String {
    let rows = rows(measured, |rounds, subject| {
        let memory = median(&each(rounds, subject, |warm| warm.usage.peak_memory as f64 / 1024.0));
        format!(
            "{:.3} | {:.3} | {:.3} | {memory:.1} | {} | {}",
            median(&each(rounds, subject, Warm::p50)),
            median(&each(rounds, subject, Warm::p99)),
            median(&each(rounds, subject, |warm| warm.processor)),
            in_words(ratio(rounds, subject, Subject::Cubby, Warm::p50)),
            in_words(ratio(rounds, subject, Subject::Cubby, Warm::p99)),
        )
    });
    table(
        "call, setting | | p50 ms | p99 ms | CPU ms | peak memory MiB | p50, times Cubby's | p99, times Cubby's",
        rows,
    )
}

/// The values of all rounds.
fn all(rounds: &[Round], values: impl Fn(&Round) -> &Vec<f64>) -> Vec<f64> {
    rounds.iter().flat_map(values).copied().collect()
}

/// How much longer the invocations of some rounds took than those of others.
fn growth(rounds: &[Round], others: &[Round]) -> Ratio {
    let medians = |rounds: &[Round]| rounds.iter().map(|round| round.notify.p50()).collect::<Vec<_>>();
    Ratio::of(&medians(rounds), &medians(others))
}

fn live(results: &Results<'_>) -> String {
    let rows = results.live.iter().map(|(Connections { own, others }, rounds)| {
        let (delays, spreads) = (all(rounds, |round| &round.delays), all(rounds, |round| &round.spreads));
        let notify =
            |number: fn(&Warm) -> f64| median(&rounds.iter().map(|round| number(&round.notify)).collect::<Vec<_>>());
        format!(
            "{own} | {others} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.0} | {:.1}",
            delays.len(),
            median(&delays),
            quantile(&delays, 0.99),
            median(&spreads),
            quantile(&spreads, 0.99),
            notify(Warm::p50),
            in_words(growth(rounds, &results.live[&ONE])),
            notify(|warm| warm.processor) * 1000.0 / *own as f64,
            notify(|warm| warm.usage.peak_memory as f64 / 1024.0),
        )
    });
    table(
        "WebSockets | other connections | changes | response to first message, p50 ms | p99 ms | first to last message, p50 \
         ms | p99 ms | invocation, p50 ms | invocation, times the first row's | CPU ms per 1,000 messages | peak memory MiB",
        rows,
    )
}

fn zips(results: &Results<'_>) -> String {
    let rows = results.programs.iter().map(|((subject, function), program)| {
        format!("{} | {function} | {:.2}", subject.name(), program.zip as f64 / 1e6)
    });
    table(" | function | zip file, MB", rows)
}

/// The machine, and the measured versions.
fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let count = thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {count} processors, {} {}; {}; Node {}; commit {}",
        model.trim_start_matches([' ', '\t', ':']),
        env::consts::OS,
        env::consts::ARCH,
        output("rustc", &["--version"]),
        output(workspace().join(".tools/node/bin/node"), &["--version"]),
        commit(),
    )
}

fn run(plan: &Plan) -> String {
    let warm = |Repeats { rounds, warmup, requests }| format!("{rounds} rounds of {requests} after {warmup} untimed");
    format!(
        "{}{} cold starts ({} with a memory size). Warm requests: {}; {} from a distant database; \
         {} with a memory size; {} for other calls",
        if plan.is_quick { "quick, so its numbers are rough: " } else { "" },
        plan.cold,
        plan.cold_limited,
        warm(plan.warm),
        warm(plan.distant),
        warm(plan.limited),
        warm(plan.others),
    )
}
