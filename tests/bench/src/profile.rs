//! Where a request's instructions go, as callgrind counts them: a number that no other load on the machine changes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    lambda::Function,
    programs::{Contestant, cargo, run, workspace},
    requests::LIST_10,
    world::{Way, World},
};

/// Who is looked at, and the program's name.
const PROGRAMS: [(Contestant, &str); 4] = [
    (Contestant::Ours, "chats"),
    (Contestant::Unchecked, "unchecked"),
    (Contestant::Query, "query"),
    (Contestant::Floor, "floor"),
];
/// Requests of two runs: what the second has more than the first belongs to the requests that it has more.
const FEW: usize = 100;
const MANY: usize = 600;

/// Parts of a program, and the crates that they are made of. What the compiler made part of another function counts there.
const PARTS: [(&str, &[&str]); 8] = [
    (
        SDK,
        &[
            "aws_config",
            "aws_credential_types",
            "aws_runtime",
            "aws_sdk",
            "aws_sigv4",
            "aws_smithy",
            "aws_types",
            "hex",
        ],
    ),
    (SHA2, &["sha2", "hmac", "digest", "block_buffer", "crypto_common"]),
    ("HTTP and the event loop", &["bytes", "futures", "http", "hyper", "mio", "tokio", "tower", "want", "rustls"]),
    ("JSON", &["itoa", "ryu", "serde", "zmij"]),
    ("Lambda's runtime, routes", &["aws_lambda_events", "axum", "lambda", "matchit", "percent_encoding", "url"]),
    ("log and metrics", &["metrique", "tracing", "smallvec"]),
    ("ours", &["api", "chats", "clerk_auth", "floor", "query", "store", "unchecked", "jsonwebtoken", "base64", "uuid"]),
    ("strings, hash tables, formatting", &["alloc", "core", "hashbrown", "std", "fastrand", "foldhash", "memchr"]),
];
const SDK: &str = "the SDK";
const SHA2: &str = "the SDK's SHA-256, without the processor's instructions for it, which callgrind lacks";
const AWS_LC: &str = "aws-lc: RSA and SHA-256 of the token";
const MEMORY: &str = "allocation and copies";
const OTHER: &str = "other";

/// Instructions by part.
type Counts = BTreeMap<&'static str, f64>;

/// Counts, and writes `docs/benchmarks/profile.md`.
pub(crate) async fn take(world: &World, say: impl Fn(&str)) -> Result<()> {
    let version = Command::new("valgrind").arg("--version").output();
    let version = version.context("valgrind is missing; it is a package of that name")?.stdout;
    say("building with symbols");
    let target = workspace().join("target/profile");
    let target_folder = format!("--target-dir={}", target.display());
    let packages = ["--package=chats", "--package=rivals", "--bins"];
    run(cargo(&[&target_folder]).args(packages).env("CARGO_PROFILE_RELEASE_STRIP", "false"))?;

    let mut columns = Vec::new();
    for (contestant, name) in PROGRAMS {
        say(&format!("counting {}", contestant.name()));
        let program = target.join("release").join(name);
        let few = count(world, contestant, &program, FEW).await?;
        let many = count(world, contestant, &program, MANY).await?;
        let each = |(part, many): (&&'static str, &f64)| {
            let few = few.get(part).copied().unwrap_or_default();
            (*part, (many - few) / (MANY - FEW) as f64)
        };
        columns.push(many.iter().map(each).collect::<Counts>());
    }
    let page = include_str!("profile.md")
        .replace("{{valgrind}}", String::from_utf8_lossy(&version).trim())
        .replace("{{table}}", &table(&columns));
    let file = workspace().join("docs/benchmarks/profile.md");
    fs::write(&file, page)?;
    println!("{}", table(&columns));
    println!("written to {}", file.display());
    Ok(())
}

/// What a process executes from its start until it has answered so many requests.
async fn count(world: &World, contestant: Contestant, program: &Path, requests: usize) -> Result<Counts> {
    let (script, counts) = (world.folder.join("callgrind"), world.folder.join("callgrind.out"));
    let command = format!(
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file='{}' '{}'\n",
        counts.display(),
        program.display()
    );
    fs::write(&script, command)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let environment = world.environment(contestant, LIST_10.function, Way::Plain)?;
    let log = world.folder.join("logs/callgrind.log");
    let mut function = Function::start(&script, &environment, None, &log).await?;
    for number in 0..requests {
        let (_, answer) = function.invoke(LIST_10.event(world, number as u64)?).await?;
        if contestant != Contestant::Floor {
            LIST_10.check(&answer)?;
        }
    }
    function.end().await?;
    parts(&fs::read_to_string(&counts).context("callgrind wrote nothing down")?)
}

/// Adds up callgrind's lines (<https://valgrind.org/docs/manual/cl-format.html>): those of a function itself, not those
/// of what it calls.
fn parts(text: &str) -> Result<Counts> {
    let mut names: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut counts = Counts::new();
    let (mut object, mut part, mut called) = ("", OTHER, false);
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            let kind = match key {
                "ob" | "cob" => "object",
                "fn" | "cfn" => "function",
                "calls" => {
                    // The next line counts what is called.
                    called = true;
                    continue;
                }
                _ => continue,
            };
            // A name is spelled out once: `(7) name`, and `(7)` from then on.
            let (number, name) = value.split_once(' ').unwrap_or((value, ""));
            if !name.is_empty() {
                names.insert((kind, number), name);
            }
            let name = names.get(&(kind, number)).copied().unwrap_or_default();
            match key {
                "ob" => object = name,
                "fn" => part = part_of(object, name),
                _ => {}
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let Some((_, instructions)) = line.split_once(' ') else { continue };
            if !std::mem::take(&mut called) {
                let instructions: f64 = instructions.trim().parse().with_context(|| format!("not a count: {line}"))?;
                *counts.entry(part).or_default() += instructions;
            }
        }
    }
    if counts.is_empty() {
        bail!("callgrind counted nothing");
    }
    Ok(counts)
}

fn part_of(object: &str, function: &str) -> &'static str {
    let file = PathBuf::from(object);
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    if file.contains(".so")
        || function.starts_with("mi_")
        || function.starts_with("_mi_")
        || function.contains("__rust")
    {
        return MEMORY;
    }
    if !function.contains("::") {
        return AWS_LC;
    }
    // `<hyper::Client<C> as tower::Service>::call` is hyper's.
    let path =
        function.trim_start_matches(['<', '&', '(', '[', '*']).trim_start_matches("mut ").trim_start_matches("dyn ");
    let is_of = |of: &&str| path.starts_with(*of);
    PARTS.iter().find(|(_, crates)| crates.iter().any(is_of)).map_or(OTHER, |(part, _)| part)
}

fn table(columns: &[Counts]) -> String {
    let mut text = format!("| thousands of instructions | {} |\n", PROGRAMS.map(|(who, _)| who.name()).join(" | "));
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(PROGRAMS.len()));
    let mut row = |name: &str, number: &dyn Fn(&Counts) -> f64| {
        let cells: Vec<String> = columns.iter().map(|counts| format!("{:.0}", number(counts) / 1000.0)).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    for part in PARTS.map(|(part, _)| part).into_iter().chain([AWS_LC, MEMORY, OTHER]) {
        row(part, &|counts| counts.get(part).copied().unwrap_or_default());
    }
    row("**all**", &|counts| counts.values().sum());
    text.trim_end().to_owned()
}
