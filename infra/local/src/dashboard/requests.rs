//! Requests: the functions' log lines, with filters.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::get,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Dashboard, Page, PageError, Site, layout};
use crate::logs::Line;

/// The documents that explain the codes.
const CODES: &str = include_str!("../../../../docs/api.md");
const GUIDE: &str = include_str!("../../../../docs/troubleshooting.md");
/// The largest number of lines on a page.
const SHOWN: usize = 100;

pub(super) fn router() -> Router<Arc<Dashboard>> {
    Router::new().route("/requests", get(list)).route("/requests/{id}", get(details))
}

/// The filters, which the URL has. Empty ones select everything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Filters {
    function: String,
    status: String,
    route: String,
    code: String,
    user: String,
}

impl Filters {
    fn select(&self, dashboard: &Dashboard, line: &Line) -> bool {
        let user = line.text("user");
        let is_users = || user == self.user || dashboard.clerk.user_with_tag(user).as_ref() == Some(&self.user);
        (self.function.is_empty() || line.text("function") == self.function)
            && (self.status.is_empty() || line.status().to_string().starts_with(self.status.trim_end_matches('x')))
            && (self.route.is_empty() || line.text("route") == self.route)
            && (self.code.is_empty() || line.text("code") == self.code)
            && (self.user.is_empty() || is_users())
    }
}

async fn list(State(dashboard): Site, Query(filters): Query<Filters>) -> Markup {
    let lines: Vec<_> = dashboard.logs.recent().into_iter().filter(Line::is_request).collect();
    let distinct = |member: &str| {
        let mut values: Vec<_> = lines.iter().map(|line| line.text(member).to_owned()).collect();
        values.retain(|value| !value.is_empty());
        values.sort();
        values.dedup();
        values
    };
    let statuses = ["2xx", "4xx", "5xx"].map(str::to_owned).into();
    let select = |label, name, chosen: &str, values: Vec<String>| {
        let values = values.iter().map(|value| (value.as_str(), value.as_str()));
        layout::select(label, name, chosen, [("", "all")].into_iter().chain(values))
    };
    let selected: Vec<_> = lines.iter().filter(|line| filters.select(&dashboard, line)).collect();
    let content = html! {
        form .filters method="get" action="/requests"
            hx-get="/requests" hx-trigger="change, input changed delay:300ms" hx-target="#requests" hx-select="#requests"
            hx-swap="outerHTML" hx-push-url="true"
        {
            (select("Function", "function", &filters.function, distinct("function")))
            (select("Status", "status", &filters.status, statuses))
            (select("Route", "route", &filters.route, distinct("route")))
            (select("Code", "code", &filters.code, distinct("code")))
            (layout::input("User", "user", &filters.user, "id or tag"))
            button { "Filter" }
        }
        (rows(&dashboard, &filters, &selected, if lines.is_empty() { "No requests yet." } else { "No requests match." }))
    };
    layout::page("Requests", "/requests", content)
}

/// The table, which is loaded again every two seconds, or the sentence `without` lines.
fn rows(dashboard: &Dashboard, filters: &Filters, lines: &[&Line], without: &str) -> Markup {
    let Filters { function, status, route, code, user } = filters;
    let parameters = [("function", function), ("status", status), ("route", route), ("code", code), ("user", user)];
    let parameters = parameters.map(|(name, filter)| format!("{name}={}", layout::encoded(filter)));
    let url = format!("/requests?{}", parameters.join("&"));
    let shown = lines.get(..SHOWN).unwrap_or(lines);
    let columns = [
        "Time", "Status", "Function", "Method", "Route", "Code", "User", "Duration", "DynamoDB", "Read", "Write",
        "Request",
    ];
    html! {
        // New values of the filters as well.
        div #requests .wrapping hx-get=(url) hx-trigger="every 2s" hx-select="#requests" hx-swap="outerMorph"
            hx-select-oob="#function:outerMorph,#route:outerMorph,#code:outerMorph"
        {
            @if lines.is_empty() { p { (without) } } @else {
                (layout::table("Requests", &columns, html! { @for line in shown { (row(dashboard, line)) } }))
                @if shown.len() < lines.len() { p { "The newest " (shown.len()) " of " (lines.len()) " requests. Filters find the others." } }
            }
        }
    }
}

fn row(dashboard: &Dashboard, line: &Line) -> Markup {
    let [id, tag, code] = ["request_id", "user", "code"].map(|name| line.text(name));
    html! {
        tr .linked id={ "r-" (id) } {
            td { a href={ "/requests/" (layout::encoded(id)) } { (layout::time(line.at)) } }
            td { (layout::status(line.status())) }
            td { (line.text("function")) }
            td { (line.text("method")) }
            td { (line.text("route")) }
            td { (code) }
            td { (dashboard.clerk.user_with_tag(tag).unwrap_or_else(|| tag.to_owned())) }
            td .number { (format!("{:.1} ms", line.number("duration_ms"))) }
            td .number .detail { (line.number("dynamodb_requests")) }
            td .number .detail { (line.number("read_units")) }
            td .number .detail { (line.number("write_units")) }
            td .detail { code { (id) } }
        }
    }
}

async fn details(State(dashboard): Site, Path(id): Path<String>) -> Page {
    let line = dashboard.logs.recent().into_iter().find(|line| line.text("request_id") == id);
    let line = line.ok_or_else(|| PageError::not_found("such request among the last ones"))?;
    let code = line.text("code");
    Ok(layout::page(
        "Request",
        "/requests",
        html! {
            p { (layout::time(line.at)) " " (line.text("method")) " " (line.text("route")) " " (layout::status(line.status())) }
            @if !code.is_empty() {
                h2 { "Code " code { (code) } }
                dl { @for (name, explanation) in explanations(code) { dt { (name) } dd { (layout::markdown(explanation)) } } }
                p { a href="/health" { "Run the checks of " code { "cargo dev doctor" } } }
            }
            h2 { "The whole line" }
            (layout::json("Log line", &line.members().clone().into()))
        },
    ))
}

/// The cells of the rows of a document's tables.
fn rows_of(document: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// What the documents say about a code: its meaning, what to do, and more on both if the troubleshooting guide has it.
fn explanations(code: &str) -> Vec<(&'static str, &'static str)> {
    let quoted = format!("`{code}`");
    let find = |document, column: usize| {
        let mut rows = rows_of(document).filter(|cells| cells.get(column).is_some_and(|cell| cell.contains(&quoted)));
        rows.next().unwrap_or_default().into_iter().skip(column + 1)
    };
    let more = ["Cause", "Fix"].into_iter().zip(find(GUIDE, 0));
    ["Meaning", "What to do"].into_iter().zip(find(CODES, 1)).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_explained_by_the_documents() {
        let names = |code| explanations(code).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("token_unauthorized_party"), ["Meaning", "What to do", "Cause", "Fix"]);
        assert_eq!(names("webhook_bad_signature"), ["Meaning", "What to do", "Cause", "Fix"]);
        assert_eq!(names("not_found"), ["Meaning", "What to do"]);
        assert!(names("unheard_of").is_empty());
        let codes = CODES.split_once("<!-- codes").expect("the list of codes").1;
        let codes: Vec<_> =
            rows_of(codes).filter_map(|cells| cells.get(1)?.strip_prefix('`')?.strip_suffix('`')).collect();
        assert!(codes.len() > 30, "{codes:?}");
        for code in codes {
            let incomplete = explanations(code).into_iter().find(|(_, explanation)| explanation.is_empty());
            assert!(names(code).starts_with(&["Meaning", "What to do"]) && incomplete.is_none(), "{code}");
        }
    }
}
