//! The sample events of `infra/events`, filled in so that they succeed on the running stack.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use svix::webhooks::Webhook;

use crate::{clerk::now_ms, functions::workspace};

/// What stands for a session token of [`USER`].
pub(crate) const TOKEN: &str = "$TOKEN";
/// What stands for the time, in seconds since the epoch.
const TIMESTAMP: &str = "$TIMESTAMP";
/// What stands for the signature of the body.
const SIGNATURE: &str = "$SIGNATURE";
/// Whom the samples are of.
pub(crate) const USER: &str = "user_example";

fn folder() -> PathBuf {
    workspace().join("infra/events")
}

/// A sample as it is kept.
pub(crate) fn read(name: &str) -> Result<String> {
    if let Ok(sample) = fs::read_to_string(folder().join(format!("{name}.json"))) {
        return Ok(sample);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).context("infra/events cannot be read")? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    bail!("there is no sample {name}; there are {}", names.join(", "))
}

/// Dates a sample now and signs it as Clerk does; `token` is for samples that have one.
pub(crate) fn fill(sample: &str, token: &str, webhook_secret: &str) -> Result<Value> {
    let now = now_ms() / 1000;
    let filled = sample.replace(TIMESTAMP, &now.to_string()).replace(TOKEN, token);
    let mut event: Value = serde_json::from_str(&filled).context("the sample is not JSON")?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/headers/svix-signature") == SIGNATURE {
        let (id, body) = (text("/headers/svix-id"), text("/body"));
        let signature = Webhook::new(webhook_secret)?.sign(id, now.try_into()?, body.as_bytes())?;
        if let Some(header) = event.pointer_mut("/headers/svix-signature") {
            *header = signature.into();
        }
    }
    Ok(event)
}
