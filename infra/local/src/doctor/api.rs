//! The API, the URL for webhooks, and the WebSocket API.

use anyhow::Context;
use clerk_auth::WebhookVerifier;
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, ORIGIN,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use serde_json::{Value, json};
use svix::webhooks::Webhook;

use super::{
    Check, Place, Target, described,
    issuer::{is_party, parties},
};
use crate::clerk::{OUTCOME_HEADER, new_id, now_ms};

pub(super) async fn checks(target: &Target, http: &reqwest::Client) -> Vec<Check> {
    let place = target.place;
    let api = api(target, http).await;
    let cors = match &api {
        Ok(_) => Check::of("cors", place, cors(target, http).await),
        Err(_) => Check::skipped("cors", "The API does not respond as it should."),
    };
    let mut checks = vec![Check::of("api", place, api), cors];
    let webhook = webhook(target, http).await;
    let responds = webhook.is_ok();
    checks.push(Check::of("webhook", place, webhook));
    let secret = secret(target);
    let is_known = secret.is_ok();
    checks.push(Check::of("secret", place, secret));
    checks.push(match (&target.secret, responds && is_known) {
        (Ok(secret), true) => Check::of("signature", place, signature(target, http, secret).await),
        _ => Check::skipped("signature", "The webhook function or the secret is missing."),
    });
    checks.push(Check::of("live", place, live(target, http, None).await));
    checks
}

/// The status, and the code of a problem.
pub(super) async fn answer(request: RequestBuilder) -> Result<(StatusCode, String), String> {
    let response = request.send().await.map_err(described)?;
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    Ok((status, body.get("code").and_then(Value::as_str).unwrap_or_default().to_owned()))
}

fn unexpected(what: &str, (status, code): &(StatusCode, String)) -> String {
    format!("{what} returns {} {code}", status.as_u16()).trim_end().to_owned() + "."
}

async fn api(target: &Target, http: &reqwest::Client) -> Result<String, String> {
    let api = &target.api;
    let get = |path: &str| answer(target.own(http.get(format!("{}{path}", api.trim_end_matches('/')))));
    let answer = get("/profile").await.map_err(|error| format!("The API does not respond at {api}: {error}."))?;
    if answer.0 != StatusCode::UNAUTHORIZED {
        return Err(unexpected("The API without a token", &answer));
    }
    // A function that cannot start does not keep the others from responding.
    for route in target.functions.iter().filter_map(|function| function.routes.iter().flatten().next()) {
        let path = route.replace(['{', '}', '+'], "");
        let answer = get(&path).await.map_err(|error| format!("The API does not respond at {api}{path}: {error}."))?;
        if answer.0.is_server_error() {
            return Err(unexpected(&format!("GET {path}"), &answer));
        }
    }
    Ok(format!("The API at {api} requires a token, and its functions respond."))
}

/// Whether browsers let pages of the front ends call the API.
async fn cors(target: &Target, http: &reqwest::Client) -> Result<String, String> {
    let parties = parties(target);
    for origin in &target.front_ends {
        // Another check finds front ends whose tokens are rejected.
        if !is_party(&parties, origin) {
            continue;
        }
        let preflight = http
            .request(Method::OPTIONS, format!("{}/profile", target.api.trim_end_matches('/')))
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "GET")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
        let response = target.own(preflight).send().await.map_err(described)?;
        if response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none_or(|allowed| allowed != origin) {
            return Err(format!("Pages of {origin} may not call the API."));
        }
    }
    Ok("Pages of the front ends may call the API.".to_owned())
}

async fn webhook(target: &Target, http: &reqwest::Client) -> Result<String, String> {
    let url = &target.webhook;
    let answer = answer(target.own(http.post(url).body("{}"))).await;
    let answer = answer.map_err(|error| format!("The webhook function does not respond at {url}: {error}."))?;
    if answer.0 == StatusCode::BAD_REQUEST {
        return Ok(format!("The webhook function at {url} rejects unsigned requests."));
    }
    Err(unexpected("The webhook function without a signature", &answer))
}

fn secret(target: &Target) -> Result<String, String> {
    let secret = target.secret.as_ref().map_err(|error| format!("The signing secret cannot be read: {error}."))?;
    let verifier = WebhookVerifier::from_env(|name| match name {
        "CLERK_WEBHOOK_SIGNING_SECRET" => Some(secret.clone()),
        name => target.setting(name),
    });
    let described = verifier.map(|_| "The signing secret is present and well-formed.".to_owned());
    described.map_err(|error| match target.place {
        // Without Clerk's dashboard, from which the error says to copy it.
        Place::Local => "The signing secret in clerk-secrets.json is malformed.".to_owned(),
        // It names the variable, never its value.
        Place::Aws => format!("{error}."),
    })
}

/// Sends an event of a type that changes nothing.
async fn signature(target: &Target, http: &reqwest::Client, secret: &str) -> Result<String, String> {
    let event = json!({
        "type": "doctor.checked", "object": "event", "timestamp": now_ms(), "data": {},
        "instance_id": target.setting("CLERK_INSTANCE_ID"),
    });
    let request = signed(http, &target.webhook, secret, &event.to_string());
    let request = target.own(request.map_err(|error| error.to_string())?);
    let response = request.send().await.map_err(described)?;
    let status = response.status();
    let outcome = response.headers().get(OUTCOME_HEADER).and_then(|outcome| outcome.to_str().ok()).map(str::to_owned);
    if status == StatusCode::OK && outcome.as_deref() == Some("ignored") {
        return Ok("The webhook function accepts an event that is signed with the secret.".to_owned());
    }
    let body: Value = response.json().await.unwrap_or_default();
    let code = body.get("code").and_then(Value::as_str).map(str::to_owned).or(outcome).unwrap_or_default();
    Err(unexpected("For an event that is signed with the secret, the webhook function", &(status, code)))
}

/// A request with an event, signed now with the first of `secrets`.
fn signed(http: &reqwest::Client, url: &str, secrets: &str, body: &str) -> anyhow::Result<RequestBuilder> {
    let secret = secrets.split_whitespace().next().context("the secret is empty")?;
    let (id, timestamp) = (new_id("msg"), i64::try_from(now_ms() / 1000)?);
    let signature = Webhook::new(secret)?.sign(&id, timestamp, body.as_bytes())?;
    Ok(http
        .post(url)
        .header("content-type", "application/json")
        .header("svix-id", id)
        .header("svix-timestamp", timestamp)
        .header("svix-signature", signature)
        .body(body.to_owned()))
}

/// Whether the function of `$connect` responds: it rejects a connection without a token, and accepts one with `token`.
pub(super) async fn live(target: &Target, http: &reqwest::Client, token: Option<&str>) -> Result<String, String> {
    let url = target.live.replacen("ws", "http", 1);
    let protocols = token.map_or_else(|| "live.v1".to_owned(), |token| format!("live.v1, bearer.{token}"));
    let upgrade = http
        .get(&url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, "Y3ViYnkncyBkb2N0b3I=")
        .header(SEC_WEBSOCKET_PROTOCOL, protocols);
    let response = target.own(upgrade).send().await;
    let response = response
        .map_err(|error| format!("The WebSocket API does not respond at {}: {}.", target.live, described(error)))?;
    let expected = if token.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::UNAUTHORIZED };
    if response.status() == expected {
        let verb = if token.is_some() { "accepts this token" } else { "requires a token" };
        return Ok(format!("The WebSocket API at {} {verb}.", target.live));
    }
    Err(unexpected("The WebSocket API", &(response.status(), String::new())))
}
