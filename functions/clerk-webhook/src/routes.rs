use std::sync::Arc;

use api::{Body, Problem};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use clerk_auth::{ConfigError, Event, WebhookError, WebhookVerifier};
use serde::Serialize;
use store::{Accounts, Profiles};

/// Lambda hands over no more than 6 MB; Svix sends far less.
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) struct Receiver {
    pub(crate) verifier: Result<WebhookVerifier, ConfigError>,
    pub(crate) profiles: Profiles,
    pub(crate) accounts: Accounts,
}

/// A function URL has one purpose, whatever path is written behind it.
pub(crate) fn router() -> Router<Arc<Receiver>> {
    Router::new().route("/", post(receive)).route("/{*path}", post(receive)).layer(DefaultBodyLimit::max(MAX_BYTES))
}

#[derive(Serialize)]
struct Received {
    success: bool,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Body<Received>, Problem> {
    let verifier = receiver.verifier.as_ref().map_err(|error| Problem::internal(error.to_string()))?;
    let body = body.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body is larger than {MAX_BYTES} bytes."),
        )
    })?;
    let event = verifier.verify(&headers, &body).map_err(|error| refused(&error))?;
    match event {
        Event::UserChanged(user) => log("user changed", receiver.profiles.apply_user(&user).await?),
        Event::UserDeleted(user) => log("user deleted", receiver.profiles.apply_deletion(&user).await?),
        Event::SessionEnded(session) => log("session ended", receiver.accounts.apply_end(&session).await?),
        Event::Other(kind) => tracing::info!(kind, "an event of no concern"),
        // Sending it again would not help, so it is answered like one that was taken.
        Event::Unusable(reason) => tracing::error!(reason, "a signed event that cannot be used"),
    }
    Ok(Body(Received { success: true }))
}

fn refused(error: &WebhookError) -> Problem {
    let code = match error {
        WebhookError::MissingHeaders(_) => "webhook_headers_missing",
        WebhookError::Stale => "webhook_stale",
        WebhookError::BadSignature => "webhook_bad_signature",
    };
    Problem::bad_request(code, error.to_string())
}

/// A change that was not made had been made before, or a newer one had.
fn log(event: &str, changed: bool) {
    tracing::info!(event, changed, "an event of Clerk's");
}
