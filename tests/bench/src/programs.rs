//! The contestants, built.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};

/// The functions of the API.
pub(crate) const FUNCTIONS: [&str; 3] = ["chats", "profile", "clerk-webhook"];

/// Who takes part. What each is, `README`s and comments in `tests/bench/rivals` say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Contestant {
    Ours,
    /// Ours as nobody has tuned it.
    Untuned,
    /// Ours without the look at account and session.
    Unchecked,
    /// The SDK's query alone.
    Query,
    /// Nothing at all.
    Floor,
    Node,
    Python,
}

impl Contestant {
    pub(crate) const ALL: [Self; 7] =
        [Self::Ours, Self::Untuned, Self::Unchecked, Self::Query, Self::Floor, Self::Node, Self::Python];
    /// Those that have every function.
    pub(crate) const WHOLE: [Self; 3] = [Self::Ours, Self::Node, Self::Python];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Untuned => "untuned",
            Self::Unchecked => "unchecked",
            Self::Query => "query floor",
            Self::Floor => "floor",
            Self::Node => "Node",
            Self::Python => "Python",
        }
    }
}

/// What a contestant's function is started with, and how large it is when it is deployed, in bytes.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) zip: u64,
}

pub(crate) type Programs = BTreeMap<(Contestant, &'static str), Program>;

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// Builds what ours are measured beside, and what measures their parts.
pub(crate) fn others(folder: &Path) -> Result<Programs> {
    thread::scope(|scope| {
        let untuned = scope.spawn(|| untuned(folder));
        // Of our crates, but not at once with the functions: they would share features.
        run(&mut cargo(&["--package=micro"]))?;
        let mut programs = in_language(Contestant::Node, "node", folder)?;
        programs.extend(in_language(Contestant::Python, "python", folder)?);
        programs.extend(untuned.join().map_err(|_| anyhow!("building the untuned has panicked"))??);
        Ok(programs)
    })
}

/// Builds ours, and those that are of the same crates.
pub(crate) fn ours(folder: &Path) -> Result<Programs> {
    let packages = ["--package=chats", "--package=profile", "--package=clerk-webhook", "--package=rivals", "--bins"];
    run(&mut cargo(&packages))?;
    [
        (Contestant::Ours, "chats", "chats"),
        (Contestant::Ours, "profile", "profile"),
        (Contestant::Ours, "clerk-webhook", "clerk-webhook"),
        (Contestant::Unchecked, "chats", "unchecked"),
        (Contestant::Query, "chats", "query"),
        (Contestant::Floor, "chats", "floor"),
    ]
    .into_iter()
    .map(|(contestant, function, binary)| {
        let path = workspace().join("target/release").join(binary);
        let zip = zipped(&path, folder)?;
        Ok(((contestant, function), Program { path, zip }))
    })
    .collect()
}

fn untuned(folder: &Path) -> Result<Programs> {
    let manifest = workspace().join("tests/bench/rivals/untuned/Cargo.toml");
    let target = workspace().join("target/untuned");
    let manifest = format!("--manifest-path={}", manifest.display());
    let target_folder = format!("--target-dir={}", target.display());
    // The entropy that the workspace's own setting leaves out.
    run(cargo(&["--locked", &manifest, &target_folder]).env("AWS_LC_SYS_NO_JITTER_ENTROPY", "0"))?;
    let path = target.join("release/untuned");
    let zip = zipped(&path, folder)?;
    Ok(Programs::from([((Contestant::Untuned, "chats"), Program { path, zip })]))
}

fn in_language(contestant: Contestant, language: &str, folder: &Path) -> Result<Programs> {
    let built = folder.join(language);
    run(Command::new(workspace().join("tests/bench/rivals").join(language).join("build")).arg(&built))?;
    FUNCTIONS
        .into_iter()
        .map(|function| {
            let zip = size(&built.join(function).with_extension("zip"))?;
            Ok(((contestant, function), Program { path: built.join(function), zip }))
        })
        .collect()
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("{} is missing", file.display()))?.len())
}

/// The size of a zip as `sam build` and `sam deploy` make it: with the program alone, by the name that Lambda starts.
fn zipped(program: &Path, folder: &Path) -> Result<u64> {
    let name = program.file_name().context("a program has a name")?;
    let (bootstrap, zip) = (folder.join(name).join("bootstrap"), folder.join(name).with_extension("zip"));
    fs::create_dir_all(folder.join(name))?;
    fs::copy(program, &bootstrap)?;
    run(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(&bootstrap))?;
    size(&zip)
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release"]).args(arguments);
    cargo
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.current_dir(workspace()).stdin(Stdio::null()).output().context("it does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}):\n{said}", output.status);
    Ok(())
}
