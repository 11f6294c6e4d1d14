//! A part of Clerk's Frontend and Backend APIs, with Clerk's paths and formats.
//!
//! Clerk does not have two of the routes: `/v1/sessions/{id}/end` does what a sign-out in a browser does, and
//! `/v1/webhooks/{id}` waits for the delivery of an event. `PATCH /v1/instance` accepts settings that Clerk has only in its
//! dashboard: `single_session_mode`, and `roles`, which lists the custom permissions of each role.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Clerk, frontend, organizations,
    state::{self, Session, Status, User, new_id, now_ms},
    webhooks,
};

/// How long a request for a webhook waits for its delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Lists the ids of the webhooks that a change sends.
pub(crate) const WEBHOOKS_HEADER: &str = "x-local-webhooks";

pub(crate) fn router(clerk: Arc<Clerk>) -> Router {
    let backend = Router::new()
        .route("/v1/instance", get(read_instance).patch(update_instance))
        .route("/v1/jwks", get(jwks))
        .route("/v1/users", get(list_users).post(create_user))
        .route("/v1/users/count", get(count_users))
        .route("/v1/users/{id}", get(read_user).patch(update_user).delete(delete_user))
        .route("/v1/users/{id}/ban", post(ban_user))
        .route("/v1/users/{id}/unban", post(unban_user))
        .route("/v1/sessions", get(list_sessions).post(create_session))
        .route("/v1/sessions/{id}/tokens", post(create_token))
        .route("/v1/sessions/{id}/refresh", post(refresh_session))
        .route("/v1/sessions/{id}/revoke", post(revoke_session))
        .route("/v1/sessions/{id}/end", post(end_session))
        .route("/v1/organizations", post(organizations::create_organization))
        .route("/v1/organizations/{id}/memberships", post(organizations::add_member))
        .route("/v1/webhooks/{id}", get(read_webhook))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&clerk), authorized));
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/.well-known/openid-configuration", get(openid_configuration))
        .merge(backend)
        .with_state(clerk)
}

pub(super) type Clerks = State<Arc<Clerk>>;

/// An error response in Clerk's format.
pub(super) struct ClerkError {
    pub(super) status: StatusCode,
    code: &'static str,
    pub(super) message: String,
    /// Details of the error for Clerk's components.
    meta: Value,
}

impl ClerkError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, meta: json!({}) }
    }

    /// The parameter `param` is wrong. Clerk's components show the message at its field.
    pub(super) fn form(param: &'static str, code: &'static str, message: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message).with(json!({ "param_name": param }))
    }

    pub(super) fn with(self, meta: Value) -> Self {
        Self { meta, ..self }
    }
}

pub(super) type ClerkResult = Result<Response, ClerkError>;

impl IntoResponse for ClerkError {
    fn into_response(self) -> Response {
        let Self { status, code, message, meta } = self;
        let error = json!({ "code": code, "message": message, "long_message": message, "meta": meta });
        (status, Json(json!({ "errors": [error] }))).into_response()
    }
}

impl From<anyhow::Error> for ClerkError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("{error:#}"))
    }
}

pub(super) fn not_found(resource: &str, id: &str) -> ClerkError {
    ClerkError::new(StatusCode::NOT_FOUND, "resource_not_found", format!("No {resource} has the id {id}."))
}

async fn authorized(State(clerk): Clerks, headers: HeaderMap, request: Request, next: Next) -> Response {
    let expected = format!("Bearer {}", clerk.secrets.secret_key);
    if headers.get(header::AUTHORIZATION).is_some_and(|sent| sent.as_bytes() == expected.as_bytes()) {
        return next.run(request).await;
    }
    let message = "Send the secret key of this instance in the header Authorization: Bearer <key>.";
    ClerkError::new(StatusCode::UNAUTHORIZED, "authentication_invalid", message.to_owned()).into_response()
}

async fn jwks(State(clerk): Clerks) -> Json<Value> {
    Json(clerk.jwks())
}

async fn openid_configuration(State(clerk): Clerks) -> Json<Value> {
    let issuer = &clerk.issuer;
    Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["code"],
        "claims_supported": ["sub", "iss", "sid", "azp", "exp", "iat", "nbf", "email", "firstName", "lastName"],
    }))
}

/// Sends events, and responds with `body`.
pub(super) fn announce(clerk: &Arc<Clerk>, body: Value, events: &[(&str, Value)]) -> ClerkResult {
    let ids = webhooks::send(clerk, events)?.join(",");
    Ok(([(WEBHOOKS_HEADER, ids)], Json(body)).into_response())
}

#[derive(Deserialize)]
struct ListUsers {
    #[serde(default = "ten")]
    limit: usize,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    order_by: String,
    #[serde(default)]
    query: String,
}

fn ten() -> usize {
    10
}

/// The users whose id, email address or names contain `query`, as Clerk finds them.
fn find_users(clerk: &Clerk, query: &str) -> Vec<User> {
    let wanted = query.to_lowercase();
    let is_wanted = |user: &&User| {
        let User { id, email, first_name, last_name, .. } = user;
        let names = [first_name, last_name].map(|name| name.as_deref().unwrap_or_default());
        format!("{id} {email} {}", names.join(" ")).to_lowercase().contains(&wanted)
    };
    clerk.read(|state| state.users.values().filter(is_wanted).cloned().collect())
}

/// Newest first, as Clerk lists them, unless `order_by` is `created_at` or `+created_at`.
async fn list_users(
    State(clerk): Clerks,
    Query(ListUsers { limit, offset, order_by, query }): Query<ListUsers>,
) -> Json<Value> {
    let mut users = find_users(&clerk, &query);
    users.sort_by_key(|user| user.created_at);
    // A plus sign in a query string may be decoded as a space.
    if order_by.trim_start_matches(['+', ' ']) != "created_at" {
        users.reverse();
    }
    Json(users.iter().skip(offset).take(limit.min(500)).map(User::json).collect())
}

/// Empty strings count as missing.
#[derive(Default, Deserialize)]
pub(super) struct UserBody {
    pub(super) id: Option<String>,
    pub(super) email_address: Option<Vec<String>>,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) image_url: Option<String>,
}

pub(super) fn check_email(email: &str) -> Result<(), ClerkError> {
    if email.contains('@') {
        return Ok(());
    }
    let message = format!("{email:?} is not an email address.");
    Err(ClerkError::form("email_address", "form_param_format_invalid", message))
}

/// Adds a user. The caller announces it.
pub(super) fn sign_up(clerk: &Clerk, body: UserBody) -> Result<User, ClerkError> {
    let email = body.email_address.and_then(|addresses| addresses.into_iter().next()).ok_or_else(|| {
        let message = "A user must have an email address: \"email_address\": [\"ada@example.com\"].".to_owned();
        ClerkError::form("email_address", "form_param_missing", message)
    })?;
    let id = body.id.unwrap_or_else(|| new_id("user"));
    // Ids are parts of paths.
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        let message = "An id has only letters, digits, _ and -, such as user_ada.".to_owned();
        return Err(ClerkError::form("id", "form_param_format_invalid", message));
    }
    check_email(&email)?;
    let now = now_ms();
    let user = User {
        id,
        email,
        first_name: body.first_name,
        last_name: body.last_name,
        image_url: body.image_url,
        banned: false,
        created_at: now,
        updated_at: now,
    };
    let refusal = clerk.change(|state| {
        if state.users.contains_key(&user.id) {
            return Some(format!("A user has the id {} already.", user.id));
        }
        // The stored tombstone would hide the user's profile.
        if state.deleted_users.contains(&user.id) {
            return Some(format!("The user {} was deleted, and Clerk never reuses an id. Choose another id.", user.id));
        }
        state.users.insert(user.id.clone(), user.clone());
        None
    })?;
    if let Some(message) = refusal {
        return Err(ClerkError::form("id", "form_identifier_exists", message));
    }
    Ok(user)
}

async fn create_user(State(clerk): Clerks, Json(body): Json<UserBody>) -> ClerkResult {
    let user = sign_up(&clerk, body)?;
    announce(&clerk, user.json(), &[("user.created", user.json())])
}

async fn read_instance(State(clerk): Clerks) -> Json<Value> {
    Json(json!({ "object": "instance", "id": clerk.secrets.instance_id, "environment_type": "development" }))
}

#[derive(Deserialize)]
struct InstanceBody {
    single_session_mode: Option<bool>,
    roles: Option<BTreeMap<String, Vec<String>>>,
}

async fn update_instance(State(clerk): Clerks, Json(body): Json<InstanceBody>) -> ClerkResult {
    for permission in body.roles.iter().flat_map(BTreeMap::values).flatten() {
        if permission.strip_prefix("org:").and_then(|rest| rest.split_once(':')).is_none() {
            let message = format!("{permission} is not a permission. Write it as org:<feature>:<permission>.");
            return Err(ClerkError::form("roles", "form_param_format_invalid", message));
        }
    }
    clerk.change(|state| {
        state.has_several_sessions = body.single_session_mode.map_or(state.has_several_sessions, |single| !single);
        state.roles.extend(body.roles.unwrap_or_default());
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn count_users(State(clerk): Clerks) -> Json<Value> {
    Json(json!({ "object": "total_count", "total_count": clerk.read(|state| state.users.len()) }))
}

async fn read_user(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    let user = clerk.read(|state| state.users.get(&id).cloned());
    user.map(|user| Json(user.json()).into_response()).ok_or_else(|| not_found("user", &id))
}

/// Changes a user. Each change gets a later time than the one before, even within a millisecond.
fn change_user(clerk: &Clerk, id: &str, change: impl FnOnce(&mut User)) -> Result<User, ClerkError> {
    let user = clerk.change(|state| {
        let user = state.users.get_mut(id)?;
        change(user);
        user.updated_at = now_ms().max(user.updated_at + 1);
        Some(user.clone())
    })?;
    user.ok_or_else(|| not_found("user", id))
}

async fn update_user(State(clerk): Clerks, Path(id): Path<String>, Json(body): Json<UserBody>) -> ClerkResult {
    update(&clerk, &id, body)
}

/// Changes the members of a user that `body` has.
pub(super) fn update(clerk: &Arc<Clerk>, id: &str, body: UserBody) -> ClerkResult {
    let user = change_user(clerk, id, |user| {
        if let Some(email) = body.email_address.and_then(|addresses| addresses.into_iter().next()) {
            user.email = email;
        }
        let fields = [
            (&mut user.first_name, body.first_name),
            (&mut user.last_name, body.last_name),
            (&mut user.image_url, body.image_url),
        ];
        for (field, value) in fields.into_iter().filter_map(|(field, value)| Some((field, value?))) {
            *field = Some(value).filter(|value| !value.is_empty());
        }
    })?;
    announce(clerk, user.json(), &[("user.updated", user.json())])
}

/// Ends the active sessions of a user with `status`, and returns them.
fn close_sessions(state: &mut state::State, user_id: &str, status: Status) -> Vec<Value> {
    let sessions = state.sessions.values_mut();
    let active = sessions.filter(|session| session.user_id == user_id && session.status == Status::Active);
    active.map(|session| close(session, status)).collect()
}

fn close(session: &mut Session, status: Status) -> Value {
    session.status = status;
    session.updated_at = now_ms();
    session.json()
}

async fn delete_user(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    delete(&clerk, &id)
}

/// Deletes a user, and ends their sessions.
pub(super) fn delete(clerk: &Arc<Clerk>, id: &str) -> ClerkResult {
    let removed = clerk.change(|state| {
        let memberships = organizations::leave_all(state, id);
        state.users.remove(id)?;
        state.deleted_users.insert(id.to_owned());
        state.pictures.remove(id);
        Some((close_sessions(state, id, Status::Removed), memberships))
    })?;
    let (sessions, memberships) = removed.ok_or_else(|| not_found("user", id))?;
    let user = json!({ "id": id, "object": "user", "deleted": true });
    let mut events: Vec<_> = sessions.into_iter().map(|session| ("session.removed", session)).collect();
    events.extend(memberships.into_iter().map(|membership| ("organizationMembership.deleted", membership)));
    events.push(("user.deleted", user.clone()));
    announce(clerk, user, &events)
}

async fn ban_user(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    let user = change_user(&clerk, &id, |user| user.banned = true)?;
    let sessions = clerk.change(|state| close_sessions(state, &id, Status::Revoked))?;
    let mut events: Vec<_> = sessions.into_iter().map(|session| ("session.revoked", session)).collect();
    events.push(("user.updated", user.json()));
    announce(&clerk, user.json(), &events)
}

async fn unban_user(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    let user = change_user(&clerk, &id, |user| user.banned = false)?;
    announce(&clerk, user.json(), &[("user.updated", user.json())])
}

#[derive(Deserialize)]
struct OfUser {
    user_id: String,
}

async fn list_sessions(State(clerk): Clerks, Query(OfUser { user_id }): Query<OfUser>) -> Json<Value> {
    clerk.read(|state| {
        let sessions = state.sessions.values().filter(|session| session.user_id == user_id);
        Json(sessions.map(Session::json).collect())
    })
}

/// Opens a session, in the browser with the cookie `client` if there is one. The caller announces it.
pub(super) fn sign_in(
    clerk: &Clerk,
    user_id: String,
    client: Option<String>,
    organization: Option<String>,
) -> Result<Session, ClerkError> {
    may_sign_in(clerk, &user_id)?;
    let now = now_ms();
    let (id, status) = (new_id("sess"), Status::Active);
    Ok(clerk.change(|state| {
        let browser = client.as_ref().and_then(|client| state.clients.get(client));
        // Clerk has a client for every session, also for one that no browser has opened.
        let client_id = browser.map_or_else(|| new_id("client"), |browser| browser.id.clone());
        let session =
            Session { id, user_id, client, client_id, organization, status, created_at: now, updated_at: now };
        state.sessions.insert(session.id.clone(), session.clone());
        session
    })?)
}

#[derive(Deserialize)]
struct NewSession {
    user_id: String,
    active_organization_id: Option<String>,
}

async fn create_session(
    State(clerk): Clerks,
    Json(NewSession { user_id, active_organization_id }): Json<NewSession>,
) -> ClerkResult {
    if let Some(id) = &active_organization_id {
        let is_member = clerk.read(|state| state.membership(id, &user_id).is_some());
        is_member.then_some(()).ok_or_else(|| not_found("organization of this user", id))?;
    }
    let session = sign_in(&clerk, user_id, None, active_organization_id)?;
    announce(&clerk, session.json(), &[("session.created", session.json())])
}

/// The user, if they exist and are not banned.
pub(super) fn may_sign_in(clerk: &Clerk, user_id: &str) -> Result<User, ClerkError> {
    let user = clerk.read(|state| state.users.get(user_id).cloned()).ok_or_else(|| not_found("user", user_id))?;
    if user.banned {
        let message = format!("The user {user_id} is banned.");
        return Err(ClerkError::new(StatusCode::FORBIDDEN, "user_banned", message));
    }
    Ok(user)
}

async fn create_token(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    Ok(Json(json!({ "object": "token", "jwt": token(&clerk, &id, clerk.origin())? })).into_response())
}

/// A fresh token of a session with its active organization, for a front end's origin.
pub(super) fn token(clerk: &Clerk, id: &str, origin: &str) -> Result<String, ClerkError> {
    let organization = clerk.read(|state| state.sessions.get(id)?.organization.clone());
    token_with(clerk, id, origin, organization.as_deref())
}

/// A fresh token of a session, with an organization if the user is a member.
pub(super) fn token_with(
    clerk: &Clerk,
    id: &str,
    origin: &str,
    organization: Option<&str>,
) -> Result<String, ClerkError> {
    let session = clerk.read(|state| state.sessions.get(id).cloned()).ok_or_else(|| not_found("session", id))?;
    if session.status != Status::Active {
        let message = format!("The session {id} has ended. Sign in again.");
        return Err(ClerkError::new(StatusCode::UNPROCESSABLE_ENTITY, "session_not_active", message));
    }
    let user = may_sign_in(clerk, &session.user_id)?;
    // The claims that docs/clerk.md adds to the session token.
    let User { email, first_name, last_name, .. } = &user;
    let claims = clerk.read(|state| organizations::claims(state, &user.id, organization?));
    let (organization, features) = claims.unzip();
    let extra = json!({
        "azp": origin, "email": email, "firstName": first_name, "lastName": last_name, "o": organization,
        "fea": features.filter(|features| !features.is_empty()),
    });
    Ok(clerk.key.session_token(&clerk.issuer, &user.id, &session.id, now_ms() / 1000, &extra)?)
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
    /// The front end's origin.
    #[serde(default)]
    request_origin: String,
}

/// The next token of a session, for a server that a browser sends its refresh token. Servers get it as cookies.
async fn refresh_session(State(clerk): Clerks, Path(id): Path<String>, Json(body): Json<Refresh>) -> ClerkResult {
    let cookie = clerk.read(|state| {
        let mut clients = state.clients.iter();
        clients.find(|(_, client)| client.refresh_token == body.refresh_token).map(|(cookie, _)| cookie.clone())
    });
    let session = clerk.read(|state| state.sessions.get(&id).cloned());
    let is_its = session.is_some_and(|session| cookie.is_some() && session.client == cookie);
    if !is_its {
        let message = "The refresh token is not valid for this session.".to_owned();
        return Err(ClerkError::new(StatusCode::UNAUTHORIZED, "authentication_invalid", message));
    }
    let origin = clerk.origins.iter().find(|origin| **origin == body.request_origin);
    let token = token(&clerk, &id, origin.map_or_else(|| clerk.origin(), String::as_str))?;
    let cookies = frontend::token_cookies(&clerk, &token);
    let cookies: Vec<_> = cookies.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "object": "cookies", "cookies": cookies })).into_response())
}

async fn end_session(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    end(&clerk, &id, Status::Ended, "session.ended")
}

async fn revoke_session(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    end(&clerk, &id, Status::Revoked, "session.revoked")
}

pub(super) fn end(clerk: &Arc<Clerk>, id: &str, status: Status, kind: &str) -> ClerkResult {
    let session = clerk.change(|state| Some(close(state.sessions.get_mut(id)?, status)))?;
    let session = session.ok_or_else(|| not_found("session", id))?;
    announce(clerk, session.clone(), &[(kind, session)])
}

async fn read_webhook(State(clerk): Clerks, Path(id): Path<String>) -> ClerkResult {
    let delivery = clerk.lock_deliveries().get(&id).cloned().ok_or_else(|| not_found("webhook", &id))?;
    let mut watched = delivery.progress.subscribe();
    // The response has its progress, whether or not it was delivered in time.
    drop(tokio::time::timeout(DELIVERY_TIMEOUT, watched.wait_for(|progress| progress.delivered)).await);
    let progress = watched.borrow();
    let (delivered, attempts, last) = (progress.delivered, progress.count, progress.last());
    let body = json!({ "kind": delivery.kind(), "delivered": delivered, "attempts": attempts, "last": last });
    Ok(Json(body).into_response())
}
