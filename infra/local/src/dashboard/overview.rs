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
    let problems: Vec<_> = lines.iter().filter(|line| !line.text("code").is_empty()).take(PROBLEMS).collect();
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
                // Not at once: the checks make requests, which the page would show.
                div #health {
                    a href="/health" hx-get="/health" hx-target="#health" hx-select="#checks" {
                        "Run the checks of " code { "cargo dev doctor" }
                    }
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
                    (layout::table("Last problems", &["Time", "Status", "Code", "Request"], problem_rows(&problems)))
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

fn problem_rows(lines: &[&Line]) -> Markup {
    html! {
        @for line in lines {
            tr {
                td { (layout::time(line.at)) }
                td { (layout::status(line.status())) }
                td { (line.text("code")) }
                td {
                    a href={ "/requests/" (layout::encoded(line.text("request_id"))) } {
                        (line.text("method")) " " (line.text("route")) " of " (line.text("function"))
                    }
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
