//! The part of Clerk's Frontend API that Clerk's SDKs and components use in a browser, and the scripts that they load. It is
//! served on the front end's origin, like Clerk behind a proxy.
//!
//! An email address with `+clerk_test` needs the code 424242, as in Clerk's test mode. Every other one needs none.

mod browser;
mod cookies;
mod environment;
mod handshake;
mod json;
mod me;
mod organizations;
mod picture;
mod scripts;
mod sessions;
mod sign_in;
mod sign_up;
#[cfg(test)]
mod tests;
mod ticket;

use std::{collections::HashMap, path::Path, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Request, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
    routing::{delete, get, patch, post},
};
use tower::ServiceExt;
use url::form_urlencoded;

use super::{Clerk, routes::ClerkError, state::User};

use browser::Browser;
pub(super) use cookies::{cookie_suffix, publishable_key, token_cookies};

/// The code that verifies every email address which needs one.
const CODE: &str = "424242";

pub(super) fn router(clerk: &Arc<Clerk>, packages: &Path) -> Router {
    let routes = Router::new()
        .route("/v1/environment", get(environment::read))
        .route("/v1/client", get(sessions::read_client).delete(sessions::sign_out))
        .route("/v1/client/handshake", get(handshake::handshake))
        .route("/v1/client/sessions", delete(sessions::sign_out))
        .route("/v1/client/sessions/{id}", get(sessions::read))
        .route("/v1/client/sessions/{id}/touch", post(sessions::touch))
        .route("/v1/client/sessions/{id}/tokens", post(sessions::create_token))
        .route("/v1/client/sessions/{id}/end", post(sessions::end))
        .route("/v1/client/sessions/{id}/remove", post(sessions::remove))
        .route("/v1/client/sign_ins", post(sign_in::create))
        .route("/v1/client/sign_ins/{id}", get(sign_in::read))
        .route("/v1/client/sign_ins/{id}/prepare_first_factor", post(sign_in::prepare))
        .route("/v1/client/sign_ins/{id}/attempt_first_factor", post(sign_in::attempt))
        .route("/v1/client/sign_ups", post(sign_up::create))
        .route("/v1/client/sign_ups/{id}", get(sign_up::read).patch(sign_up::update))
        .route("/v1/client/sign_ups/{id}/prepare_verification", post(sign_up::prepare))
        .route("/v1/client/sign_ups/{id}/attempt_verification", post(sign_up::attempt))
        .route("/v1/me", get(me::read).patch(me::update).delete(me::delete))
        .route(
            "/v1/me/profile_image",
            post(picture::create).layer(DefaultBodyLimit::max(picture::MAX_REQUEST)).delete(picture::delete),
        )
        .route(picture::PATH, get(picture::read))
        .route("/v1/me/sessions/active", get(me::sessions))
        .route("/v1/me/sessions/{id}/revoke", post(me::revoke))
        .route("/v1/me/organization_memberships", get(organizations::memberships))
        .route("/v1/me/organization_memberships/{id}", delete(organizations::leave))
        .route("/v1/me/organization_invitations", get(organizations::none))
        .route("/v1/me/organization_suggestions", get(organizations::none))
        .route("/v1/organizations", post(organizations::create))
        .route(
            "/v1/organizations/{id}",
            get(organizations::read).patch(organizations::update).delete(organizations::delete),
        )
        .route("/v1/organizations/{id}/memberships", get(organizations::members))
        .route(
            "/v1/organizations/{id}/memberships/{user_id}",
            patch(organizations::update_member).delete(organizations::remove_member),
        )
        .route("/v1/organizations/{id}/invitations", get(organizations::none))
        .route("/v1/organizations/{id}/roles", get(organizations::roles))
        .route("/v1/tickets/{ticket}", get(ticket::open))
        .merge(scripts::router(packages))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(Arc::clone(clerk));
    Router::new().fallback_service(routes.map_request(with_method))
}

/// Clerk's SDK sends every change as POST, with the method in the query.
fn with_method(mut request: Request) -> Request {
    let method = query(request.uri(), "_method").and_then(|method| method.parse().ok());
    if let (&Method::POST, Some(method)) = (request.method(), method) {
        *request.method_mut() = method;
    }
    request
}

/// A parameter of the query.
fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    query.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A new version of Clerk's SDK may use endpoints that are missing here. This names them.
async fn unknown(method: Method, uri: Uri) -> ClerkError {
    let endpoint = format!("{method} {}", uri.path());
    eprintln!("the development Clerk has no {endpoint}");
    let message = format!("The development Clerk has no {endpoint}.");
    ClerkError::new(StatusCode::NOT_FOUND, "resource_not_found", message)
}

/// The parameters in a request's body, which may be empty.
struct Form(HashMap<String, String>);

impl Form {
    /// Rejects parameters besides these, instead of ignoring what the user wants.
    fn check_names(&self, known: &[&str]) -> Result<(), ClerkError> {
        self.0.keys().find(|name| !known.contains(&name.as_str())).map_or(Ok(()), |name| {
            let message = format!("The development Clerk has no {name} here.");
            Err(ClerkError::new(StatusCode::UNPROCESSABLE_ENTITY, "form_param_unknown", message))
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A parameter without surrounding spaces, if it is not blank.
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Checks a code that the user has entered.
    fn check_code(&self) -> Result<(), ClerkError> {
        if self.text("code").as_deref() == Some(CODE) {
            return Ok(());
        }
        let message = format!("The code is wrong. The development Clerk's code is {CODE}.");
        Err(ClerkError::form("code", "form_code_incorrect", message))
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, BytesRejection> {
        let body = Bytes::from_request(request, state).await?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

/// Whether an email address needs a code.
fn needs_code(email: &str) -> bool {
    email.contains("+clerk_test@")
}

fn user_with_email(clerk: &Clerk, email: &str) -> Option<User> {
    clerk.read(|state| state.users.values().find(|user| user.email.eq_ignore_ascii_case(email)).cloned())
}
