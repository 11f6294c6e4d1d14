//! The sample events of functions, `functions/<name>/events/*.json`, filled in so that they succeed on the running stack.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use svix::webhooks::Webhook;

use crate::{clerk::now_ms, functions::workspace, template::Template};

/// Placeholder of a session token of [`USER`].
pub(crate) const TOKEN: &str = "$TOKEN";
/// Placeholder of the current time, in seconds since the epoch.
const TIMESTAMP: &str = "$TIMESTAMP";
/// What stands for the time, in milliseconds since the epoch, as a number.
const MILLISECONDS: &str = "\"$MILLISECONDS\"";
/// Placeholder of the signature of the body.
const SIGNATURE: &str = "$SIGNATURE";
/// The user of the samples.
pub(crate) const USER: &str = "user_example";

/// A sample of a function.
#[derive(Args)]
pub(crate) struct Sample {
    /// The function, such as profile
    function: String,
    /// The name of the sample, such as get-profile
    event: String,
}

impl Sample {
    /// The function's logical id in the template.
    pub(crate) fn function_id(&self) -> Result<String> {
        let functions = Template::load()?.functions;
        let Some(known) = functions.iter().find(|known| known.binary == self.function) else {
            let names: Vec<_> = functions.iter().map(|known| known.binary.as_str()).collect();
            bail!("{} is not a function. The functions are {}", self.function, names.join(", "));
        };
        Ok(known.name.clone())
    }

    /// The stored sample, with placeholders.
    pub(crate) fn read(&self) -> Result<String> {
        let Self { function, event } = self;
        self.function_id()?;
        let folder = workspace().join("functions").join(function).join("events");
        match fs::read_to_string(folder.join(format!("{event}.json"))) {
            Ok(sample) => Ok(sample),
            Err(_) => bail!("{function} has no sample {event}. Its samples are {}", names(&folder)?.join(", ")),
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Replaces the placeholders of a sample, and signs it as Clerk does.
pub(crate) fn fill(sample: &str, token: &str, webhook_secret: &str) -> Result<Value> {
    let (now, milliseconds) = (now_ms() / 1000, now_ms().to_string());
    let filled = sample.replace(TIMESTAMP, &now.to_string()).replace(MILLISECONDS, &milliseconds).replace(TOKEN, token);
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
