//! The checks of the local stack.

use std::{net::TcpStream, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use reqwest::StatusCode;
use serde_json::Value;

use super::{Check, Outcome, Place, Target, client, report, token};
use crate::{
    clerk::Secrets,
    dashboard::RUNNING,
    dynamodb,
    logs::is_local,
    stack::{self, Ports, Running},
    template::Template,
};

/// What makes a user, who then has a token.
const CREATE: &str =
    "cargo dev user create --id user_ada --email ada@example.com # then: cargo dev token --user user_ada";
/// The checks that need functions that respond.
const DEPENDENT: [&str; 6] = ["api", "cors", "webhook", "signature", "live", "token-session"];
/// What repairs a damaged file.
const FRESH: &str = "make run FRESH=1 # stop the running stack first; deletes its data";

/// Examines the running stack with the data in `folder`, and pages of further origins.
pub(crate) async fn examine(
    running: &Running,
    folder: &Path,
    front_ends: Vec<String>,
    token: Option<&str>,
) -> Vec<Check> {
    let checks = checks(running, folder, front_ends, token).await;
    checks.unwrap_or_else(|error| vec![not_running(&running.variables, folder, true, &error)])
}

async fn checks(running: &Running, folder: &Path, front_ends: Vec<String>, token: Option<&str>) -> Result<Vec<Check>> {
    let secrets = Secrets::load(folder).map_err(|error| format!("{error:#}"));
    let secret = secrets.and_then(|secrets| secrets.ok_or_else(|| "it is missing".to_owned()));
    let access_key =
        dynamodb::access_key(folder)?.context("the access key of DynamoDB is missing. Start the stack again")?;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(access_key, dynamodb::SECRET_ACCESS_KEY, None, None, "local"))
        .endpoint_url(&running.dynamodb)
        .retry_config(RetryConfig::disabled())
        .http_client(aws::http_client(None));
    let Template { tables, mut functions, .. } = Template::load()?;
    // What runs can be older than the template.
    for function in &mut functions {
        function.tables = running.tables.get(&function.binary).cloned().unwrap_or_default();
    }
    let front_ends: Vec<_> = running.rejected_origins.iter().cloned().chain(front_ends).collect();
    let origins = more_origins(running, &front_ends, token);
    let is_damaged = secret.is_err();
    let user = newest_user(running, secret.as_ref().ok()).await;
    let target = Target {
        place: Place::Local,
        settings: running.settings.clone(),
        front_ends: running.front_ends.iter().cloned().chain(front_ends).collect(),
        api: running.api.clone(),
        webhook: running.webhook.clone(),
        live: running.live.clone(),
        secret: secret.map(|secrets| secrets.webhook_secret),
        // In the local stack, a table's name is its logical id.
        tables: tables.into_iter().map(|table| (table.clone(), Some(table.name))).collect(),
        functions,
        database: Client::from_conf(config.build()),
    };
    let mut checks = target.examine(token).await?;
    let not_ready = running.not_ready.join(" ");
    if !not_ready.is_empty() {
        // What depends on the functions.
        let depends = |check: &&mut Check| check.outcome == Outcome::Failed && DEPENDENT.contains(&check.name);
        for check in checks.iter_mut().filter(depends) {
            *check = Check::skipped(check.name, "It depends on a check that has failed.");
        }
    }
    let functions = if not_ready.is_empty() { Ok("The functions respond.".to_owned()) } else { Err(not_ready) };
    checks.insert(0, Check::of("functions", Place::Local, functions));
    let failing = running.failing_streams.join(" ");
    let streams =
        if failing.is_empty() { Ok("The functions process the changes of the tables.") } else { Err(failing) };
    let has_failed = |name| checks.iter().any(|check| check.name == name && check.outcome == Outcome::Failed);
    checks.push(if !has_failed("tables") && !has_failed("functions") {
        Check::of("streams", Place::Local, streams.map(str::to_owned))
    } else {
        Check::skipped("streams", "It depends on a check that has failed.")
    });
    checks.push(Check::of("permissions", Place::Local, permissions(folder)));
    let kept = running.more_origins.join(",");
    let kept = if kept.is_empty() { kept } else { format!("WEB_ORIGINS={kept} ") };
    for Check { name, fix, .. } in &mut checks {
        let is_secret = *name == "secret" && is_damaged;
        let Some(found) = fix else { continue };
        let found = if is_secret { FRESH } else { found.as_str() };
        let found = if origins.is_empty() {
            found.replace("WEB_ORIGINS=<ORIGINS> ", "")
        } else {
            found.replace("<ORIGINS>", &origins)
        };
        let found = found.replace("<DATA>", &stack::quoted(folder));
        let found = match &user {
            Some(user) => found.replace("<USER>", user),
            None => found.replace("cargo dev token --user <USER>", CREATE),
        };
        // Only these read the variables.
        let is_own = ["make run", "cargo dev", "WEB_ORIGINS="].iter().any(|begin| found.starts_with(begin));
        let kept = if found.starts_with("make run") { kept.as_str() } else { "" };
        *fix = Some(if is_own { format!("{}{kept}{found}", running.variables) } else { found });
    }
    Ok(checks)
}

/// The id of the newest user that is not banned.
async fn newest_user(running: &Running, secrets: Option<&Secrets>) -> Option<String> {
    let users = client(Place::Local).ok()?.get(format!("{}/v1/users?limit=100", running.clerk));
    let users = users.bearer_auth(&secrets?.secret_key).send().await.ok()?.json::<Value>().await.ok()?;
    let user = users.as_array()?.iter().find(|user| user.get("banned") == Some(&Value::Bool(false)))?;
    Some(user.get("id")?.as_str()?.to_owned())
}

/// The value of `WEB_ORIGINS` with which the stack accepts `front_ends` and the origin of a token, besides those that it
/// accepts already.
fn more_origins(running: &Running, front_ends: &[String], token: Option<&str>) -> String {
    let of_token = token.and_then(|token| token::claims(token).get("azp")?.as_str()?.parse::<url::Url>().ok());
    // Anyone can make a token that is not verified yet.
    let of_token = of_token.filter(is_local).map(|url| url.origin().ascii_serialization());
    let mut origins: Vec<_> = running.more_origins.iter().chain(front_ends).cloned().chain(of_token).collect();
    // A shell must read the command as it is meant, whatever a token has.
    let is_plain = |origin: &str| origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/.-[]".contains(&byte));
    origins.retain(|origin| is_plain(origin));
    origins.sort();
    origins.dedup();
    origins.join(",")
}

/// Whether only the owner can read the files with secrets and personal data.
fn permissions(folder: &Path) -> Result<String, String> {
    let files = stack::private_files(folder).filter(|file| file.exists());
    for path in [folder.to_owned()].into_iter().chain(files) {
        let mode = path.metadata().map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(format!("Other users of this machine can read {}.", path.display()));
        }
    }
    Ok("Only you can read the files with secrets and personal data.".to_owned())
}

/// Examines the stack whose development Clerk has this port, and prints the report.
pub(crate) async fn report_running(
    port: u16,
    folder: &Path,
    front_ends: Vec<String>,
    token: Option<&str>,
    as_json: bool,
) -> Result<()> {
    let checks = match running(port, folder).await {
        Ok(running) => examine(&running, folder, front_ends, token).await,
        Err(error) => {
            let variables = stack::variables(Ports { clerk: port, ..Ports::DEFAULT }, folder);
            let is_running = TcpStream::connect(("127.0.0.1", port)).is_ok();
            vec![not_running(&variables, folder, is_running, &error)]
        }
    };
    report(&checks, as_json)
}

/// The check of a stack that cannot be examined. `variables` are those of its ports and folder.
fn not_running(variables: &str, folder: &Path, is_running: bool, error: &anyhow::Error) -> Check {
    let check = Check::not_running(Place::Local, error);
    let is_damaged = Secrets::load(folder).is_err() || dynamodb::access_key(folder).is_err();
    let fix = match Template::load() {
        _ if is_damaged => FRESH,
        Ok(_) if is_running => "make run # stop the running stack first",
        Ok(_) => "make run",
        Err(_) => "make run # correct template.yaml and stop the running stack first",
    };
    Check { fix: Some(format!("{variables}{fix}")), ..check }
}

/// What the running stack says about itself.
async fn running(port: u16, folder: &Path) -> Result<Running> {
    let secret_key = Secrets::load(folder)?.map(|secrets| secrets.secret_key);
    let request = client(Place::Local)?.get(format!("http://127.0.0.1:{port}{RUNNING}"));
    let response = request.bearer_auth(secret_key.unwrap_or_default()).send().await;
    let response = response.ok().with_context(|| format!("no local stack runs with CLERK_PORT={port}"))?;
    let status = response.status();
    ensure!(
        status != StatusCode::UNAUTHORIZED,
        "the stack with CLERK_PORT={port} has other secrets than LOCAL_DATA={}",
        stack::quoted(folder)
    );
    ensure!(status.is_success(), "the stack with CLERK_PORT={port} returns {status}");
    Ok(response.json().await?)
}
