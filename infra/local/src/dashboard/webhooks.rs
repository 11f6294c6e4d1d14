//! Webhooks: the development Clerk's deliveries, and events that a developer writes and signs.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::Method,
    response::Redirect,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dashboard, Page, PageError, Site, layout};
use crate::clerk::{Attempt, Delivery, Signature, new_id, now_ms};

pub(super) fn router() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/webhooks", get(list))
        .route("/webhooks/send", get(compose).post(send))
        .route("/webhooks/{id}", get(details))
        .route("/webhooks/{id}/resend", post(resend))
}

/// The largest number of deliveries on the page.
const SHOWN: usize = 100;

/// The types of the catalog's events.
const CATALOG: [&str; 8] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.created",
    "session.ended",
    "session.removed",
    "session.revoked",
    "organization.created",
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Filters {
    state: String,
}

impl Filters {
    const STATES: [(&str, &str); 3] = [("", "all"), ("delivered", "delivered"), ("failed", "not delivered")];

    fn select(&self, delivery: &Delivery) -> bool {
        self.state.is_empty() || delivery.is_delivered() == (self.state == "delivered")
    }
}

async fn list(State(dashboard): Site, Query(filters): Query<Filters>) -> Markup {
    let mut deliveries = dashboard.clerk.deliveries();
    deliveries.retain(|delivery| filters.select(delivery));
    let shown = deliveries.get(..SHOWN).unwrap_or(&deliveries);
    let rows = html! {
        @for delivery in shown {
            @let last = delivery.attempts().pop();
            tr {
                td { (layout::time(delivery.created_at())) }
                td { a href={ "/webhooks/" (layout::encoded(delivery.id())) } { (delivery.kind()) } }
                td { @if delivery.is_delivered() { span .good { "delivered" } } @else { span .bad { "not delivered" } } }
                td .number { (delivery.count()) }
                td { @if let Some(last) = &last { (outcome(last)) } }
                td .number { @if let Some(last) = &last { (last.duration_ms) " ms" } }
            }
        }
    };
    layout::page(
        "Webhooks",
        "/webhooks",
        html! {
            p { "Sent to " code { (dashboard.running.webhook) } ". " a href="/webhooks/send" { "Send an event of your own" } }
            form .filters method="get" action="/webhooks" hx-get="/webhooks" hx-trigger="change" hx-target="#deliveries"
                hx-select="#deliveries" hx-swap="outerHTML" hx-push-url="true"
            {
                (layout::select("State", "state", &filters.state, Filters::STATES))
                button { "Filter" }
            }
            div #deliveries hx-get={ "/webhooks?state=" (layout::encoded(&filters.state)) } hx-trigger="every 2s"
                hx-select="#deliveries" hx-swap="outerMorph"
            {
                @if deliveries.is_empty() { p { "No webhooks since the start." } } @else {
                    (layout::table("Deliveries", &["Time", "Event", "State", "Attempts", "Last response", "Duration"], rows))
                    @if shown.len() < deliveries.len() { p { "The newest " (shown.len()) " of " (deliveries.len()) " webhooks." } }
                }
            }
        },
    )
}

/// The status of a response with the event's outcome, or the error.
fn outcome(attempt: &Attempt) -> Markup {
    html! {
        @match attempt.status { Some(status) => { (layout::status(status)) } None => { span .bad { "no response" } } }
        @if let Some(outcome) = &attempt.outcome { " " (outcome) }
    }
}

fn find(dashboard: &Dashboard, id: &str) -> Result<Delivery, PageError> {
    let deliveries = dashboard.clerk.deliveries();
    deliveries.into_iter().find(|delivery| delivery.id() == id).ok_or_else(|| PageError::not_found("such webhook"))
}

async fn details(State(dashboard): Site, Path(id): Path<String>) -> Page {
    let delivery = find(&dashboard, &id)?;
    let body: Value = serde_json::from_str(delivery.body()).unwrap_or_default();
    // Ids begin with the time.
    let is_older = dashboard.clerk.deliveries().iter().any(|other| {
        let other_body: Value = serde_json::from_str(other.body()).unwrap_or_default();
        other.id() > delivery.id() && other_body.pointer("/data/id") == body.pointer("/data/id")
    });
    let rows = html! {
        @for attempt in delivery.attempts().iter().rev() {
            tr {
                td { (layout::time(attempt.at)) }
                td { (outcome(attempt)) }
                td .number { (attempt.duration_ms) " ms" }
                td { code { (attempt.response) } }
            }
        }
    };
    Ok(layout::page(
        delivery.kind(),
        "/webhooks",
        html! {
            p { code { (id) } }
            form .actions method="post" action={ "/webhooks/" (layout::encoded(&id)) "/resend" } {
                button name="times" value="1" { "Resend" }
                button name="times" value="2" { "Send twice" }
            }
            @if is_older {
                p { "A newer event is about the same " (if delivery.kind().starts_with("session.") { "session" } else { "user" }) ". Sent again, this one arrives out of order." }
            }
            h2 { "Attempts" }
            div #attempts hx-get={ "/webhooks/" (layout::encoded(&id)) } hx-trigger="every 2s"
                hx-select="#attempts" hx-swap="outerMorph"
            {
                (layout::table("Attempts", &["Time", "Status", "Duration", "Response"], rows))
            }
            h2 { "Body" }
            (layout::json("Body", &body))
        },
    ))
}

#[derive(Deserialize)]
struct Resend {
    times: u8,
}

async fn resend(
    State(dashboard): Site,
    Path(id): Path<String>,
    Form(Resend { times }): Form<Resend>,
) -> Result<Redirect, PageError> {
    let delivery = find(&dashboard, &id)?;
    for _ in 0..times {
        dashboard.clerk.resend(&delivery).await;
    }
    Ok(Redirect::to(&format!("/webhooks/{}", layout::encoded(&id))))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    kind: String,
    user: String,
}

/// A sample event of a type, about the newest user.
async fn sample(dashboard: &Dashboard, kind: &str, user: &str) -> Result<Value, PageError> {
    let known = if user.is_empty() {
        dashboard.backend(Method::GET, "/v1/users?limit=1", None).await?.get(0).cloned()
    } else {
        // It may be deleted.
        dashboard.backend(Method::GET, &format!("/v1/users/{}", layout::encoded(user)), None).await.ok()
    };
    let id = known.as_ref().map_or(if user.is_empty() { "user_ada" } else { user }, |user| layout::text(user, "id"));
    let now = now_ms();
    let data = match kind {
        "user.deleted" => json!({ "id": id, "object": "user", "deleted": true }),
        "organization.created" => json!({ "id": new_id("org"), "object": "organization", "name": "Acme" }),
        kind if kind.starts_with("session.") => {
            let status =
                kind.split_once('.').map_or("", |(_, status)| if status == "created" { "active" } else { status });
            let sessions = format!("/v1/sessions?user_id={}", layout::encoded(id));
            let sessions = dashboard.backend(Method::GET, &sessions, None).await?;
            let session = sessions.get(0).filter(|_| status != "active").map(|session| layout::text(session, "id"));
            json!({
                "id": session.map_or_else(|| new_id("sess"), str::to_owned), "object": "session", "user_id": id,
                "status": status, "created_at": now, "updated_at": now,
            })
        }
        _ if known.is_some() => known.unwrap_or_default(),
        _ => json!({
            "id": id, "object": "user", "first_name": "Ada", "last_name": "Lovelace", "image_url": null, "banned": false,
            "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.com" }],
            "created_at": now, "updated_at": now,
        }),
    };
    Ok(json!({
        "type": kind, "object": "event", "timestamp": now, "instance_id": dashboard.clerk.instance_id(), "data": data,
    }))
}

async fn compose(State(dashboard): Site, Query(Choice { kind, user }): Query<Choice>) -> Page {
    let kind = CATALOG.into_iter().find(|known| *known == kind).unwrap_or("user.updated");
    let sample = sample(&dashboard, kind, &user).await?;
    let path = dashboard.running.webhook.strip_prefix(&dashboard.running.api).unwrap_or("/");
    let choice = Choice { kind: kind.to_owned(), user };
    let event = Event { path: path.to_owned(), body: format!("{sample:#}"), signature: Signature::Valid, choice };
    Ok(layout::page("Send an event", "/webhooks", form(&event, None)))
}

fn form(event: &Event, response: Option<&Attempt>) -> Markup {
    let Choice { kind, user } = &event.choice;
    html! {
        @if let Some(attempt) = response {
            div role="status" { "Response: " (outcome(attempt)) " after " (attempt.duration_ms) " ms" }
            (layout::code("Body of the response", &attempt.response))
        }
        form .filters method="get" action="/webhooks/send" {
            (layout::select("Sample", "kind", kind, CATALOG.map(|known| (known, known))))
            (layout::input("User", "user", user, "the newest"))
            button { "Use this sample" }
        }
        form .fields method="post" action="/webhooks/send" {
            input type="hidden" name="kind" value=(kind);
            input type="hidden" name="user" value=(user);
            (layout::field("Path on the API's port", "path", html! {
                input #path name="path" required pattern="/.*" value=(event.path);
            }))
            (layout::select("Signature", "signature", event.signature.value(), Signature::NAMES))
            div .wide {
                (layout::field("Event", "body", html! {
                    textarea #body name="body" rows="16" spellcheck="false" required { (event.body) }
                }))
            }
            button { "Send" }
        }
    }
}

/// An event to send.
#[derive(Deserialize)]
struct Event {
    path: String,
    body: String,
    signature: Signature,
    /// The sample that it was made from.
    #[serde(flatten)]
    choice: Choice,
}

async fn send(State(dashboard): Site, Form(event): Form<Event>) -> Page {
    if !event.path.starts_with('/') {
        return Err(PageError::not_found("path without a slash at its begin"));
    }
    // A browser sends line breaks as two characters.
    let body = event.body.replace("\r\n", "\n");
    let url = format!("{}{}", dashboard.running.api, event.path);
    let attempt = dashboard.clerk.send_own(&url, &body, event.signature).await;
    Ok(layout::page("Send an event", "/webhooks", form(&event, Some(&attempt))))
}
