//! The project has one version.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]

use std::{fs, path::Path};

use serde_json::Value;

fn file(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate");
    fs::read_to_string(workspace.join(path)).expect("the file is there")
}

fn json(path: &str) -> Value {
    serde_json::from_str(&file(path)).expect("it is JSON")
}

#[test]
fn versions_agree() {
    // This crate's version is the workspace's.
    let version = env!("CARGO_PKG_VERSION");
    let locked = file("Cargo.lock");
    let crates = locked.split("[[package]]").skip(1).filter(|package| !package.contains("source = "));
    for own in crates {
        assert!(own.contains(&format!("version = \"{version}\"")), "{own}");
    }
    assert_eq!(json("docs/openapi.json")["info"]["version"], version);
    assert_eq!(json("web/client/package.json")["version"], version);
    assert_eq!(json("web/package-lock.json")["packages"]["client"]["version"], version);
    let changelog = file("CHANGELOG.md");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## ")).expect("it has a section");
    assert!(
        newest == "Unreleased" || newest.starts_with(&format!("[{version}]")),
        "the changelog begins with {newest}"
    );
}
