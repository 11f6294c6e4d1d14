//! Webhooks, signed and retried as Svix does, with shorter delays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use svix::webhooks::Webhook;
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

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
/// The largest number of attempts of a delivery that are kept.
const KEPT: usize = 100;
/// The largest part of a response that is kept, in characters.
const MAX_RESPONSE: usize = 2000;
/// The header of the webhook function's response with the event's outcome.
pub(crate) const OUTCOME_HEADER: &str = "event-outcome";
/// How old a stale timestamp is, in seconds.
const STALE: u64 = 3600;

/// An attempt to deliver a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Milliseconds since the epoch.
    pub(crate) at: u64,
    /// The status of the response, if there was one.
    pub(crate) status: Option<u16>,
    /// What the webhook function did with the event.
    pub(crate) outcome: Option<String>,
    pub(crate) duration_ms: u64,
    /// The body of the response, or the error.
    pub(crate) response: String,
}

impl Attempt {
    fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// The progress of a webhook's delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) delivered: bool,
    /// The number of attempts.
    pub(crate) count: usize,
    /// The last attempts, the newest last.
    pub(crate) attempts: Vec<Attempt>,
}

impl Progress {
    fn add(&mut self, attempt: Attempt) {
        self.delivered |= attempt.is_success();
        self.count += 1;
        self.attempts.push(attempt);
        if self.attempts.len() > KEPT {
            self.attempts.remove(0);
        }
    }

    /// The status or error of the last attempt.
    pub(crate) fn last(&self) -> String {
        let last = self.attempts.last();
        last.map(|last| last.status.map_or_else(|| last.response.clone(), |status| status.to_string()))
            .unwrap_or_default()
    }
}

/// A webhook and its delivery.
#[derive(Clone)]
pub(crate) struct Delivery {
    message: Message,
    created_at: u64,
    pub(super) progress: Arc<watch::Sender<Progress>>,
}

impl Delivery {
    pub(crate) fn id(&self) -> &str {
        &self.message.id
    }

    pub(crate) fn kind(&self) -> &str {
        &self.message.kind
    }

    pub(crate) fn body(&self) -> &str {
        &self.message.body
    }

    /// Milliseconds since the epoch.
    pub(crate) fn created_at(&self) -> u64 {
        self.created_at
    }

    pub(crate) fn is_delivered(&self) -> bool {
        self.progress.borrow().delivered
    }

    /// The number of attempts.
    pub(crate) fn count(&self) -> usize {
        self.progress.borrow().count
    }

    /// The last attempts, the newest last.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.progress.borrow().attempts.clone()
    }
}

/// How an event is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signature {
    Valid,
    /// Of another body.
    Wrong,
    /// Valid an hour ago.
    Stale,
    /// With the secret of another instance.
    OtherInstance,
    Missing,
}

impl Signature {
    /// The values with their names.
    pub(crate) const NAMES: [(&str, &str); 5] = [
        ("valid", "valid"),
        ("wrong", "of another body"),
        ("stale", "an hour old"),
        ("other_instance", "of another instance"),
        ("missing", "missing"),
    ];

    /// The value, as forms have it.
    pub(crate) fn value(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Wrong => "wrong",
            Self::Stale => "stale",
            Self::OtherInstance => "other_instance",
            Self::Missing => "missing",
        }
    }
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
    let delivery = Delivery { message, created_at: now_ms(), progress: Arc::new(watch::Sender::default()) };
    clerk.lock_deliveries().insert(delivery.message.id.clone(), delivery.clone());
    let clerk = Arc::clone(clerk);
    tokio::spawn(async move {
        for delay in RETRY_DELAYS.into_iter().chain(std::iter::repeat(Duration::from_secs(8))) {
            clerk.resend(&delivery).await;
            if delivery.is_delivered() {
                break;
            }
            sleep(delay).await;
        }
        if let Err(error) = clerk.change(|state| drop(state.outbox.remove(&delivery.message.id))) {
            eprintln!("{} stays in the outbox: {error:#}", delivery.message.kind);
        }
    });
}

impl Clerk {
    /// The webhooks since the start, the newest first.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let mut deliveries: Vec<_> = self.lock_deliveries().values().cloned().collect();
        // Ids begin with the time.
        deliveries.sort_by(|one, other| other.message.id.cmp(&one.message.id));
        deliveries
    }

    /// Makes one more attempt to deliver a webhook.
    pub(crate) async fn resend(&self, delivery: &Delivery) {
        let Message { id, body, .. } = &delivery.message;
        let attempt = self.send_once(&self.webhook_url, id, body, Signature::Valid).await;
        delivery.progress.send_modify(|progress| progress.add(attempt));
    }

    /// Sends a developer's event to a URL, and lists it among the deliveries.
    pub(crate) async fn send_own(&self, url: &str, body: &str, signature: Signature) -> Attempt {
        let event: Value = serde_json::from_str(body).unwrap_or_default();
        let kind = event.get("type").and_then(Value::as_str).unwrap_or("malformed event");
        let message = Message { id: new_id("msg"), kind: kind.to_owned(), body: body.to_owned() };
        let attempt = self.send_once(url, &message.id, body, signature).await;
        let mut progress = Progress::default();
        progress.add(attempt.clone());
        let delivery = Delivery { message, created_at: attempt.at, progress: Arc::new(watch::Sender::new(progress)) };
        self.lock_deliveries().insert(delivery.message.id.clone(), delivery);
        attempt
    }

    /// Sends an event to a URL.
    async fn send_once(&self, url: &str, id: &str, body: &str, signature: Signature) -> Attempt {
        let (at, started) = (now_ms(), Instant::now());
        let (status, outcome, response) = match self.request(url, id, body, signature) {
            Err(error) => (None, None, error.to_string()),
            Ok(request) => match request.send().await {
                Err(error) => (None, None, error.to_string()),
                Ok(response) => {
                    let status = response.status().as_u16();
                    let outcome = response.headers().get(OUTCOME_HEADER).and_then(|outcome| outcome.to_str().ok());
                    let outcome = outcome.map(str::to_owned);
                    let text = response.text().await.unwrap_or_default();
                    (Some(status), outcome, text.chars().take(MAX_RESPONSE).collect())
                }
            },
        };
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Attempt { at, status, outcome, duration_ms, response }
    }

    fn request(&self, url: &str, id: &str, body: &str, signature: Signature) -> Result<RequestBuilder> {
        let request = self.http.post(url).timeout(TIMEOUT).header("content-type", "application/json");
        let request = request.body(body.to_owned());
        // Each attempt has a new timestamp and the same id.
        let now = now_ms() / 1000;
        let (secret, timestamp, signed) = match signature {
            Signature::Missing => return Ok(request),
            Signature::Valid => (self.secrets.webhook_secret.clone(), now, body),
            Signature::Wrong => (self.secrets.webhook_secret.clone(), now, ""),
            Signature::Stale => (self.secrets.webhook_secret.clone(), now - STALE, body),
            Signature::OtherInstance => {
                (format!("whsec_{}", BASE64_STANDARD.encode(Uuid::new_v4().simple().to_string())), now, body)
            }
        };
        let timestamp = i64::try_from(timestamp)?;
        // The first of several, as after a rotation.
        let secret = secret.split_whitespace().next().unwrap_or_default();
        let signature = Webhook::new(secret)?.sign(id, timestamp, signed.as_bytes())?;
        Ok(request.header("svix-id", id).header("svix-timestamp", timestamp).header("svix-signature", signature))
    }
}
