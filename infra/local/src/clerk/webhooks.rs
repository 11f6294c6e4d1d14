//! Webhooks, signed and retried as Svix does, with shorter delays.

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

/// The delay after each attempt. Svix waits 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h, and then gives up. Here the last
/// delay is repeated, so that webhooks are delivered even after hours without a receiver.
const RETRY_DELAYS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The timeout of a delivery, the same as Svix's.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The progress of a webhook's delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) kind: String,
    pub(crate) delivered: bool,
    pub(crate) attempts: usize,
    /// The status or error of the last attempt.
    pub(crate) last: String,
}

/// Sends events of a kind with their data, and returns their ids.
pub(crate) fn send(clerk: &Arc<Clerk>, events: &[(&str, Value)]) -> Result<Vec<String>> {
    let messages: Vec<_> = events.iter().map(|(kind, data)| event(clerk, kind, data)).collect();
    let ids = messages.iter().map(|message| message.id.clone()).collect();
    clerk.change(|state| {
        state.outbox.extend(messages.iter().map(|message| (message.id.clone(), message.clone())));
    })?;
    for message in messages {
        deliver(clerk, message);
    }
    Ok(ids)
}

/// An event in Clerk's envelope, not sent yet.
fn event(clerk: &Clerk, kind: &str, data: &Value) -> Message {
    let body = json!({
        "data": data, "object": "event", "type": kind, "timestamp": now_ms(),
        "instance_id": clerk.secrets.instance_id,
        "event_attributes": { "http_request": { "client_ip": "127.0.0.1", "user_agent": "local" } },
    });
    Message { id: new_id("msg"), kind: kind.to_owned(), body: body.to_string() }
}

/// Sends a message until it is accepted. The message is in the outbox already, so a stop does not lose it.
pub(crate) fn deliver(clerk: &Arc<Clerk>, message: Message) {
    let (progress, watched) = watch::channel(Progress { kind: message.kind.clone(), ..Progress::default() });
    clerk.deliveries().insert(message.id.clone(), watched);
    let clerk = Arc::clone(clerk);
    tokio::spawn(async move {
        for delay in RETRY_DELAYS.into_iter().chain(std::iter::repeat(Duration::from_secs(8))) {
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
            sleep(delay).await;
        }
        if let Err(error) = clerk.change(|state| drop(state.outbox.remove(&message.id))) {
            eprintln!("{} stays in the outbox: {error:#}", message.kind);
        }
    });
}

async fn attempt(clerk: &Clerk, message: &Message) -> Result<StatusCode> {
    // Each attempt has a new timestamp and the same id.
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
