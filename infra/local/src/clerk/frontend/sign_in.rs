//! Signing in.

use axum::{Json, extract::Path, http::StatusCode, response::IntoResponse};
use serde_json::json;

use super::{Browser, Form, json, needs_code, user_with_email};
use crate::clerk::{
    new_id,
    routes::{ClerkError, ClerkResult, may_sign_in, not_found},
    state::{SignIn, User},
};

pub(super) async fn create(mut browser: Browser, form: Form) -> ClerkResult {
    let email = form.text("identifier").unwrap_or_default();
    let user = user_with_email(&browser.clerk, &email).ok_or_else(|| {
        let message = format!("No account has the email address {email}. Sign up.");
        ClerkError::form("identifier", "form_identifier_not_found", message)
    })?;
    may_sign_in(&browser.clerk, &user.id)?;
    browser.may_enter(&user.id)?;
    let id = new_id("sia");
    if !needs_code(&user.email) {
        return complete(browser, &id, &user);
    }
    let sign_in = SignIn { id, user_id: user.id, is_prepared: false };
    browser.change(|client| client.sign_in = Some(sign_in.clone()))?;
    browser.respond(&json::sign_in(&browser, &sign_in))
}

pub(super) async fn read(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    let sign_in = json::sign_in(&browser, &own(&browser, &id)?);
    Ok(Json(json!({ "response": sign_in, "client": null })).into_response())
}

/// Prepares the code. No email is sent: the code is always the same.
pub(super) async fn prepare(mut browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    check_strategy(&form)?;
    let sign_in = SignIn { is_prepared: true, ..own(&browser, &id)? };
    browser.change(|client| client.sign_in = Some(sign_in.clone()))?;
    browser.respond(&json::sign_in(&browser, &sign_in))
}

pub(super) async fn attempt(browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    check_strategy(&form)?;
    let sign_in = own(&browser, &id)?;
    form.check_code()?;
    let user = may_sign_in(&browser.clerk, &sign_in.user_id)?;
    complete(browser, &id, &user)
}

fn complete(mut browser: Browser, id: &str, user: &User) -> ClerkResult {
    browser.may_enter(&user.id)?;
    let session = browser.enter(&user.id)?;
    browser.change(|client| client.sign_in = None)?;
    browser.respond(&json::signed_in(&browser, id, user, &session))
}

fn own(browser: &Browser, id: &str) -> Result<SignIn, ClerkError> {
    let sign_in = browser.client().and_then(|client| client.sign_in);
    sign_in.filter(|sign_in| sign_in.id == id).ok_or_else(|| not_found("sign-in", id))
}

/// Only codes by email exist here.
fn check_strategy(form: &Form) -> Result<(), ClerkError> {
    if form.text("strategy").as_deref() == Some("email_code") {
        return Ok(());
    }
    let message = "The development Clerk has only the strategy email_code.".to_owned();
    Err(ClerkError::new(StatusCode::UNPROCESSABLE_ENTITY, "strategy_for_user_invalid", message))
}
