//! The verification of a token, step by step.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{Config, TokenError, Verifier, VerifyError};
use reqwest::StatusCode;
use serde_json::Value;

use super::{Check, Outcome, Target, api};

/// The steps in the order of the verifier, and the claims that each compares.
const STEPS: [(&str, &str, &[&str]); 10] = [
    ("token-form", "The token has the form of a session token.", &[]),
    ("token-header", "The token is signed with RS256.", &[]),
    ("token-key", "The token's key is known.", &["iss"]),
    ("token-signature", "The signature is valid.", &[]),
    ("token-type", "It is a token of a user's session.", &["sub", "sid"]),
    ("token-issuer", "The issuer is this stack's.", &["iss"]),
    ("token-party", "The origin is an authorized party.", &["azp"]),
    ("token-audience", "The audience is accepted.", &["aud"]),
    ("token-time", "The token is valid now.", &["iat", "nbf", "exp"]),
    ("token-session", "The API accepts the session.", &["sts"]),
];

/// The step at which the verifier has stopped.
fn step(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::KeysUnavailable | VerifyError::KeyUndecided => "token-key",
        VerifyError::Token(error) => match error {
            TokenError::Malformed => "token-form",
            TokenError::UnsupportedHeader => "token-header",
            TokenError::UnknownKey => "token-key",
            TokenError::BadSignature => "token-signature",
            TokenError::UnsupportedTokenType => "token-type",
            TokenError::WrongIssuer => "token-issuer",
            TokenError::UnauthorizedParty => "token-party",
            TokenError::WrongAudience => "token-audience",
            TokenError::Expired | TokenError::NotActiveYet | TokenError::LifetimeTooLong => "token-time",
            TokenError::PendingSession => "token-session",
        },
    }
}

/// The checks whose failures keep a step from passing, whatever the token.
fn dependencies(step: &str) -> &'static [&'static str] {
    match step {
        "token-key" | "token-issuer" => &["issuer"],
        "token-party" => &["parties"],
        "token-session" => &["api", "live", "tables"],
        _ => &[],
    }
}

/// `before` are the checks that do not need the token.
pub(super) async fn checks(target: &Target, http: &reqwest::Client, token: &str, before: &[Check]) -> Vec<Check> {
    let has_failed = |name: &str| before.iter().any(|check| check.name == name && check.outcome == Outcome::Failed);
    if has_failed("settings") {
        return STEPS.map(|(name, ..)| Check::skipped(name, "The functions do not accept the settings.")).into();
    }
    let claims = claims(token);
    let failed = verify(target, http, token).await.err();
    let stopped = failed.as_ref().and_then(|(name, _)| STEPS.iter().position(|(step, ..)| step == name));
    let stopped = stopped.unwrap_or(STEPS.len());
    let steps = STEPS.iter().enumerate().map(|(position, (name, sentence, compared))| {
        let values: Vec<_> = compared.iter().filter_map(|name| Some(format!("{name}={}", claims.get(name)?))).collect();
        let values = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
        match &failed {
            _ if position < stopped => Check::of(name, target.place, Ok(format!("{sentence}{values}"))),
            Some(_) if position == stopped && dependencies(name).iter().any(|other| has_failed(other)) => {
                Check::skipped(name, "It depends on a check that has failed.")
            }
            Some((_, error)) if position == stopped => Check::of(name, target.place, Err(format!("{error}{values}"))),
            _ => Check::skipped(name, "The verification has stopped before."),
        }
    });
    steps.collect()
}

/// The step that fails, and why.
async fn verify(target: &Target, http: &reqwest::Client, token: &str) -> Result<(), (&'static str, String)> {
    let config = Config::from_env(|name| target.setting(name));
    let config = config.map_err(|error| ("token-form", format!("The settings are invalid: {error}.")))?;
    let verified = Verifier::new(config).verify(token, SystemTime::now()).await;
    verified.map_err(|error| (step(&error), error.to_string()))?;
    is_accepted(target, http, token).await.map_err(|error| ("token-session", error))?;
    api::live(target, http, Some(token)).await.map(drop).map_err(|error| ("token-session", error))
}

/// The token's claims, not verified.
pub(super) fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
    claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default()
}

async fn is_accepted(target: &Target, http: &reqwest::Client, token: &str) -> Result<(), String> {
    let profile = format!("{}/profile", target.api.trim_end_matches('/'));
    match api::answer(target.own(http.get(profile).bearer_auth(token))).await {
        // The user may have no profile yet.
        Ok((StatusCode::OK | StatusCode::NOT_FOUND, _)) => Ok(()),
        Ok((status, code)) => Err(format!("The API returns {} {code}.", status.as_u16())),
        Err(error) => Err(format!("The API does not respond: {error}.")),
    }
}
