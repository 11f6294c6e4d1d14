use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{Body, Code, EventOutcome, Problem};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use clerk_auth::{Event, WebhookError};
use serde::Serialize;
use store::{Accounts, Profiles};

use crate::secret::Secret;

/// Lambda's limit is 6 MB. Svix sends far less.
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) struct Receiver {
    pub(crate) secret: Secret,
    pub(crate) profiles: Profiles,
    pub(crate) accounts: Accounts,
}

/// A function URL has one purpose, whatever the path.
pub(crate) fn router() -> Router<Arc<Receiver>> {
    Router::new().route("/", post(receive)).route("/{*path}", post(receive)).layer(DefaultBodyLimit::max(MAX_BYTES))
}

/// The event's outcome: `changed`, `known` (it or a newer event was applied before), `ignored`, `invalid` or `failed`.
const OUTCOME_HEADER: &str = "event-outcome";

#[derive(Serialize)]
struct Received {
    success: bool,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body =
        body.map_err(|_| Problem::new(Code::BodyTooLarge, format!("The body is larger than {MAX_BYTES} bytes.")))?;
    let event = receiver.secret.verify(&headers, &body, SystemTime::now()).await?;
    let (outcome, response) = receiver.apply(event).await;
    // For senders other than Svix that count changes, such as `reconcile`. Only signed requests get this far.
    Ok(([(OUTCOME_HEADER, outcome.outcome)], outcome, response).into_response())
}

impl Receiver {
    /// Applies an event, unless it or a newer one was applied before.
    async fn apply(&self, event: Event) -> (Extension<EventOutcome>, Result<Body<Received>, Problem>) {
        let (event, at, changed) = match event {
            Event::UserChanged(user) => ("user_changed", user.updated_at(), self.profiles.apply_user(&user).await),
            Event::UserDeleted(user) => ("user_deleted", user.at(), self.profiles.apply_deletion(&user).await),
            Event::SessionEnded(session) => ("session_ended", session.at(), self.accounts.apply_end(&session).await),
            Event::Ignored(kind) => {
                tracing::debug!(kind, "the event is ignored");
                return accepted("ignored", "ignored");
            }
            // A retry would deliver the same event, so it is accepted. An alarm fires instead.
            Event::Invalid(reason) => {
                tracing::error!(reason, "a signed event is invalid");
                return accepted("invalid", "invalid");
            }
        };
        let (outcome, response) = match changed {
            Ok(true) => ("changed", Ok(RECEIVED)),
            Ok(false) => ("known", Ok(RECEIVED)),
            Err(error) => ("failed", Err(error.into())),
        };
        // How late a change arrived. Events that were applied before do not count.
        let age = UNIX_EPOCH.elapsed().ok().and_then(|now| now.checked_sub(Duration::from_millis(at)));
        let age = age.filter(|_| outcome == "changed");
        (Extension(EventOutcome { event, outcome, age }), response)
    }
}

const RECEIVED: Body<Received> = Body(Received { success: true });

fn accepted(event: &'static str, outcome: &'static str) -> (Extension<EventOutcome>, Result<Body<Received>, Problem>) {
    (Extension(EventOutcome { event, outcome, age: None }), Ok(RECEIVED))
}

pub(crate) fn rejected(error: &WebhookError) -> Problem {
    let code = match error {
        WebhookError::MissingHeaders(_) => Code::WebhookHeadersMissing,
        WebhookError::Stale => Code::WebhookStale,
        WebhookError::BadSignature => Code::WebhookBadSignature,
    };
    Problem::new(code, error.to_string())
}
