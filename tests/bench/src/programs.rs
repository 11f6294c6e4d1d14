//! The contestants, built.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

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

/// Builds all of them.
pub(crate) fn build(say: impl Fn(&str)) -> Result<Programs> {
    let target = workspace().join("target");
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let mut programs = Programs::new();
    let mut add = |contestant, function, path: PathBuf, zip: PathBuf| -> Result<()> {
        let zip = fs::metadata(&zip).with_context(|| format!("{} is missing", zip.display()))?.len();
        programs.insert((contestant, function), Program { path, zip });
        Ok(())
    };

    say("building ours");
    let packages = ["--package=chats", "--package=profile", "--package=clerk-webhook", "--package=rivals", "--bins"];
    run(&mut cargo(&packages))?;
    for (contestant, function, binary) in [
        (Contestant::Ours, "chats", "chats"),
        (Contestant::Ours, "profile", "profile"),
        (Contestant::Ours, "clerk-webhook", "clerk-webhook"),
        (Contestant::Unchecked, "chats", "unchecked"),
        (Contestant::Query, "chats", "query"),
        (Contestant::Floor, "chats", "floor"),
    ] {
        let program = target.join("release").join(binary);
        let zip = zipped(&program, &folder)?;
        add(contestant, function, program, zip)?;
    }

    say("building ours, untuned");
    let manifest = workspace().join("tests/bench/rivals/untuned/Cargo.toml");
    let untuned = target.join("untuned");
    let manifest = format!("--manifest-path={}", manifest.display());
    let target_folder = format!("--target-dir={}", untuned.display());
    // The entropy that the workspace's own setting leaves out.
    run(cargo(&["--locked", &manifest, &target_folder]).env("AWS_LC_SYS_NO_JITTER_ENTROPY", "0"))?;
    let program = untuned.join("release/untuned");
    let zip = zipped(&program, &folder)?;
    add(Contestant::Untuned, "chats", program, zip)?;

    for (contestant, language) in [(Contestant::Node, "node"), (Contestant::Python, "python")] {
        say(&format!("building {}", contestant.name()));
        let built = folder.join(language);
        run(Command::new(workspace().join("tests/bench/rivals").join(language).join("build")).arg(&built))?;
        for function in FUNCTIONS {
            add(contestant, function, built.join(function), built.join(format!("{function}.zip")))?;
        }
    }
    Ok(programs)
}

/// A zip as `sam build` and `sam deploy` make it: with the program alone, by the name that Lambda starts.
fn zipped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program has a name")?;
    let (bootstrap, zip) = (folder.join(name).join("bootstrap"), folder.join(name).with_extension("zip"));
    fs::create_dir_all(folder.join(name))?;
    fs::copy(program, &bootstrap)?;
    run(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(&bootstrap))?;
    Ok(zip)
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
