//! Overview: what runs where, whether it works, counts, and the last problems.

use std::path::Path;

use anyhow::Result;
use axum::{extract::State, http::Method};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Dashboard, Operation, Page, Site, layout};
use crate::{
    doctor::{self, Check, Outcome},
    functions::workspace,
    logs::Line,
};

/// The largest number of problems on the page.
const PROBLEMS: usize = 8;

pub(super) async fn page(State(dashboard): Site) -> Page {
    let running = &dashboard.running;
    let users = dashboard.backend(Method::GET, "/v1/users/count", None).await?;
    let deliveries = dashboard.clerk.deliveries();
    let waiting = deliveries.iter().filter(|delivery| !delivery.is_delivered()).count();
    let mut counts = vec![
        ("/users".to_owned(), "users".to_owned(), layout::number(&users, "total_count")),
        ("/webhooks".to_owned(), "webhooks not delivered".to_owned(), waiting.try_into().unwrap_or_default()),
        (
            "/data".to_owned(),
            "open connections".to_owned(),
            dashboard.connections.open().len().try_into().unwrap_or_default(),
        ),
    ];
    let mut broken = Vec::new();
    for table in &dashboard.tables {
        let name = &table.name;
        match count(&dashboard, name).await {
            Ok(count) => counts.push((format!("/data?table={name}"), format!("items in {name}"), count)),
            Err(error) => broken.push(format!("{name} cannot be read: {error:#}")),
        }
    }
    let lines = dashboard.logs.recent();
    let problems = problems(&lines);
    let not_ready = dashboard.not_ready();
    let messages = dashboard.logs.messages();
    Ok(layout::page(
        "Overview",
        "/",
        html! {
            section {
                h2 { "What runs where" }
                dl {
                    @for (name, url) in running.parts() { dt { (name) } dd { code { (url) } } }
                    dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) @for version in versions() { ", " (version) } }
                }
            }
            section {
                h2 { "Health" }
                @for sentence in not_ready { p .problem role="alert" { (sentence) } }
                @if !messages.is_empty() {
                    p { "Messages of the compiler and of functions:" }
                    (layout::code("Messages", &messages))
                }
                div #health hx-get="/health" hx-trigger="load" hx-select="#checks" {
                    a href="/health" { "Run the checks of " code { "cargo dev doctor" } }
                }
            }
            section {
                h2 { "Counts" }
                ul .counts { @for (target, name, count) in counts { li { a href=(target) { b { (count) } " " (name) } } } }
                @for problem in broken { p .problem role="alert" { (problem) } }
            }
            section {
                h2 { "Last problems" }
                @if problems.is_empty() { p { "No problems since the start." } } @else {
                    (layout::table("Last problems", &["Last", "Count", "Status", "Problem", "Where"], problem_rows(&problems)))
                }
            }
            section {
                h2 { "Commands" }
                (layout::code("Commands", &running.commands))
            }
        },
    ))
}

/// The number of a table's items. One scan counts at most 1 MB.
async fn count(dashboard: &Dashboard, table: &str) -> Result<u64> {
    let (mut count, mut after) = (0, Value::Null);
    loop {
        let request = json!({ "TableName": table, "Select": "COUNT", "ExclusiveStartKey": after });
        let scanned = dashboard.database(Operation::Scan, request).await?;
        count += layout::number(&scanned, "Count");
        after = scanned.get("LastEvaluatedKey").cloned().unwrap_or_default();
        if after.is_null() {
            return Ok(count);
        }
    }
}

/// The newest line of each of the last problems, and how many are like it.
fn problems(lines: &[Line]) -> Vec<(&Line, usize)> {
    const SAME: [&str; 8] = ["message", "code", "cause", "error", "origin", "function", "method", "route"];
    let is_same = |one: &Line, other: &Line| SAME.iter().all(|member| one.text(member) == other.text(member));
    let mut problems: Vec<(&Line, usize)> = Vec::new();
    for line in lines.iter().filter(|line| line.is_problem()) {
        match problems.iter_mut().find(|(known, _)| is_same(known, line)) {
            Some((_, count)) => *count += 1,
            None => problems.push((line, 1)),
        }
    }
    problems.truncate(PROBLEMS);
    problems
}

fn problem_rows(problems: &[(&Line, usize)]) -> Markup {
    let function = |line: &Line| {
        let names = ["function", "target"].map(|name| line.text(name).to_owned());
        names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
    };
    html! {
        @for (line, count) in problems {
            tr {
                td { (layout::time(line.at)) }
                td .number { (count) }
                td { @if line.is_request() { (layout::status(line.status())) } @else { span .bad { (line.text("level")) } } }
                td {
                    @if line.is_request() { (line.text("code")) } @else { (line.text("message")) }
                    @for detail in ["cause", "error", "origin"] { " " (line.text(detail)) }
                }
                td {
                    @if line.is_request() {
                        a href={ "/requests/" (layout::encoded(line.text("request_id"))) } {
                            (line.text("method")) " " (line.text("route")) " of " (function(line))
                        }
                    } @else { (function(line)) }
                }
            }
        }
    }
}

/// The versions of the packages that the stack serves.
fn versions() -> Vec<String> {
    let packages = [".tools/clerk-browser/node_modules/@clerk/clerk-js", ".tools/clerk-browser/node_modules/@clerk/ui"];
    let version = |package: &str| -> Option<String> {
        let manifest = std::fs::read(workspace().join(package).join("package.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&manifest).ok()?;
        Some(format!("{} {}", Path::new(layout::text(&manifest, "name")).display(), layout::text(&manifest, "version")))
    };
    packages.into_iter().filter_map(version).collect()
}

/// The checks of `cargo dev doctor`.
pub(super) async fn health(State(dashboard): Site) -> Markup {
    let checks = doctor::local(&dashboard.now(), &dashboard.folder, Vec::new(), None).await;
    layout::page("Health", "/", list(&checks))
}

fn list(checks: &[Check]) -> Markup {
    html! {
        ul #checks .checks {
            @for Check { name, outcome, sentence, fix } in checks {
                @let (class, mark) = match outcome {
                    Outcome::Passed => ("good", "✓"),
                    Outcome::Failed => ("bad", "✗"),
                    Outcome::Skipped => ("warn", "-"),
                };
                li {
                    span class=(class) { (mark) " " (name) } " " (sentence)
                    @if let Some(fix) = fix { " Fix: " code { (fix) } }
                }
            }
        }
    }
}
