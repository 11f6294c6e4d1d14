//! Signing up.

use axum::{Json, extract::Path, response::IntoResponse};
use serde_json::json;

use super::{Browser, Form, json, needs_code, user_with_email};
use crate::clerk::{
    new_id,
    routes::{self, ClerkError, ClerkResult, UserBody, not_found},
    state::SignUp,
    webhooks,
};

pub(super) async fn create(browser: Browser, form: Form) -> ClerkResult {
    let new = SignUp { id: new_id("sua"), email: None, first_name: None, last_name: None };
    proceed(browser, changed(new, &form), false)
}

pub(super) async fn read(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    Ok(Json(json!({ "response": json::sign_up(&own(&browser, &id)?), "client": null })).into_response())
}

pub(super) async fn update(browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    let sign_up = own(&browser, &id)?;
    proceed(browser, changed(sign_up, &form), false)
}

/// Prepares the code. No email is sent: the code is always the same.
pub(super) async fn prepare(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    browser.respond(&json::sign_up(&own(&browser, &id)?))
}

pub(super) async fn attempt(browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    let sign_up = own(&browser, &id)?;
    form.check_code()?;
    proceed(browser, sign_up, true)
}

/// The sign-up with the members of a form.
fn changed(mut sign_up: SignUp, form: &Form) -> SignUp {
    let SignUp { email, first_name, last_name, .. } = &mut sign_up;
    for (member, name) in [(email, "email_address"), (first_name, "first_name"), (last_name, "last_name")] {
        if form.has(name) {
            *member = form.text(name);
        }
    }
    sign_up
}

/// Creates the user and a session if nothing is missing.
fn proceed(mut browser: Browser, sign_up: SignUp, is_verified: bool) -> ClerkResult {
    browser.may_enter("")?;
    if let Some(email) = &sign_up.email {
        routes::check_email(email)?;
        if user_with_email(&browser.clerk, email).is_some() {
            let message = format!("An account has the email address {email} already. Sign in instead.");
            return Err(ClerkError::form("email_address", "form_identifier_exists", message));
        }
    }
    let is_complete = sign_up.email.as_ref().is_some_and(|email| is_verified || !needs_code(email));
    if !is_complete {
        browser.change(|client| client.sign_up = Some(sign_up.clone()))?;
        return browser.respond(&json::sign_up(&sign_up));
    }
    let body = UserBody {
        email_address: sign_up.email.clone().map(|email| vec![email]),
        first_name: sign_up.first_name.clone(),
        last_name: sign_up.last_name.clone(),
        ..UserBody::default()
    };
    let user = routes::sign_up(&browser.clerk, body)?;
    webhooks::send(&browser.clerk, &[("user.created", user.json())])?;
    let session = browser.enter(&user.id)?;
    browser.change(|client| client.sign_up = None)?;
    browser.respond(&json::signed_up(&sign_up, &user, &session))
}

fn own(browser: &Browser, id: &str) -> Result<SignUp, ClerkError> {
    let sign_up = browser.client().and_then(|client| client.sign_up);
    sign_up.filter(|sign_up| sign_up.id == id).ok_or_else(|| not_found("sign-up", id))
}
