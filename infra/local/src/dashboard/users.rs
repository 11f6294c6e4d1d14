//! Users: Clerk's users and their sessions, tokens, and profiles as Clerk and the API have them.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::{Method, StatusCode},
    response::Redirect,
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dashboard, Operation, Page, PageError, Site, data::plain, layout};

pub(super) fn router() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(details).post(update))
        .route("/users/{id}/ban", post(async |site, path| act(site, path, Method::POST, "/ban").await))
        .route("/users/{id}/unban", post(async |site, path| act(site, path, Method::POST, "/unban").await))
        .route("/users/{id}/delete", post(delete))
        .route("/users/{id}/token", post(token))
        .route("/users/{id}/open", post(open))
        .route("/users/{id}/sessions", post(sign_in))
        .route("/users/{id}/sessions/{session}/end", post(sign_out))
}

/// The claims of a session token and what they mean.
const CLAIMS: [(&str, &str); 12] = [
    ("iss", "The Clerk instance that issued the token."),
    ("sub", "The user's id."),
    ("sid", "The session's id. Every call checks that it has not ended."),
    ("azp", "The origin of the front end to which the token was issued. It must be an authorized party."),
    ("aud", "The audience, if a JWT template sets one."),
    ("iat", "When it was issued, in seconds since the epoch."),
    ("nbf", "When it begins to be valid."),
    ("exp", "When it expires."),
    ("sts", "The session's status. A pending one is rejected."),
    ("email", "The email address, which the session token is customized to have."),
    ("firstName", "The first name, likewise."),
    ("lastName", "The last name, likewise."),
];

/// The number of users on a page.
const PAGE: usize = 100;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Search {
    query: String,
    /// The number of users before the page.
    offset: usize,
}

/// The members of a user that a form changes.
#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    id: String,
    email: String,
    first_name: String,
    last_name: String,
}

impl Details {
    fn body(&self) -> Value {
        let Self { id, email, first_name, last_name } = self;
        let id = Some(id.trim()).filter(|id| !id.is_empty());
        json!({ "id": id, "email_address": [email], "first_name": first_name, "last_name": last_name })
    }
}

fn path(id: &str) -> String {
    format!("/users/{}", layout::encoded(id))
}

fn backend_path(id: &str) -> String {
    format!("/v1/users/{}", layout::encoded(id))
}

fn email(user: &Value) -> &str {
    user.pointer("/email_addresses/0/email_address").and_then(Value::as_str).unwrap_or_default()
}

async fn list(State(dashboard): Site, Query(Search { query, offset }): Query<Search>) -> Page {
    let url = |path: &str, offset| format!("{path}?query={}&offset={offset}", layout::encoded(&query));
    // One more than the page has, to know whether there is a next one.
    let found = format!("{}&limit={}", url("/v1/users", offset), PAGE + 1);
    let found = dashboard.backend(Method::GET, &found, None).await?;
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let users = found.get(..PAGE).unwrap_or(found);
    let rows = html! {
        @for user in users {
            tr {
                td { a href=(path(layout::text(user, "id"))) { (layout::text(user, "id")) } }
                td { (email(user)) }
                td { (layout::text(user, "first_name")) " " (layout::text(user, "last_name")) }
                td { @if user.get("banned") == Some(&Value::Bool(true)) { span .bad { "banned" } } @else { "active" } }
                td { (layout::time(layout::number(user, "created_at"))) }
            }
        }
    };
    Ok(layout::page(
        "Users",
        "/users",
        html! {
            form .filters method="get" action="/users" hx-get="/users" hx-trigger="input changed delay:300ms"
                hx-target="#users" hx-select="#users" hx-swap="outerHTML" hx-push-url="true"
            {
                (layout::input("Search", "query", &query, ""))
                button { "Search" }
            }
            div #users .wrapping {
                @if users.is_empty() { p { "No users." } } @else {
                    (layout::table("Users", &["Id", "Email address", "Name", "State", "Created"], rows))
                }
                nav aria-label="Pages of users" {
                    @if offset > 0 { a href=(url("/users", 0)) { "First page" } " " }
                    @if found.len() > PAGE { a href=(url("/users", offset + PAGE)) { "Next page" } }
                }
            }
            h2 { "New user" }
            (form("/users", "Create user", None))
        },
    ))
}

/// A form for a new user, or for `user`.
fn form(action: &str, button: &str, user: Option<&Value>) -> Markup {
    let value = |name: &str| user.map(|user| layout::text(user, name)).unwrap_or_default();
    html! {
        form .fields method="post" action=(action) {
            @if user.is_none() { (layout::input("Id (optional)", "id", "", "user_ada")) }
            (layout::field("Email address", "email", html! {
                input #email type="email" name="email" required value=(user.map(email).unwrap_or_default()) autocomplete="off";
            }))
            (layout::input("First name", "first_name", value("first_name"), ""))
            (layout::input("Last name", "last_name", value("last_name"), ""))
            button { (button) }
        }
    }
}

async fn create(State(dashboard): Site, Form(details): Form<Details>) -> Result<Redirect, PageError> {
    let user = dashboard.backend(Method::POST, "/v1/users", Some(details.body())).await?;
    Ok(Redirect::to(&path(layout::text(&user, "id"))))
}

async fn update(
    State(dashboard): Site,
    Path(id): Path<String>,
    Form(details): Form<Details>,
) -> Result<Redirect, PageError> {
    dashboard.backend(Method::PATCH, &backend_path(&id), Some(details.body())).await?;
    Ok(Redirect::to(&path(&id)))
}

async fn act(
    State(dashboard): Site,
    Path(id): Path<String>,
    method: Method,
    action: &str,
) -> Result<Redirect, PageError> {
    dashboard.backend(method, &format!("{}{action}", backend_path(&id)), None).await?;
    Ok(Redirect::to(&path(&id)))
}

async fn delete(State(dashboard): Site, Path(id): Path<String>) -> Result<Redirect, PageError> {
    dashboard.backend(Method::DELETE, &backend_path(&id), None).await?;
    Ok(Redirect::to("/users"))
}

async fn sign_in(State(dashboard): Site, Path(id): Path<String>) -> Result<Redirect, PageError> {
    dashboard.backend(Method::POST, "/v1/sessions", Some(json!({ "user_id": id }))).await?;
    Ok(Redirect::to(&path(&id)))
}

async fn sign_out(State(dashboard): Site, Path((id, session)): Path<(String, String)>) -> Result<Redirect, PageError> {
    let session = layout::encoded(&session);
    dashboard.backend(Method::POST, &format!("/v1/sessions/{session}/end"), None).await?;
    Ok(Redirect::to(&path(&id)))
}

/// Opens the application, which signs this browser in with a ticket.
async fn open(State(dashboard): Site, Path(id): Path<String>) -> Result<Redirect, PageError> {
    let front_end = dashboard.running.application.as_ref();
    let front_end = front_end.ok_or_else(|| PageError::not_found("application. Start the stack without --api-only"))?;
    dashboard.backend(Method::GET, &backend_path(&id), None).await?;
    let ticket = dashboard.clerk.ticket(&id);
    Ok(Redirect::to(&format!("{front_end}/clerk/v1/tickets/{ticket}")))
}

async fn sessions(dashboard: &Dashboard, id: &str) -> Result<Vec<Value>, PageError> {
    let path = format!("/v1/sessions?user_id={}", layout::encoded(id));
    let sessions = dashboard.backend(Method::GET, &path, None).await?;
    Ok(sessions.as_array().cloned().unwrap_or_default())
}

fn is_active(session: &Value) -> bool {
    layout::text(session, "status") == "active"
}

/// The stored item of a user.
async fn stored_item(dashboard: &Dashboard, id: &str) -> Result<Option<Value>, PageError> {
    let request = json!({ "TableName": "UsersTable", "Key": { "userId": { "S": id } } });
    let stored = dashboard.database(Operation::GetItem, request).await?;
    Ok(stored.get("Item").filter(|item| !item.is_null()).map(plain))
}

/// The page of a user that Clerk does not have, as `error` says. The tables may still have the user.
async fn unknown(dashboard: &Dashboard, id: &str, error: PageError) -> Page {
    let Some(item) = stored_item(dashboard, id).await? else { return Err(error) };
    let PageError(_, sentence) = error;
    Ok(layout::page(
        id,
        "/users",
        html! {
            p .problem role="alert" { (sentence) }
            p { "The tables still have the user's data." }
            (layout::json("Stored item", &item))
            (elsewhere(id))
        },
    ))
}

/// Links to what a user has on other pages.
fn elsewhere(id: &str) -> Markup {
    html! {
        p {
            a href={ "/requests?user=" (layout::encoded(id)) } { "Requests of this user" } ", "
            a href={ "/data?user=" (layout::encoded(id)) } { "data of this user" }
        }
    }
}

async fn details(State(dashboard): Site, Path(id): Path<String>) -> Page {
    let user = match dashboard.backend(Method::GET, &backend_path(&id), None).await {
        Err(error @ PageError(StatusCode::NOT_FOUND, _)) => return unknown(&dashboard, &id, error).await,
        user => user?,
    };
    let sessions = sessions(&dashboard, &id).await?;
    let at = path(&id);
    let is_banned = user.get("banned") == Some(&Value::Bool(true));
    let rows = html! {
        @for session in &sessions {
            tr {
                td { (layout::text(session, "id")) }
                td { (layout::text(session, "status")) }
                td { (layout::time(layout::number(session, "created_at"))) }
                td {
                    @if is_active(session) {
                        form method="post" action={ (at) "/sessions/" (layout::encoded(layout::text(session, "id"))) "/end" } {
                            button { "Sign out" }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(
        &id,
        "/users",
        html! {
            div .actions {
                form method="post" action={ (at) "/open" } target="_blank" { button { "Open the application as this user" } }
                form method="post" action={ (at) "/token" } { button { "Get a token" } }
                @if is_banned {
                    form method="post" action={ (at) "/unban" } { button { "Unban" } }
                } @else {
                    (layout::confirmed(&format!("{at}/ban"), "Ban", "All sessions of the user end.", html! {}))
                }
                (layout::confirmed(
                    &format!("{at}/delete"), "Delete", "A deleted user does not come back under this id.", html! {}
                ))
            }
            h2 { "Details" }
            (form(&at, "Save", Some(&user)))
            h2 { "Sessions" }
            @if sessions.is_empty() { p { "No sessions." } } @else {
                (layout::table("Sessions", &["Id", "Status", "Opened", "Action"], rows))
            }
            form method="post" action={ (at) "/sessions" } { button disabled[is_banned] { "Sign in" } }
            h2 { "Profile" }
            (profile(&dashboard, &user).await?)
            (elsewhere(&id))
        },
    ))
}

/// The sources of a profile in the table of users: a prefix of the attributes, and the attribute with the version's time.
const SOURCES: [(&str, &str, &str); 3] =
    [("webhook", "", "clerkVersion"), ("token", "claimed", "claimedVersion"), ("user", "caller", "callerUpdatedAt")];

/// The profile as Clerk has it, as it is stored, and the source of each value.
async fn profile(dashboard: &Dashboard, user: &Value) -> Result<Markup, PageError> {
    let Some(item) = stored_item(dashboard, layout::text(user, "id")).await? else {
        return Ok(html! {
            p .warn { "No profile is stored: no webhook of this user has been applied yet." }
            p { a href="/webhooks?state=failed" { "Webhooks that are not delivered" } }
        });
    };
    let at = |name: &str| match item.get(name) {
        // A register's version begins with its time.
        Some(Value::String(version)) => version.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or_default(),
        Some(value) => value.as_u64().unwrap_or_default(),
        None => 0_u64,
    };
    // As the API reads it: the newer of Clerk's two sources, and what the user wrote only before Clerk has reported.
    let [(_, _, webhook), (_, _, token), _] = SOURCES;
    let winner = |name: &str| {
        let attribute = |prefix: &str| match prefix {
            "" => name.to_owned(),
            prefix => format!(
                "{prefix}{}{}",
                name.get(..1).unwrap_or_default().to_uppercase(),
                name.get(1..).unwrap_or_default()
            ),
        };
        let is_claimed = item.get(attribute("claimed")).is_some() && at(token) > at(webhook);
        let [webhook, token, user] = SOURCES;
        let (source, prefix, version) = if is_claimed {
            token
        } else if at(webhook.2) > 0 {
            webhook
        } else {
            user
        };
        (item.get(attribute(prefix)).and_then(Value::as_str).unwrap_or_default().to_owned(), source, at(version))
    };
    let clerk = [
        ("email", email(user)),
        ("firstName", layout::text(user, "first_name")),
        ("lastName", layout::text(user, "last_name")),
        ("imageUrl", layout::text(user, "image_url")),
    ];
    let members = clerk.map(|(name, in_clerk)| (name, in_clerk, winner(name)));
    // Only webhooks report it.
    let is = |name: &str| item.get(name).and_then(Value::as_bool);
    let stored = match (is("isActive"), is("banned")) {
        (Some(false), _) => "deleted",
        (_, Some(true)) => "banned",
        _ => "active",
    };
    let in_clerk = if user.get("banned") == Some(&Value::Bool(true)) { "banned" } else { "active" };
    let [(source, _, version), ..] = SOURCES;
    let state = ("state", in_clerk, (stored.to_owned(), source, at(version)));
    let rows = html! {
        @for (name, in_clerk, (stored, source, at)) in members.into_iter().chain([state]) {
            tr class=[(in_clerk != stored).then_some("differs")] {
                th scope="row" { (name) @if in_clerk != stored { " " span .warn { "differs" } } }
                td { (in_clerk) }
                td { (stored) }
                // Without a time, none of the sources has written it.
                td { @if at > 0 { (source) ", " (layout::time(at)) } @else { "-" } }
            }
        }
    };
    Ok(html! {
        (layout::table("Profile", &["Member", "In Clerk", "Stored", "Source, as of"], rows))
        details { summary { "The stored item" } (layout::json("Stored item", &item)) }
    })
}

/// A fresh token of an active session, or of a new one.
async fn token(State(dashboard): Site, Path(id): Path<String>) -> Page {
    let session = match sessions(&dashboard, &id).await?.into_iter().find(is_active) {
        Some(session) => session,
        None => dashboard.backend(Method::POST, "/v1/sessions", Some(json!({ "user_id": id }))).await?,
    };
    let path = format!("/v1/sessions/{}/tokens", layout::encoded(layout::text(&session, "id")));
    let created = dashboard.backend(Method::POST, &path, None).await?;
    let token = layout::text(&created, "jwt");
    let claims = token.split('.').nth(1).and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let rows = html! {
        @for (name, value) in claims.as_object().into_iter().flatten() {
            tr {
                th scope="row" { (name) }
                td { (value.as_str().map_or_else(|| value.to_string(), str::to_owned)) }
                td { @for (claim, meaning) in CLAIMS { @if claim == name { (meaning) } } }
            }
        }
    };
    Ok(layout::page(
        "Session token",
        "/users",
        html! {
            p { "A token of " a href=(self::path(&id)) { (id) } ". It is valid for a minute." }
            (layout::code("Token", token))
            h2 { "Try it" }
            (layout::code("Command", &format!("curl -s {}/profile -H 'Authorization: Bearer {token}'", dashboard.running.api)))
            h2 { "Claims" }
            (layout::table("Claims", &["Claim", "Value", "Meaning"], rows))
        },
    ))
}
