//! The document.

use std::{env, fmt::Write as _, fs, thread};

use anyhow::Result;

use crate::{
    builds::{Subject, commit, output, workspace},
    calls::{Call, LIST_10},
    measure::{Cold, Repeats, Rounds, Setting, Warm},
    network::DELAY,
    plan::{DISTANT, Measured, ONE_PROCESSOR, PLAIN, Plan, Results, SMALLEST},
    statistics::{Ratio, median, quantile},
};

/// Writes the document and prints its targets. A quick run does not touch the committed document.
pub(crate) fn write(results: &Results<'_>, plan: &Plan) -> Result<()> {
    let folder = workspace().join(if plan.is_quick { "target/bench" } else { "docs" });
    let figure = folder.join("benchmarks/cold.svg");
    fs::create_dir_all(folder.join("benchmarks"))?;
    if let Some(rounds) = find(&results.cold, &LIST_10, SMALLEST) {
        fs::write(figure, bars("Cold start with first request over TLS at 128 MB, median", rounds))?;
    }
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

fn table(header: &str, rows: impl IntoIterator<Item = String>) -> String {
    let columns = header.matches('|').count() + 1;
    let mut text = format!("| {header} |\n|{}\n", " --- |".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "| {row} |");
    }
    text
}

fn targets(results: &Results<'_>) -> String {
    use Subject::{Cubby, Node, Query};
    let mut rows = Vec::new();
    let mut row = |measure: &str, target: String, result: String, is_met: bool| {
        let verdict = if is_met { "met" } else { "**not met**" };
        rows.push(format!("{measure} | {target} | {result} | {verdict}"));
    };
    let mut at_most = |measure: &str, target: f64, ratio: Ratio| {
        row(measure, format!("at most {target}"), in_words(ratio), ratio.median <= target);
    };
    if let Some(rounds) = find(&results.cold, &LIST_10, PLAIN) {
        at_most("init: Cubby to query floor", 1.25, ratio(rounds, Cubby, Query, |cold| cold.init));
    }
    let warm = find(&results.warm, &LIST_10, PLAIN);
    for (measure, rounds) in [
        ("warm p50: Cubby to query floor", warm),
        ("the same, distant database", find(&results.warm, &LIST_10, DISTANT)),
    ] {
        if let Some(rounds) = rounds {
            at_most(measure, 1.15, ratio(rounds, Cubby, Query, Warm::p50));
        }
    }
    for (measure, target) in [("requests to DynamoDB, get and profile", 1), ("the same, other calls", 2)] {
        let calls =
            results.consumption.iter().filter(|(subject, call, _)| *subject == Cubby && call.requests == target);
        let most = calls.map(|(.., consumption)| consumption.operations.len()).max().unwrap_or_default();
        row(measure, format!("at most {target}"), most.to_string(), most <= target);
    }
    let zips = results.programs.iter().filter(|((subject, _), _)| *subject == Cubby);
    let zip = zips.map(|(_, program)| program.zip).max().unwrap_or_default() as f64 / 1e6;
    row("largest zip file, MB", "at most 3".to_owned(), format!("{zip:.2}"), zip <= 3.0);

    let mut at_least = |measure: &str, target: f64, ratio: Ratio| {
        row(measure, format!("at least {target}"), in_words(ratio), ratio.median >= target);
    };
    if let Some(rounds) = find(&results.cold, &LIST_10, SMALLEST) {
        at_least("cold start, TLS, 128 MB: Node to Cubby", 15.0, ratio(rounds, Node, Cubby, Cold::total));
    }
    let settings = [("plain HTTP", warm), ("TLS, 1769 MB", find(&results.warm, &LIST_10, ONE_PROCESSOR))];
    for (setting, rounds) in settings {
        if let Some(rounds) = rounds {
            at_least(&format!("warm p50, {setting}: Node to Cubby"), 3.5, ratio(rounds, Node, Cubby, Warm::p50));
            at_least(&format!("warm p99, {setting}: Node to Cubby"), 10.0, ratio(rounds, Node, Cubby, Warm::p99));
        }
    }
    if let Some(rounds) = warm {
        let memory = ratio(rounds, Node, Cubby, |warm| warm.usage.peak_memory as f64);
        at_least("peak memory: Node to Cubby", 10.0, memory);
    }
    table("measure, list of 10 | target | result | ", rows)
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

fn zips(results: &Results<'_>) -> String {
    let rows = results.programs.iter().map(|((subject, function), program)| {
        format!("{} | {function} | {:.2}", subject.name(), program.zip as f64 / 1e6)
    });
    table(" | function | zip file, MB", rows)
}

/// An SVG with a bar for each subject's median.
fn bars(title: &str, rounds: &Rounds<Cold>) -> String {
    let totals: Vec<_> = rounds.keys().map(|&subject| (subject, median(&each(rounds, subject, Cold::total)))).collect();
    let longest = totals.iter().map(|(_, total)| *total).fold(f64::MIN_POSITIVE, f64::max);
    let height = 48 + 36 * totals.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" \
         font-size=\"15\">\n<rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"26\">{title}</text>\n"
    );
    for (index, (subject, total)) in totals.iter().enumerate() {
        let (y, width) = (44 + 36 * index, 560.0 * total / longest);
        let fill = if *subject == Subject::Cubby { "#0072b2" } else { "#999" };
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{}\">{}</text>\
             <rect x=\"110\" y=\"{y}\" width=\"{width:.1}\" height=\"26\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{total:.0} ms</text>",
            y + 18,
            subject.name(),
            118.0 + width,
            y + 18,
        );
    }
    svg + "</svg>\n"
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
