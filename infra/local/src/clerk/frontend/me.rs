//! The user's own account.

use axum::{Json, extract::Path, response::IntoResponse};
use serde_json::{Value, json};

use super::{Browser, Form, json};
use crate::clerk::{
    routes::{self, ClerkResult, UserBody, not_found},
    state::Status,
};

pub(super) async fn read(browser: Browser) -> ClerkResult {
    let (_, user) = browser.current()?;
    Ok(Json(json!({ "response": json::user(&browser, &user), "client": null })).into_response())
}

pub(super) async fn update(browser: Browser, form: Form) -> ClerkResult {
    let (_, user) = browser.current()?;
    form.check_names(&["first_name", "last_name"])?;
    // An empty name removes it.
    let name = |name: &str| form.has(name).then(|| form.text(name).unwrap_or_default());
    let body = UserBody { first_name: name("first_name"), last_name: name("last_name"), ..UserBody::default() };
    drop(routes::update(&browser.clerk, &user.id, body)?);
    let (_, user) = browser.current()?;
    browser.respond(&json::user(&browser, &user))
}

pub(super) async fn delete(browser: Browser) -> ClerkResult {
    let (_, user) = browser.current()?;
    drop(routes::delete(&browser.clerk, &user.id)?);
    browser.respond(&json!({ "object": "user", "id": user.id, "deleted": true }))
}

/// The user's active sessions, in all browsers.
pub(super) async fn sessions(browser: Browser) -> ClerkResult {
    let (_, user) = browser.current()?;
    let sessions: Vec<Value> = browser.clerk.read(|state| {
        let sessions = state.sessions.values().filter(|session| session.status == Status::Active);
        sessions.filter(|session| session.user_id == user.id).map(json::activity).collect()
    });
    // Unlike every other response, without an envelope.
    Ok(Json(sessions).into_response())
}

/// Ends a session of the user in any browser.
pub(super) async fn revoke(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    let (_, user) = browser.current()?;
    let session = browser.clerk.read(|state| state.sessions.get(&id).cloned());
    let own = session.filter(|session| session.user_id == user.id && session.status == Status::Active);
    let mut session = own.ok_or_else(|| not_found("session", &id))?;
    drop(routes::end(&browser.clerk, &id, Status::Revoked, "session.revoked")?);
    session.status = Status::Revoked;
    browser.respond(&json::activity(&session))
}
