//! The benchmarks of parts, which criterion runs.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::programs::{run, workspace};

/// Each round's medians in nanoseconds, by name.
pub(crate) type Parts = BTreeMap<&'static str, Vec<f64>>;

/// What `micro/src/main.rs` calls them.
pub(crate) const PARTS: [&str; 5] =
    ["verification", "raw RSA verification", "webhook verification", "cursor, read and written", "error envelope"];

/// Runs them, and reads what criterion wrote down. Several rounds, since a ratio of two that are measured one after the
/// other is no better than the machine was steady.
pub(crate) fn run_all(rounds: usize) -> Result<Parts> {
    let folder = workspace().join("target/criterion");
    let mut parts = Parts::new();
    for _ in 0..rounds {
        run(Command::new(workspace().join("target/release/micro")).arg("--bench"))?;
        for part in PARTS {
            let file = folder.join(part).join("new/estimates.json");
            let text = fs::read_to_string(&file).with_context(|| format!("{} is missing", file.display()))?;
            let estimates: Value = serde_json::from_str(&text)?;
            let median = estimates["median"]["point_estimate"].as_f64().context("criterion gives a median")?;
            parts.entry(part).or_default().push(median);
        }
    }
    Ok(parts)
}
