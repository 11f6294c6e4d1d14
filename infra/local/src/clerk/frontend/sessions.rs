//! The sessions of a browser: tokens, and how they end.

use axum::{
    Json,
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Browser, Form, json};
use crate::clerk::{
    routes::{self, ClerkResult},
    state::Status,
};

/// The parameter with the organization that becomes active.
const ACTIVE: &str = "active_organization_id";
/// The parameter with the organization of a token.
const OF_TOKEN: &str = "organization_id";

fn uncached(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(super) async fn read_client(browser: Browser) -> ClerkResult {
    Ok(uncached(json!({ "response": browser.json()?, "client": null })))
}

pub(super) async fn read(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    let (session, user) = browser.session(&id)?;
    Ok(uncached(json!({ "response": json::session(&browser, &session, &user)?, "client": null })))
}

/// A page uses the session, and names its active organization.
pub(super) async fn touch(mut browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    let (_, user) = browser.session(&id)?;
    if form.has(ACTIVE) {
        let organization = form.text(ACTIVE);
        let is_member = |id: &String| browser.clerk.read(|state| state.membership(id, &user.id).is_some());
        if let Some(unknown) = organization.as_ref().filter(|id| !is_member(id)) {
            return Err(routes::not_found("organization", unknown));
        }
        browser.clerk.change(|state| {
            if let Some(session) = state.sessions.get_mut(&id) {
                session.organization = organization;
            }
        })?;
    }
    let (session, user) = browser.session(&id)?;
    browser.change(|client| client.last_active = Some(id))?;
    browser.respond(&json::session(&browser, &session, &user)?)
}

/// A token with the organization of the page, which may differ from that of another tab.
pub(super) async fn create_token(browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    let (session, _) = browser.session(&id)?;
    let organization = if form.has(OF_TOKEN) { form.text(OF_TOKEN) } else { session.organization };
    let token = routes::token_with(&browser.clerk, &id, &browser.origin, organization.as_deref())?;
    Ok(uncached(json!({ "object": "token", "jwt": token })))
}

pub(super) async fn end(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    close(&browser, &id, Status::Ended, "session.ended")
}

pub(super) async fn remove(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    close(&browser, &id, Status::Removed, "session.removed")
}

fn close(browser: &Browser, id: &str, status: Status, kind: &str) -> ClerkResult {
    let (mut session, user) = browser.session(id)?;
    drop(routes::end(&browser.clerk, id, status, kind)?);
    session.status = status;
    browser.respond(&json::session(browser, &session, &user)?)
}

/// Ends all sessions of the browser.
pub(super) async fn sign_out(browser: Browser) -> ClerkResult {
    for (session, _) in browser.sessions() {
        drop(routes::end(&browser.clerk, &session.id, Status::Removed, "session.removed")?);
    }
    browser.respond(&browser.json()?)
}
