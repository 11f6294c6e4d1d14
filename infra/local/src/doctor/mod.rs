//! The checks of `cargo dev doctor` and `cargo ops doctor`.
//!
//! A check is a name, an outcome, one sentence, and the command that repairs what it found. No sentence contains a secret,
//! a key or the signature of a token.

mod api;
mod issuer;
mod local;
mod tables;
mod token;

pub(crate) use local::{examine as local, report_running};

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::Client;
use clerk_auth::is_loopback;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    logs::{DOCTOR, printable},
    template,
};

/// How long a check waits for a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the functions run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the local stack.
    Local,
    /// On AWS.
    Aws,
}

/// A stack to examine.
pub struct Target {
    /// Where it runs.
    pub place: Place,
    /// The functions' settings for Clerk, by the names of their environment variables.
    pub settings: BTreeMap<String, String>,
    /// The origins of the front ends.
    pub front_ends: Vec<String>,
    /// The URL of the API.
    pub api: String,
    /// The URL for webhooks.
    pub webhook: String,
    /// The URL of the WebSocket API.
    pub live: String,
    /// The signing secret of the webhooks, or why it cannot be read.
    pub secret: Result<String, String>,
    /// The template's tables with their names in this stack.
    pub tables: Vec<(template::Table, Option<String>)>,
    /// The template's functions.
    pub functions: Vec<template::Function>,
    /// Reads the tables.
    pub database: Client,
}

impl Target {
    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Runs all checks, and with a token those of its verification.
    pub async fn examine(&self, token: Option<&str>) -> Result<Vec<Check>> {
        let place = self.place;
        let http = client(place)?;
        // The issuer of a local stack can be Clerk itself.
        let issuer = self.setting("CLERK_ISSUER").and_then(|issuer| issuer.parse().ok());
        let is_local = issuer.is_some_and(|issuer| is_loopback(&issuer));
        let mut checks = issuer::checks(self, &client(if is_local { Place::Local } else { Place::Aws })?).await;
        checks.extend(api::checks(self, &http).await);
        checks.push(match tables::misnamed(self) {
            Some(sentence) => {
                let fix = match place {
                    Place::Local => "make run # correct template.yaml and stop the running stack first",
                    Place::Aws => "make deploy STAGE=<Stage> # correct template.yaml first",
                };
                Check { fix: Some(fix.to_owned()), ..Check::of("tables", place, Err(sentence)) }
            }
            None => Check::of("tables", place, tables::check(self).await),
        });
        if let Some(token) = token {
            checks.extend(token::checks(self, &http, token, &checks).await);
        }
        Ok(checks)
    }

    /// A request to the stack. The local one omits it from its logs, which are the developer's.
    fn own(&self, request: RequestBuilder) -> RequestBuilder {
        match self.place {
            Place::Local => request.header(DOCTOR, "1"),
            Place::Aws => request,
        }
    }
}

/// A client of parts that run in `place`. A proxy cannot reach those on this machine.
fn client(place: Place) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    let client = if place == Place::Local { client.no_proxy() } else { client };
    Ok(client.build()?)
}

/// Whether a check has passed. The sentence of a check that was not run names the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// Something must be repaired.
    Failed,
    /// It depends on something that is missing.
    Skipped,
}

/// The result of a check.
#[derive(Debug)]
pub struct Check {
    /// Its name, which the troubleshooting guide uses.
    pub name: &'static str,
    /// Whether it has passed.
    pub outcome: Outcome,
    /// What was found.
    pub sentence: String,
    /// The command that repairs it, if it has failed.
    pub fix: Option<String>,
}

impl Check {
    /// A check that was run: the sentence of its success, or of its failure.
    pub fn of(name: &'static str, place: Place, found: Result<String, String>) -> Self {
        match found {
            Ok(sentence) => Self { name, outcome: Outcome::Passed, sentence, fix: None },
            Err(sentence) => Self { name, outcome: Outcome::Failed, sentence, fix: Some(fix(name, place).to_owned()) },
        }
    }

    /// The only check of a stack that cannot be examined.
    pub fn not_running(place: Place, error: &anyhow::Error) -> Self {
        let text = format!("{error:#}.");
        let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        Self::of("running", place, Err(first.to_uppercase() + rest))
    }

    /// A check that was not run, with the reason.
    pub fn skipped(name: &'static str, sentence: &str) -> Self {
        Self { name, outcome: Outcome::Skipped, sentence: sentence.to_owned(), fix: None }
    }
}

/// The names of all checks.
pub const NAMES: &[&str] = &[
    "running",
    "functions",
    "settings",
    "issuer",
    "key",
    "clock",
    "parties",
    "api",
    "cors",
    "webhook",
    "secret",
    "signature",
    "live",
    "tables",
    "permissions",
    "streams",
    "alarms",
    "last-event",
    "erasure",
    "token-form",
    "token-header",
    "token-key",
    "token-signature",
    "token-type",
    "token-issuer",
    "token-party",
    "token-audience",
    "token-time",
    "token-session",
];

/// The command that repairs what a check finds, with what to do before it as a comment. The caller replaces the names in
/// angle brackets: of a local stack `ORIGINS`, `DATA` and `USER`, of a deployed one its parameters and outputs.
fn fix(name: &str, place: Place) -> &'static str {
    const RESTART: &str = "make run # stop the running stack first";
    let (local, aws) = match name {
        "running" => ("make run", "aws sso login # or set AWS_PROFILE and AWS_REGION to those of the stack"),
        "functions" => (
            "make run # correct template.yaml and stop the running stack first; it loads corrected code itself",
            "sam logs --stack-name <STACK>",
        ),
        "settings" => (RESTART, "make deploy STAGE=<Stage> # correct the parameter in samconfig.toml first"),
        "issuer" | "key" => (
            RESTART,
            "make deploy STAGE=<Stage> # copy ClerkIssuer and ClerkJwtKey from API keys in Clerk's dashboard first",
        ),
        "clock" => ("sudo timedatectl set-ntp true", "sudo timedatectl set-ntp true"),
        "parties" | "token-party" => (
            "WEB_ORIGINS=<ORIGINS> make run # stop the running stack first",
            "make deploy STAGE=<Stage> # add the origin to ClerkAuthorizedParties in samconfig.toml first",
        ),
        "cors" => (
            "WEB_ORIGINS=<ORIGINS> make run # stop the running stack first",
            "make deploy STAGE=<Stage> # add the origin to AllowedOrigins in samconfig.toml first",
        ),
        "token-audience" => (
            RESTART,
            "make deploy STAGE=<Stage> # set ClerkAudience to the aud of the JWT template in Clerk's dashboard first",
        ),
        "secret" | "signature" => (
            RESTART,
            "aws secretsmanager put-secret-value --secret-id <WebhookSecretArn> --secret-string file://secret.txt",
        ),
        "tables" => (
            "make run # stop the running stack first; FRESH=1 if keys, indexes or expiry in the template have changed",
            "make deploy STAGE=<Stage> # or undo what aws cloudformation detect-stack-drift finds in the nested stack",
        ),
        "permissions" => (
            "chmod -R go= <DATA>",
            "aws cloudformation detect-stack-drift --stack-name <STACK> # undo what it finds in the roles",
        ),
        "token-form" | "token-header" | "token-key" | "token-signature" | "token-type" | "token-time" => (
            "cargo dev token --user <USER>",
            "cargo ops doctor --stack <STACK> --token TOKEN # what getToken() returns in the browser, at once",
        ),
        "token-issuer" => (
            "cargo dev token --user <USER>",
            "make deploy STAGE=<Stage> # set ClerkIssuer to the token's iss in samconfig.toml first",
        ),
        "token-session" => (
            "cargo dev token --user <USER>",
            "cargo ops doctor --stack <STACK> --token TOKEN # finish signing in, or sign in again, first",
        ),
        "alarms" => (
            RESTART,
            "aws sns subscribe --topic-arn <AlarmTopicArn> --protocol email --notification-endpoint you@example.com \
             # or follow the link in the message that AWS sent",
        ),
        "last-event" => (
            RESTART,
            "cargo ops doctor --stack <STACK> # send a test event to <WebhookUrl> first: Testing, under Webhooks in Clerk's dashboard",
        ),
        "erasure" => {
            (RESTART, "aws lambda invoke --function-name <STACK>-scheduled-erasure --invocation-type Event /dev/null")
        }
        _ => (
            "make run # stop the running stack first, and look at its output",
            "sam logs --stack-name <STACK>; make deploy STAGE=<Stage>",
        ),
    };
    match place {
        Place::Local => local,
        Place::Aws => aws,
    }
}

/// Prints the checks, and fails if one of them has.
pub fn report(checks: &[Check], as_json: bool) -> Result<()> {
    if as_json {
        let checks: Vec<Value> = checks
            .iter()
            .map(|Check { name, outcome, sentence, fix }| {
                let passed = match outcome {
                    Outcome::Passed => Some(true),
                    Outcome::Failed => Some(false),
                    Outcome::Skipped => None,
                };
                json!({ "name": name, "passed": passed, "sentence": sentence, "fix": fix })
            })
            .collect();
        written(writeln!(std::io::stdout(), "{:#}", json!({ "checks": checks })))?;
    } else {
        let mut output = anstream::stdout();
        for Check { name, outcome, sentence, fix } in checks {
            let (mark, color) = match outcome {
                Outcome::Passed => ("✓", anstyle::AnsiColor::Green),
                Outcome::Failed => ("✗", anstyle::AnsiColor::Red),
                Outcome::Skipped => ("-", anstyle::AnsiColor::Yellow),
            };
            let color = color.on_default();
            written(writeln!(output, "{color}{mark}{color:#} {name:<16} {}", printable(sentence)))?;
            if let Some(fix) = fix {
                written(writeln!(output, "  {:<16} fix: {fix}", ""))?;
            }
        }
    }
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    ensure!(failed == 0, "{failed} of {} checks failed", checks.len());
    Ok(())
}

/// A reader such as head may have ended.
fn written(outcome: std::io::Result<()>) -> Result<()> {
    let outcome = outcome.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
    outcome.context("the report cannot be written")
}

/// An HTTP error without the URL, whose query could have a secret, but with its causes.
fn described(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!(
            "no response within {} s. The function may not start or, if it is edited, not compile",
            TIMEOUT.as_secs()
        );
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]
mod tests;
