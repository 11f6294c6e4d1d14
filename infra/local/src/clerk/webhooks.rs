//! Webhooks, signed and sent again as Svix does it, in small.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::{Value, json};
use svix::webhooks::Webhook;
use tokio::{sync::watch, time::sleep};

use super::{
    Clerk,
    state::{Message, new_id, now_ms},
};

/// How long after an attempt the next one is made. Svix waits 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h, and then
/// gives up; here the last wait is repeated, so that what was broken for an afternoon is delivered in the end.
const WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// How long the receiver may take, as at Svix.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How far a webhook has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) kind: String,
    pub(crate) delivered: bool,
    pub(crate) attempts: usize,
    /// What the last attempt met: a status, or why there was none.
    pub(crate) last: String,
}

/// An event in Clerk's envelope, not sent yet.
pub(crate) fn event(clerk: &Clerk, kind: &str, data: &Value) -> Message {
    let body = json!({
        "data": data, "object": "event", "type": kind, "timestamp": now_ms(),
        "instance_id": clerk.secrets.instance_id,
        "event_attributes": { "http_request": { "client_ip": "127.0.0.1", "user_agent": "local" } },
    });
    Message { id: new_id("msg"), kind: kind.to_owned(), body: body.to_string() }
}

/// Sends a message until it is taken. The message is in the outbox already, so that no stop loses it.
pub(crate) fn deliver(clerk: &Arc<Clerk>, message: Message) {
    let (progress, watched) = watch::channel(Progress { kind: message.kind.clone(), ..Progress::default() });
    clerk.deliveries().insert(message.id.clone(), watched);
    let clerk = Arc::clone(clerk);
    tokio::spawn(async move {
        for wait in WAITS.into_iter().chain(std::iter::repeat(Duration::from_secs(8))) {
            let outcome = attempt(&clerk, &message).await;
            let delivered = outcome.as_ref().is_ok_and(StatusCode::is_success);
            let last = outcome.map_or_else(|error| error.to_string(), |status| status.as_u16().to_string());
            progress.send_modify(|progress| {
                progress.delivered = delivered;
                progress.attempts += 1;
                progress.last = last;
            });
            if delivered {
                break;
            }
            sleep(wait).await;
        }
        if let Err(error) = clerk.change(|state| drop(state.outbox.remove(&message.id))) {
            eprintln!("{} stays in the outbox: {error:#}", message.kind);
        }
    });
}

async fn attempt(clerk: &Clerk, message: &Message) -> Result<StatusCode> {
    // Each attempt is dated anew; the id stays.
    let timestamp = i64::try_from(now_ms() / 1000)?;
    let signature =
        Webhook::new(&clerk.secrets.webhook_secret)?.sign(&message.id, timestamp, message.body.as_bytes())?;
    let response = clerk
        .http
        .post(&clerk.webhook_url)
        .timeout(TIMEOUT)
        .header("content-type", "application/json")
        .header("svix-id", &message.id)
        .header("svix-timestamp", timestamp)
        .header("svix-signature", signature)
        .body(message.body.clone())
        .send()
        .await?;
    Ok(response.status())
}
