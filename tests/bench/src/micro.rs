//! The benchmarks of parts, which criterion runs.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::programs::{run, workspace};

/// Medians in nanoseconds, by name.
pub(crate) type Parts = BTreeMap<&'static str, f64>;

/// What `micro/src/main.rs` calls them.
pub(crate) const PARTS: [&str; 5] =
    ["verification", "raw RSA verification", "webhook verification", "cursor, read and written", "error envelope"];

/// Runs them, and reads what criterion wrote down.
pub(crate) fn run_all(quick: bool) -> Result<Parts> {
    run(Command::new(workspace().join("target/release/micro")).arg("--bench").args(quick.then_some("--quick")))?;
    let folder = workspace().join("target/criterion");
    let median = |name: &'static str| {
        let file = folder.join(name).join("new/estimates.json");
        let text = fs::read_to_string(&file).with_context(|| format!("{} is missing", file.display()))?;
        let estimates: Value = serde_json::from_str(&text)?;
        let median = estimates["median"]["point_estimate"].as_f64().context("criterion gives a median")?;
        Ok((name, median))
    };
    PARTS.into_iter().map(median).collect()
}
