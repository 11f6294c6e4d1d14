//! The tables, compared with the template.

use aws_sdk_dynamodb::types::TimeToLiveStatus;
use serde_json::{Value, json};

use super::Target;
use crate::template::Table;

/// A function's variable with the name of another table than the one for which it is named.
pub(super) fn misnamed(target: &Target) -> Option<String> {
    target.functions.iter().find_map(|function| {
        function.tables.iter().find_map(|(variable, table)| {
            let named = named_for(target, variable).filter(|named| named != table)?;
            Some(format!("{variable} of {} is {table}, not {named}.", function.binary))
        })
    })
}

pub(super) async fn check(target: &Target) -> Result<String, String> {
    let mut broken = Vec::new();
    for (table, name) in &target.tables {
        let compared = match name {
            Some(name) => compare(target, table, name).await,
            None => Err("it is missing".to_owned()),
        };
        broken.extend(compared.err().map(|difference| format!("{}: {difference}.", table.name)));
    }
    if !broken.is_empty() {
        return Err(broken.join(" "));
    }
    Ok(format!("All {} tables have the template's keys, indexes, expiry and streams.", target.tables.len()))
}

/// The table for which a variable is named, such as `ChatsTable` for `CHATS_TABLE`.
fn named_for<'a>(target: &'a Target, variable: &str) -> Option<&'a str> {
    let words = variable.replace('_', "").to_ascii_lowercase();
    let ids = target.tables.iter().map(|(table, _)| table.name.as_str());
    let is_end = |id: &&str| id.to_ascii_lowercase().ends_with(&words);
    // LiveConnectionsTable is in CONNECTIONS_TABLE.
    let mut found: Vec<_> = ids.filter(is_end).collect();
    found.sort_by_key(|id| id.len());
    found.first().copied()
}

async fn compare(target: &Target, table: &Table, name: &str) -> Result<(), String> {
    let described = target.database.describe_table().table_name(name).send().await;
    let described = described.map_err(|error| match error.as_service_error() {
        Some(error) if error.is_resource_not_found_exception() => "it is missing".to_owned(),
        _ => aws::describe(&error),
    })?;
    let described = described.table.ok_or("it cannot be described")?;
    let keys = |keys: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Value {
        keys.iter()
            .map(|key| json!({ "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str() }))
            .collect()
    };
    let declared = |pointer: &str| table.create.pointer(pointer).cloned().unwrap_or_default();
    if keys(described.key_schema()) != declared("/KeySchema") {
        return Err("its keys differ from the template's".to_owned());
    }
    let indexes: Vec<_> = described
        .local_secondary_indexes()
        .iter()
        .map(|index| (index.index_name().unwrap_or_default().to_owned(), keys(index.key_schema())))
        .collect();
    let expected = declared("/LocalSecondaryIndexes");
    let expected: Vec<_> = expected
        .as_array()
        .into_iter()
        .flatten()
        .map(|index| {
            let name = index.get("IndexName").and_then(Value::as_str).unwrap_or_default().to_owned();
            (name, index.get("KeySchema").cloned().unwrap_or_default())
        })
        .collect();
    if indexes != expected {
        return Err("its indexes differ from the template's".to_owned());
    }
    let stream = described.stream_specification().filter(|stream| stream.stream_enabled());
    let stream = stream.and_then(|stream| stream.stream_view_type()).map(|kind| kind.as_str().to_owned());
    if stream != table.stream_view_type {
        return Err("its stream differs from the template's".to_owned());
    }
    let expiry = target.database.describe_time_to_live().table_name(name).send().await;
    let expiry = expiry.map_err(|error| aws::describe(&error))?.time_to_live_description;
    let expiry = expiry.filter(|expiry| {
        [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling]
            .iter()
            .any(|status| expiry.time_to_live_status() == Some(status))
    });
    if expiry.and_then(|expiry| expiry.attribute_name) != table.ttl_attribute {
        return Err("its items do not expire as the template says".to_owned());
    }
    Ok(())
}
