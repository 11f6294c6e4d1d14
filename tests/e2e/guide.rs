//! A team's first hour, in a copy of the workspace: `make resource`, `docs/adding-a-resource.md`, and chats removed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    reload::edited_code_is_loaded,
    stack::{file, program, workspace},
};

const GUIDE: &str = "docs/adding-a-resource.md";
/// Generated folders, which are not copied.
const MADE: [&str; 6] = [".aws-sam", ".git", ".local", "dist", "node_modules", "target"];
/// The tests that run for each resource.
const OF_RESOURCES: [&str; 3] = ["permissions::", "resource::", "signed_out::"];
/// All tests but this one, and those that start containers.
const ALL: [&str; 4] = ["--skip", "guide::", "--skip", "docker::"];

/// A copy of the workspace, with a target folder of its own that begins with the dependencies built so far.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let copy = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide"));
        // It does not exist on the first run.
        let _ = fs::remove_dir_all(&copy.0);
        copy.add_folder(Path::new(""));
        // Cargo identifies a workspace's packages by name and version, not by path. With other versions, the copy's packages
        // do not match the workspace's builds, which are linked below.
        let (before, after) = ("[workspace.package]\nversion = \"", "[workspace.package]\nversion = \"9");
        let manifest = file("Cargo.toml").replacen(before, after, 1);
        assert!(manifest.contains(after), "the workspace's version is missing");
        fs::write(copy.0.join("Cargo.toml"), manifest).expect("the target folder can be written to");
        let test = std::env::current_exe().expect("this test has a path");
        let built = test.ancestors().nth(2).expect("target/debug holds deps");
        for folder in ["build", "deps", ".fingerprint"] {
            link_all(&built.join(folder), &copy.0.join("target/debug").join(folder));
        }
        copy
    }

    fn add_folder(&self, folder: &Path) {
        for entry in fs::read_dir(workspace().join(folder)).expect("the folder can be read") {
            let entry = entry.expect("it can be read");
            let path = folder.join(entry.file_name());
            if MADE.iter().any(|made| path.ends_with(made)) {
                continue;
            }
            if path.ends_with(".tools") {
                std::os::unix::fs::symlink(entry.path(), self.0.join(&path))
                    .expect("the target folder can be written to");
            } else if entry.file_type().expect("it has a type").is_dir() {
                fs::create_dir_all(self.0.join(&path)).expect("the target folder can be written to");
                self.add_folder(&path);
            } else {
                // With its modification time, by which cargo decides whether to rebuild.
                fs::copy(entry.path(), self.0.join(&path)).expect("the target folder can be written to");
                let modified = entry.metadata().and_then(|metadata| metadata.modified()).expect("it has a time");
                let copied = File::options().write(true).open(self.0.join(&path));
                copied.and_then(|file| file.set_modified(modified)).expect("it can be written");
            }
        }
    }

    /// Removes a function that the workspace may have, and its part of template.yaml.
    fn remove(&self, function: &str) {
        let path = self.0.join("template.yaml");
        let template = fs::read_to_string(&path).expect("it is there");
        let header = format!("  # ---------------------------------------------------------------- {function}\n");
        if let Some((before, part)) = template.split_once(&header) {
            let next = part.find("  # -----").expect("there is a part after it");
            let is_parameter =
                |line: &&str| line.trim_start().to_lowercase().starts_with(&format!("existing{function}table:"));
            let before: String = before.split_inclusive('\n').filter(|line| !is_parameter(line)).collect();
            fs::write(path, format!("{before}{}", &part[next..])).expect("it can be written");
            fs::remove_dir_all(self.0.join("functions").join(function)).expect("it is there");
        }
    }

    /// Appends a block of the guide to the file in its fence, or creates the file.
    fn apply(&self, path: &str, code: &str) {
        let path = self.0.join(path);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + code).expect("the target folder can be written to");
    }

    fn replace(&self, path: &str, before: &str, after: &str) {
        let path = self.0.join(path);
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(text.contains(before), "{} lacks {before}", path.display());
        fs::write(path, text.replacen(before, after, 1)).expect("it can be written");
    }

    fn cargo(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO"));
        let ran =
            command.args(arguments).current_dir(&self.0).env_remove("CARGO_TARGET_DIR").output().expect("cargo runs");
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "cargo {arguments:?} fails:\n{printed}\n{errors}");
        printed
    }

    /// Runs end-to-end tests of the copy, and returns what they print.
    fn test(&self, which: &[&str]) -> String {
        // `make openapi` updates the documents.
        let made = Command::new(env!("CARGO"))
            .args(["test", "--offline", "--quiet", "--workspace", "--test", "openapi"])
            .current_dir(&self.0)
            .env_remove("CARGO_TARGET_DIR")
            .env("UPDATE_OPENAPI", "1")
            .output()
            .expect("cargo runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut arguments = vec!["test", "--offline", "--workspace", "--test", "e2e", "--"];
        arguments.extend(which);
        let ran = self.cargo(&arguments);
        assert!(ran.contains("resource::"), "{ran}");
        ran
    }

    /// How many lines of files are not blank.
    fn lines(&self, paths: &[&str]) -> usize {
        let text = |path: &&str| fs::read_to_string(self.0.join(path)).expect("it is written");
        paths.iter().map(|path| text(path).lines().filter(|line| !line.trim().is_empty()).count()).sum()
    }
}

/// Links files that are not written to again: builds replace them.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder can be written to");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            link_all(&entry.path(), &target);
        } else if from.components().any(|part| part.as_os_str() == ".fingerprint") {
            // Cargo writes into these.
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).expect("it has a time");
            fs::copy(entry.path(), &target).expect("the target folder can be written to");
            let copied = File::options().write(true).open(&target);
            copied.and_then(|file| file.set_modified(modified)).expect("it can be written");
        } else {
            fs::hard_link(entry.path(), &target).expect("the target folder can be written to");
        }
    }
}

/// The guide's blocks whose fence names a file.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    let fenced = guide.split("\n```").skip(1).step_by(2);
    let named = fenced.filter_map(|block| {
        let (fence, code) = block.split_once('\n')?;
        Some((fence.split_once(' ')?.1, code))
    });
    named.collect()
}

/// The lines that the guide changes, each before and after: the `-` and `+` lines take turns.
fn diff(guide: &str) -> Vec<(&str, &str)> {
    let diffs = guide.split("```diff\n").skip(1).map(|rest| rest.split_once("```").expect("it ends").0);
    let lines: Vec<_> = diffs.flat_map(str::lines).map(|line| line[1..].trim()).collect();
    assert!(!lines.is_empty(), "the guide has no diff");
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn a_team_adds_a_resource_and_removes_chats() {
    // The workspace is built first, so that only what changes is built here.
    program("local");
    let copy = Copy::new();
    copy.remove("notes");
    let before = copy.lines(&["template.yaml"]);
    copy.cargo(&["build", "--offline", "--quiet", "--workspace", "--bin", "local"]);
    let fields = ["--fields", "text:string:1000,pinned:bool,dueAt:integer?"];
    let scaffold = Command::new(copy.0.join("target/debug/local")).args(["resource", "notes"]).args(fields).status();
    assert!(scaffold.expect("local runs").success(), "nothing is written");
    copy.cargo(&["fmt", "--package", "notes", "--check"]);
    let rust = copy.lines(&["functions/notes/src/lib.rs", "functions/notes/src/main.rs"]);
    let part = copy.lines(&["template.yaml"]) - before;
    assert!(rust <= 50 && part <= 37, "{rust} lines of Rust and {part} of the template");
    copy.test(&OF_RESOURCES);
    edited_code_is_loaded(&copy.0, "notes");

    let guide = file(GUIDE);
    let blocks = blocks(&guide);
    assert!(!blocks.is_empty(), "the guide has no code");
    for (path, code) in blocks {
        copy.apply(path, &format!("{code}\n"));
    }
    for (before, after) in diff(&guide) {
        copy.replace("functions/notes/src/lib.rs", before, after);
    }

    copy.apply("tests/e2e/unpin.rs", &file("tests/e2e/guide/unpin.rs"));
    copy.replace("tests/e2e/main.rs", "mod tools;", "mod tools;\nmod unpin;");
    copy.remove("chats");
    let ran = copy.test(&ALL);
    assert!(ran.contains("unpin::only_users_with_the_permission_unpin_notes ... ok"), "{ran}");
    // Its test is the one of all routes in the document: no token, no response.
    let document = fs::read_to_string(copy.0.join("docs/openapi.json")).expect("it is written");
    assert!(
        document.contains("/notes/{id}/pin") && !document.contains("/chats"),
        "the document is not that of the guide"
    );
}
