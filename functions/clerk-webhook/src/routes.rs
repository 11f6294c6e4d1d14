use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{Body, Code, Handled, Problem};
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

/// Lambda hands over no more than 6 MB; Svix sends far less.
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) struct Receiver {
    pub(crate) secret: Secret,
    pub(crate) profiles: Profiles,
    pub(crate) accounts: Accounts,
}

/// A function URL has one purpose, whatever path is written behind it.
pub(crate) fn router() -> Router<Arc<Receiver>> {
    Router::new().route("/", post(receive)).route("/{*path}", post(receive)).layer(DefaultBodyLimit::max(MAX_BYTES))
}

/// Says what became of the event: `changed`, `known` (it or a newer one had been there before), `ignored`, `invalid`, `failed`.
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
    let (handled, answer) = receiver.apply(event).await;
    // For those who send events by themselves and count what they changed. Only a signed request gets this far.
    Ok(([(OUTCOME_HEADER, handled.outcome)], handled, answer).into_response())
}

impl Receiver {
    /// Makes an event's change. A change that was not made had been made before, or a newer one had.
    async fn apply(&self, event: Event) -> (Extension<Handled>, Result<Body<Received>, Problem>) {
        let (event, at, changed) = match event {
            Event::UserChanged(user) => ("user_changed", user.updated_at(), self.profiles.apply_user(&user).await),
            Event::UserDeleted(user) => ("user_deleted", user.at(), self.profiles.apply_deletion(&user).await),
            Event::SessionEnded(session) => ("session_ended", session.at(), self.accounts.apply_end(&session).await),
            Event::Ignored(kind) => {
                tracing::debug!(kind, "the event is ignored");
                return taken("ignored", "ignored");
            }
            // A retry would bring the same event, so it is accepted. An alarm fires instead.
            Event::Invalid(reason) => {
                tracing::error!(reason, "a signed event is invalid");
                return taken("invalid", "invalid");
            }
        };
        let (outcome, answer) = match changed {
            Ok(true) => ("changed", Ok(RECEIVED)),
            Ok(false) => ("known", Ok(RECEIVED)),
            Err(error) => ("failed", Err(error.into())),
        };
        // How late a change came; what was known already says nothing of that.
        let age = UNIX_EPOCH.elapsed().ok().and_then(|now| now.checked_sub(Duration::from_millis(at)));
        let age = age.filter(|_| outcome == "changed");
        (Extension(Handled { event, outcome, age }), answer)
    }
}

const RECEIVED: Body<Received> = Body(Received { success: true });

fn taken(event: &'static str, outcome: &'static str) -> (Extension<Handled>, Result<Body<Received>, Problem>) {
    (Extension(Handled { event, outcome, age: None }), Ok(RECEIVED))
}

pub(crate) fn refused(error: &WebhookError) -> Problem {
    let code = match error {
        WebhookError::MissingHeaders(_) => Code::WebhookHeadersMissing,
        WebhookError::Stale => Code::WebhookStale,
        WebhookError::BadSignature => Code::WebhookBadSignature,
    };
    Problem::new(code, error.to_string())
}
