//! Clerk's keys, the clock, and the settings that tokens are compared with.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::Config;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{StatusCode, header::DATE};
use serde_json::Value;
use url::Url;

use super::{Check, Target, described};

/// The shortest modulus of a key for tokens, in bytes (RFC 7518, section 3.3).
const MODULUS: usize = 256;
/// The tolerated difference between the clocks in seconds, as when tokens are verified.
const LEEWAY: u64 = 5;

pub(super) async fn checks(target: &Target, http: &reqwest::Client) -> Vec<Check> {
    let place = target.place;
    let settings = settings(target);
    if settings.is_err() {
        let others = ["issuer", "key", "clock", "parties"];
        let others = others.map(|name| Check::skipped(name, "The functions do not accept the settings."));
        return [Check::of("settings", place, settings)].into_iter().chain(others).collect();
    }
    let mut checks = vec![Check::of("settings", place, settings)];
    let issuer = target.setting("CLERK_ISSUER").unwrap_or_default();
    match fetch(http, issuer.trim_end_matches('/')).await {
        Ok((keys, date)) => {
            let count = keys.len();
            checks.push(Check::of("issuer", place, Ok(format!("{issuer} publishes its keys ({count})."))));
            checks.push(Check::of("key", place, key(target, &keys)));
            checks.push(match date {
                Some(date) => Check::of("clock", place, clock(date)),
                None => Check::skipped("clock", "The issuer's response has no date."),
            });
        }
        Err(error) => {
            let sentence = format!("The keys of {issuer} cannot be fetched: {error}.");
            checks.push(Check::of("issuer", place, Err(sentence)));
            checks.extend(["key", "clock"].map(|name| Check::skipped(name, "The issuer does not respond.")));
        }
    }
    checks.push(Check::of("parties", place, accepted(target)));
    checks
}

fn settings(target: &Target) -> Result<String, String> {
    let config = Config::from_env(|name| target.setting(name)).map_err(|error| format!("{error}."))?;
    drop(config);
    Ok("The functions accept these settings for Clerk.".to_owned())
}

/// The moduli of the issuer's RSA keys, and the time of the response.
async fn fetch(http: &reqwest::Client, issuer: &str) -> Result<(Vec<Vec<u8>>, Option<Timestamp>), String> {
    let response = http.get(format!("{issuer}/.well-known/jwks.json")).send().await.map_err(described)?;
    if response.status() != StatusCode::OK {
        return Err(format!("the status is {}", response.status()));
    }
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let set: Value = response.json().await.map_err(|_| "the response is not JSON".to_owned())?;
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let modulus = |key: &Value| BASE64_URL_SAFE_NO_PAD.decode(key.get("n")?.as_str()?).ok();
    let keys: Vec<_> = keys.iter().filter_map(modulus).filter(|modulus| modulus.len() >= MODULUS).collect();
    if keys.is_empty() { Err("the response has no RSA key".to_owned()) } else { Ok((keys, date)) }
}

/// Whether the configured keys are among those that the issuer publishes, by their moduli.
fn key(target: &Target, published: &[Vec<u8>]) -> Result<String, String> {
    let Some(configured) = target.setting("CLERK_JWT_KEY") else {
        return Ok("The functions fetch the keys from the issuer.".to_owned());
    };
    let configured = pem::parse_many(configured.replace("\\n", "\n")).unwrap_or_default();
    let is_published = |key: &pem::Pem| {
        published.iter().any(|modulus| key.contents().windows(modulus.len()).any(|part| part == modulus.as_slice()))
    };
    if configured.iter().any(is_published) {
        return Ok("CLERK_JWT_KEY is one of the issuer's keys.".to_owned());
    }
    Err("The issuer does not publish CLERK_JWT_KEY.".to_owned())
}

fn clock(issuer: Timestamp) -> Result<String, String> {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let difference = now.as_second().abs_diff(issuer.as_second());
    // The header has whole seconds.
    if difference <= LEEWAY + 1 {
        return Ok("This machine's clock and the issuer's agree.".to_owned());
    }
    Err(format!("This machine's clock and the issuer's differ by {difference} seconds."))
}

/// The authorized parties. Without one, every origin is authorized.
pub(super) fn parties(target: &Target) -> Vec<String> {
    let parties = target.setting("CLERK_AUTHORIZED_PARTIES").unwrap_or_default();
    parties.split(',').filter(|party| !party.trim().is_empty()).map(origin).collect()
}

pub(super) fn is_party(parties: &[String], front_end: &str) -> bool {
    parties.is_empty() || parties.contains(&origin(front_end))
}

fn origin(text: &str) -> String {
    Url::parse(text.trim()).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Whether tokens for the front ends are accepted.
fn accepted(target: &Target) -> Result<String, String> {
    let parties = parties(target);
    let accepted = if parties.is_empty() { "every origin".to_owned() } else { parties.join(", ") };
    match target.front_ends.iter().find(|front_end| !is_party(&parties, front_end)) {
        None => Ok(format!("The front ends are authorized parties: {accepted}.")),
        Some(missing) => Err(format!("{missing} is not an authorized party. The parties are {accepted}.")),
    }
}
