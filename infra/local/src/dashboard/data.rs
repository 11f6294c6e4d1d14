//! Data: the tables by user, the open connections, and the messages that were sent to them.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::{
    Form, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use dynoxide::DynoxideError;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use super::{Dashboard, Operation, Page, PageError, Site, layout};
use crate::template::Table;

/// The number of items on a page.
const PAGE: usize = 25;

pub(super) fn router() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/data", get(list))
        .route("/data/item", get(item).post(put))
        .route("/data/item/delete", post(delete))
}

/// A part of a table. Empty parameters select everything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    table: String,
    user: String,
    /// The key of the last item of the page before, in JSON.
    after: String,
}

fn url(table: &str, user: &str, after: Option<&Value>) -> String {
    let after = after.map(|after| format!("&after={}", layout::encoded(&after.to_string()))).unwrap_or_default();
    format!("/data?table={}&user={}{after}", layout::encoded(table), layout::encoded(user))
}

/// The attributes of a table's key.
fn key_attributes(table: &Table) -> Vec<&str> {
    let schema = table.create.get("KeySchema").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    schema.iter().map(|part| layout::text(part, "AttributeName")).collect()
}

/// The key of an item.
fn key_of(table: &Table, item: &Value) -> Value {
    let parts = key_attributes(table).into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone())));
    parts.collect::<Map<_, _>>().into()
}

fn find<'a>(dashboard: &'a Dashboard, name: &str) -> Result<&'a Table, PageError> {
    dashboard.tables.iter().find(|table| table.name == name).ok_or_else(|| PageError::not_found("such table"))
}

/// A value of DynamoDB without its types.
pub(super) fn plain(value: &Value) -> Value {
    let Some(members) = value.as_object() else { return value.clone() };
    let single = members.iter().next().filter(|_| members.len() == 1);
    match single.map(|(kind, content)| (kind.as_str(), content)) {
        Some(("S" | "BOOL", content)) => content.clone(),
        // One with more digits than a number of JSON stays a text.
        Some(("N", content)) => {
            let number = content.as_str().and_then(|number| number.parse::<Number>().ok());
            number.filter(|number| content == &number.to_string()).map_or_else(|| content.clone(), Value::Number)
        }
        Some(("NULL", _)) => Value::Null,
        Some(("L", Value::Array(items))) => items.iter().map(plain).collect(),
        Some(("M", Value::Object(members))) => of(members),
        _ => of(members),
    }
}

fn of(members: &Map<String, Value>) -> Value {
    members.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>().into()
}

async fn list(State(dashboard): Site, Query(Part { table, user, after }): Query<Part>) -> Page {
    let chosen = dashboard.tables.first().filter(|_| table.is_empty());
    let chosen = chosen.map_or_else(|| find(&dashboard, &table), Ok)?;
    let start = if after.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&after) };
    let start = start.map_err(|_| PageError::not_found("such page"))?;
    // One more than the page has, to know whether there is a next one.
    let mut request = json!({ "TableName": chosen.name, "Limit": PAGE + 1, "ExclusiveStartKey": start });
    let members = request.as_object_mut().ok_or_else(|| PageError::not_found("request"))?;
    let operation = if user.is_empty() {
        Operation::Scan
    } else {
        let names = key_attributes(chosen);
        members.insert("KeyConditionExpression".to_owned(), "#owner = :user".into());
        members.insert("ExpressionAttributeNames".to_owned(), json!({ "#owner": names.first() }));
        members.insert("ExpressionAttributeValues".to_owned(), json!({ ":user": { "S": user } }));
        Operation::Query
    };
    let (found, error) = match dashboard.database(operation, request).await {
        Ok(found) => (found, None),
        Err(error) => (Value::Null, Some(format!("{} cannot be read: {error:#}", chosen.name))),
    };
    let found_items = found.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let items = found_items.get(..PAGE).unwrap_or(found_items);
    let tables = dashboard.tables.iter().map(|table| (table.name.as_str(), table.name.as_str()));
    let next = match found.get("LastEvaluatedKey").filter(|key| !key.is_null()) {
        // The items together are larger than DynamoDB returns at once.
        Some(key) if found_items.len() <= PAGE => Some(key.clone()),
        _ if found_items.len() > PAGE => items.last().map(|last| key_of(chosen, last)),
        _ => None,
    };
    Ok(layout::page(
        "Data",
        "/data",
        html! {
            form .filters method="get" action="/data" {
                (layout::select("Table", "table", &chosen.name, tables))
                (layout::input("User", "user", &user, "all"))
                button { "Show" }
            }
            section {
                h2 { "Items of " (chosen.name) }
                @if let Some(error) = error { p .problem role="alert" { (error) } }
                @else if items.is_empty() { p { "No items." } }
                @for item in items { (summary(chosen, item)) }
                nav aria-label="Items" {
                    @if !after.is_empty() { a href=(url(&chosen.name, &user, None)) { "First page" } " " }
                    @if next.is_some() { a href=(url(&chosen.name, &user, next.as_ref())) { "Next page" } }
                }
            }
            (live(&dashboard).await?)
        },
    ))
}

fn item_url(table: &Table, item: &Value) -> String {
    let key = layout::encoded(&key_of(table, item).to_string());
    format!("/data/item?table={}&key={key}", layout::encoded(&table.name))
}

fn summary(table: &Table, item: &Value) -> Markup {
    let key = plain(&key_of(table, item));
    let key: Vec<_> =
        key.as_object().into_iter().flatten().map(|(_, part)| part.as_str().unwrap_or_default()).collect();
    html! {
        details .item {
            summary { code { (key.join(" / ")) } }
            (layout::json("Item", &plain(item)))
            p { a href=(item_url(table, item)) { "Edit or delete" } }
        }
    }
}

/// The open connections with their users, and the last messages.
async fn live(dashboard: &Dashboard) -> Result<Markup, PageError> {
    let rows = dashboard.database(Operation::Scan, json!({ "TableName": "LiveConnectionsTable" })).await;
    // A team can remove live updates, and with them the table.
    let rows = rows.map(|rows| rows.get("Items").cloned().unwrap_or_default()).unwrap_or_default();
    let items: Vec<_> = rows.as_array().into_iter().flatten().map(plain).collect();
    let user = |id: &str| {
        let row = items.iter().find(|row| layout::text(row, "connection").ends_with(id));
        row.map(|row| layout::text(row, "userId").to_owned()).unwrap_or_default()
    };
    let connections = html! {
        @for connection in dashboard.connections.open() {
            tr {
                td { code { (connection.id) } }
                td { (user(&connection.id)) }
                td { (layout::time(connection.connected_at)) }
                td { (layout::time(connection.last_active_at)) }
                td { (connection.user_agent) }
            }
        }
    };
    let messages = html! {
        @for message in dashboard.connections.sent() {
            tr {
                td { (layout::time(message.at)) }
                td { code { (message.connection) } }
                td { code { (message.text) } }
            }
        }
    };
    Ok(html! {
        div #live hx-get="/data" hx-trigger="every 2s" hx-select="#live" hx-swap="outerMorph" {
            h2 { "Open connections" }
            (layout::table("Open connections", &["Connection", "User", "Opened", "Last active", "Client"], connections))
            h2 { "Messages sent to connections" }
            (layout::table("Messages", &["Time", "Connection", "Message"], messages))
        }
    })
}

/// An item, by its key in DynamoDB's JSON.
#[derive(Deserialize)]
struct Keyed {
    table: String,
    key: String,
}

impl Keyed {
    fn key(&self) -> Result<Value, PageError> {
        serde_json::from_str(&self.key).map_err(|_| PageError::not_found("such item"))
    }
}

async fn item(State(dashboard): Site, Query(keyed): Query<Keyed>) -> Page {
    let table = find(&dashboard, &keyed.table)?;
    let request = json!({ "TableName": table.name, "Key": keyed.key()?, "ConsistentRead": true });
    let found = dashboard.database(Operation::GetItem, request).await?;
    let item = found.get("Item").filter(|item| !item.is_null()).ok_or_else(|| PageError::not_found("such item"))?;
    Ok(form(&Edited { keyed, before: item.to_string(), item: format!("{item:#}") }, None))
}

/// The form of an item, with the reason why an edit was not saved.
fn form(Edited { keyed, before, item }: &Edited, error: Option<&str>) -> Markup {
    let fields = html! {
        input type="hidden" name="table" value=(keyed.table);
        input type="hidden" name="key" value=(keyed.key);
    };
    layout::page(
        "Item",
        "/data",
        html! {
            @if let Some(error) = error { p .problem role="alert" { "Not saved: " (error) } }
            p { "Of " a href=(url(&keyed.table, "", None)) { (keyed.table) } ", with DynamoDB's types." }
            form .fields method="post" action="/data/item" {
                (fields)
                input type="hidden" name="before" value=(before);
                div .wide {
                    (layout::field("Item", "item", html! {
                        textarea #item name="item" rows="16" spellcheck="false" required { (item) }
                    }))
                }
                details .confirm {
                    summary { "Save" }
                    p { "The item is replaced without the API's checks. One that the functions cannot read delays the live updates of its table." }
                    button { "Yes, save" }
                }
            }
            (layout::confirmed("/data/item/delete", "Delete", "The item is removed without a tombstone.", fields))
        },
    )
}

#[derive(Deserialize)]
struct Edited {
    #[serde(flatten)]
    keyed: Keyed,
    /// The item that the form was made from.
    before: String,
    item: String,
}

async fn put(State(dashboard): Site, Form(edited): Form<Edited>) -> Response {
    match save(&dashboard, &edited).await {
        Ok(redirect) => redirect.into_response(),
        // What was written stays in the form.
        Err(PageError(status, error)) => (status, form(&edited, Some(&error))).into_response(),
    }
}

/// Replaces an item if it is still the one that the form was made from.
async fn save(dashboard: &Dashboard, Edited { keyed, before, item }: &Edited) -> Result<Redirect, PageError> {
    let table = find(dashboard, &keyed.table)?;
    let item: Value = serde_json::from_str(item).context("the item is not JSON").map_err(PageError::from)?;
    if key_of(table, &item) != keyed.key()? {
        // It would be another item, and this one would stay.
        let names = key_attributes(table).join(" and ");
        return Err(PageError::from(anyhow!("{names} are the key of the item, which cannot be changed.")));
    }
    let before: Map<String, Value> = serde_json::from_str(before).map_err(|_| PageError::not_found("such item"))?;
    let attributes = || before.iter().enumerate();
    let names: Map<_, _> =
        attributes().map(|(index, (name, _))| (format!("#n{index}"), name.as_str().into())).collect();
    let values: Map<_, _> = attributes().map(|(index, (_, value))| (format!(":v{index}"), value.clone())).collect();
    let condition: Vec<_> = attributes().map(|(index, _)| format!("#n{index} = :v{index}")).collect();
    let request = json!({
        "TableName": table.name, "Item": item, "ConditionExpression": condition.join(" AND "),
        "ExpressionAttributeNames": names, "ExpressionAttributeValues": values,
    });
    dashboard.database(Operation::PutItem, request).await.map_err(|error| match error.downcast_ref() {
        Some(DynoxideError::ConditionalCheckFailedException(..)) => {
            let sentence = "the item has changed or was deleted since this page was opened. Open it again.";
            PageError(StatusCode::CONFLICT, sentence.to_owned())
        }
        _ => error.into(),
    })?;
    Ok(Redirect::to(&item_url(table, &item)))
}

async fn delete(State(dashboard): Site, Form(keyed): Form<Keyed>) -> Result<Redirect, PageError> {
    let table = find(&dashboard, &keyed.table)?;
    dashboard.database(Operation::DeleteItem, json!({ "TableName": table.name, "Key": keyed.key()? })).await?;
    Ok(Redirect::to(&url(&table.name, "", None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_shown_without_types() {
        let item = json!({
            "userId": { "S": "user_ada" }, "version": { "N": "3" }, "isActive": { "BOOL": true }, "gone": { "NULL": true },
            "tags": { "L": [{ "S": "a" }, { "M": { "S": { "N": "1.5" } } }] }, "parts": { "SS": ["a"] },
            "large": { "N": "12345678901234567890123456789012345678" }, "exact": { "N": "0.1234567890123456789" },
        });
        let expected = json!({
            "userId": "user_ada", "version": 3, "isActive": true, "gone": null, "tags": ["a", { "S": 1.5 }],
            "parts": { "SS": ["a"] }, "large": "12345678901234567890123456789012345678", "exact": "0.1234567890123456789",
        });
        assert_eq!(plain(&item), expected);
    }
}
