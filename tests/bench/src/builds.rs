//! Builds the measured functions.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::live;

/// An implementation that is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Subject {
    /// This project's functions.
    Cubby,
    /// A function that makes one bare request with the SDK.
    Sdk,
    /// A function that does nothing.
    Floor,
    /// The same API in TypeScript.
    Node,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Cubby, Self::Sdk, Self::Floor, Self::Node];
    /// Those that serve every call.
    pub(crate) const COMPLETE: [Self; 2] = [Self::Cubby, Self::Node];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cubby => "Cubby",
            Self::Sdk => "SDK floor",
            Self::Floor => "floor",
            Self::Node => "Node",
        }
    }
}

/// A function's executable, and the size of its zip file in bytes.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) zip: u64,
}

/// By subject and function.
pub(crate) type Programs = BTreeMap<(Subject, &'static str), Program>;

/// The Rust programs, as subject, function and binary.
const RUST: [(Subject, &str, &str); 6] = [
    (Subject::Cubby, "chats", "chats"),
    (Subject::Cubby, "profile", "profile"),
    (Subject::Cubby, live::CONNECT, live::CONNECT),
    (Subject::Cubby, live::NOTIFY, live::NOTIFY),
    (Subject::Sdk, "chats", "query"),
    (Subject::Floor, "chats", "floor"),
];

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

pub(crate) fn build(folder: &Path) -> Result<Programs> {
    run(cargo().args([live::CONNECT, live::NOTIFY].map(|function| format!("--package={function}"))))?;
    let node = folder.join("node");
    run(Command::new(workspace().join("tests/bench/baselines/node/build")).arg(&node))?;
    let mut programs = Programs::new();
    for (subject, function, binary) in RUST {
        let path = workspace().join("target/release").join(binary);
        let zip = zipped(&path, folder)?;
        programs.insert((subject, function), Program { path, zip });
    }
    for function in ["chats", "profile"] {
        let path = node.join(function);
        let zip = size(&path.with_extension("zip"))?;
        programs.insert((Subject::Node, function), Program { path, zip });
    }
    Ok(programs)
}

/// Builds the Rust programs of HTTP calls.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--bins", "--package=chats", "--package=profile"]);
    cargo.arg("--package=baselines");
    cargo
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("{} is missing", file.display()))?.len())
}

/// The size of a zip file as `sam build` and `sam deploy` make it: only the program, by the name that Lambda starts.
fn zipped(program: &Path, folder: &Path) -> Result<u64> {
    let folder = folder.join(program.file_name().context("a program has a name")?);
    let (bootstrap, zip) = (folder.join("bootstrap"), folder.join("zip"));
    fs::create_dir_all(&folder)?;
    fs::copy(program, &bootstrap)?;
    run(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(&bootstrap))?;
    size(&zip)
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.current_dir(workspace()).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} does not start"))?;
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} failed ({}):\n{text}{error}", output.status);
    Ok(())
}

/// A program's output; empty if it cannot run.
pub(crate) fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(workspace()).output();
    String::from_utf8_lossy(&output.map(|output| output.stdout).unwrap_or_default()).trim().to_owned()
}

/// The commit that is measured.
pub(crate) fn commit() -> String {
    output("git", &["describe", "--always", "--dirty"])
}
