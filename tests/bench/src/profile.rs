//! Counts a request's instructions with callgrind, which other load on the machine does not change.

use std::{collections::BTreeMap, fs, mem, ops::Range, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    builds::{Subject, cargo, commit, output, run, workspace},
    calls::{CREATE, Call, GET, LIST_10},
    fixture::Fixture,
    lambda::Function,
    network::Network,
    report,
};

/// What is counted, with its subject's program: a request of a call, or the start.
const COLUMNS: [(Subject, &str, Option<&Call>); 9] = [
    (Subject::Cubby, "chats", Some(&LIST_10)),
    (Subject::Sdk, "query", Some(&LIST_10)),
    (Subject::Cubby, "chats", Some(&GET)),
    (Subject::Sdk, "query", Some(&GET)),
    (Subject::Cubby, "chats", Some(&CREATE)),
    (Subject::Floor, "floor", Some(&GET)),
    (Subject::Cubby, "chats", None),
    (Subject::Sdk, "query", None),
    (Subject::Floor, "floor", None),
];
/// Parts of a program, and how the names of their functions begin. The first match counts. Inlined code counts where it
/// was inlined.
const PARTS: [(&str, &[&str]); 9] = [
    ("the SDK", &["aws_config", "aws_cred", "aws_runtime", "aws_sdk", "aws_sigv4", "aws_smithy", "aws_types", "hex"]),
    (
        "the SDK's SHA-256, without the processor's instructions for it, which callgrind lacks",
        &["sha2", "hmac", "digest", "block_buffer", "crypto_common"],
    ),
    ("HTTP and the event loop", &["bytes", "futures", "http", "hyper", "mio", "tokio", "tower", "want", "rustls"]),
    ("JSON", &["itoa", "ryu", "serde", "zmij"]),
    ("Lambda's runtime, routes", &["axum", "lambda", "matchit", "percent_encoding", "url"]),
    ("log and metrics", &["metrique", "tracing", "smallvec"]),
    (
        "Cubby, or the floors' own code",
        &["api", "aws::", "chats", "clerk_auth", "floor", "query", "store", "jsonwebtoken", "base64", "uuid"],
    ),
    ("strings, hash tables, formatting", &["alloc", "core", "hashbrown", "std", "fastrand", "foldhash", "memchr"]),
    (AWS_LC, &[]),
];
const AWS_LC: &str = "aws-lc: signatures of tokens, SHA-256 of content";
const MEMORY: &str = "allocation and copies";
const OTHER: &str = "other";

/// Where the document has the counts.
const BEGIN: &str = "<!-- counts -->\n";
const END: &str = "<!-- end of counts -->\n";

/// Instructions by part.
type Counts = BTreeMap<&'static str, f64>;

/// Writes the counts into `docs/benchmarks/profile.md`.
pub(crate) async fn write(fixture: &Fixture) -> Result<()> {
    let version = output("valgrind", &["--version"]);
    ensure!(!version.is_empty(), "valgrind does not run; install it");
    println!("building with symbols");
    let target = workspace().join("target/profile");
    run(cargo().arg("--target-dir").arg(&target).env("CARGO_PROFILE_RELEASE_STRIP", "false"))?;
    let program = |name| target.join("release").join(name);
    let environment = fixture.environment(LIST_10.function, Network::Plain)?;
    let log = fixture.folder.join("logs/profile.log");
    let mut chats = Function::start(&program("chats"), environment, None, &log).await?;
    fixture.create_chats(&mut chats).await?;
    chats.kill().await?;

    let mut columns = Vec::new();
    for (subject, name, call) in COLUMNS {
        println!("counting {}", title(subject, call));
        let program = program(name);
        let requests = if call.is_some() { 100..700 } else { 0..0 };
        let mut counts = count(fixture, &program, call.unwrap_or(&LIST_10), requests).await?;
        if let Some(call) = call {
            // The difference, of 500 requests, excludes the start.
            let few = count(fixture, &program, call, 0..100).await?;
            for (part, count) in &mut counts {
                *count = (*count - few.get(part).copied().unwrap_or_default()) / 500.0;
            }
        }
        columns.push(counts);
    }
    let file = workspace().join("docs/benchmarks/profile.md");
    let document = fs::read_to_string(&file)?;
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let ((before, after), table) = (parts.context("the document has no place for counts")?, table(&columns));
    let counts = format!("\nCounted by callgrind of {version} at commit {}:\n\n{table}\n", commit());
    fs::write(&file, format!("{before}{BEGIN}{counts}{END}{after}"))?;
    println!("{table}written to {}", file.display());
    Ok(())
}

fn title(subject: Subject, call: Option<&Call>) -> String {
    format!("{}, {}", call.map_or("start", |call| call.name), subject.name())
}

/// The instructions of a process from its start until it has responded to these requests.
async fn count(fixture: &Fixture, program: &Path, call: &Call, requests: Range<u64>) -> Result<Counts> {
    let (script, counts) = (fixture.folder.join("callgrind"), fixture.folder.join("callgrind.out"));
    let (out, command) = (counts.display(), program.display());
    let tool = "exec valgrind --quiet --tool=callgrind";
    fs::write(&script, format!("#!/bin/sh\n{tool} --callgrind-out-file='{out}' '{command}'\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let environment = fixture.environment(call.function, Network::Plain)?;
    let log = fixture.folder.join("logs/callgrind.log");
    let mut function = Function::start(&script, environment, None, &log).await?;
    for number in requests {
        let (_, response) = function.invoke(call.event(fixture, number)?).await?;
        if !program.ends_with(Subject::Floor.name()) {
            call.check(&response)?;
        }
    }
    function.terminate().await?;
    parse(&fs::read_to_string(&counts).context("callgrind has written nothing")?)
}

/// Adds up callgrind's lines (<https://valgrind.org/docs/manual/cl-format.html>): those of a function itself, without
/// those of the functions that it calls.
fn parse(text: &str) -> Result<Counts> {
    // A name is spelled out once, as `(7) name`, and is `(7)` from then on. Files and functions are numbered apart.
    let mut names: BTreeMap<(bool, &str), &str> = BTreeMap::new();
    let mut counts = Counts::new();
    let (mut object, mut part, mut is_call) = ("", OTHER, false);
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            // The line after `calls=` counts the called function.
            is_call |= key == "calls";
            if !["ob", "cob", "fn", "cfn"].contains(&key) {
                continue;
            }
            let (number, name) = value.split_once(' ').unwrap_or((value, ""));
            let entry = names.entry((key.ends_with("fn"), number)).or_insert(name);
            match key {
                "ob" => object = entry,
                "fn" => part = part_of(object, entry),
                _ => {}
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
            && let Some((_, instructions)) = line.split_once(' ')
            && !mem::take(&mut is_call)
        {
            let instructions: f64 = instructions.trim().parse().with_context(|| format!("not a count: {line}"))?;
            *counts.entry(part).or_default() += instructions;
        }
    }
    ensure!(!counts.is_empty(), "callgrind has counted nothing");
    Ok(counts)
}

fn part_of(object: &str, function: &str) -> &'static str {
    let is_library = Path::new(object).file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
    if is_library || function.starts_with("mi_") || function.starts_with("_mi_") || function.contains("__rust") {
        return MEMORY;
    }
    if !function.contains("::") {
        return AWS_LC;
    }
    // `<hyper::Client<C> as tower::Service>::call` is hyper's.
    let path = function.trim_start_matches(['<', '&', '(', '[', '*']);
    let path = path.trim_start_matches("mut ").trim_start_matches("dyn ");
    let matches = |start: &&str| path.starts_with(*start);
    PARTS.iter().find(|(_, starts)| starts.iter().any(matches)).map_or(OTHER, |(part, _)| part)
}

fn table(columns: &[Counts]) -> String {
    let row = |name: &str, number: &dyn Fn(&Counts) -> f64| {
        let cells: Vec<String> = columns.iter().map(|counts| format!("{:.0}", number(counts) / 1000.0)).collect();
        format!("{name} | {}", cells.join(" | "))
    };
    let parts = PARTS.map(|(part, _)| part).into_iter().chain([MEMORY, OTHER]);
    let rows = parts.map(|part| row(part, &|counts| counts.get(part).copied().unwrap_or_default()));
    let names = COLUMNS.map(|(subject, _, call)| title(subject, call)).join(" | ");
    let header = format!("thousands of instructions | {names}");
    report::table(&header, rows.chain([row("**all**", &|counts| counts.values().sum())]))
}
