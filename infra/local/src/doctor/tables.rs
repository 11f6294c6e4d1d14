//! The tables, compared with the template.

use aws_sdk_dynamodb::types::TimeToLiveStatus;
use serde_json::{Value, json};

use super::Target;
use crate::template::Table;

pub(super) async fn check(target: &Target) -> Result<String, String> {
    for function in &target.functions {
        for (variable, table) in &function.tables {
            if let Some(named) = named_for(target, variable).filter(|named| named != table) {
                return Err(format!("{variable} of {} is {table} in the template, not {named}.", function.binary));
            }
        }
    }
    for (table, name) in &target.tables {
        let id = &table.name;
        let name = name.as_deref().ok_or_else(|| format!("The stack has no {id}."))?;
        compare(target, table, name).await.map_err(|difference| format!("{id}: {difference}."))?;
    }
    Ok(format!("All {} tables have the template's keys, indexes, expiry and streams.", target.tables.len()))
}

/// The table for which a variable is named, such as `ChatsTable` for `CHATS_TABLE`.
fn named_for<'a>(target: &'a Target, variable: &str) -> Option<&'a str> {
    let words = variable.replace('_', "");
    let ids = target.tables.iter().map(|(table, _)| table.name.as_str());
    ids.into_iter().find(|id| id.eq_ignore_ascii_case(&words))
}

async fn compare(target: &Target, table: &Table, name: &str) -> Result<(), String> {
    let described = target.database.describe_table().table_name(name).send().await;
    let described = described.map_err(|error| aws::describe(&error))?.table.ok_or("it cannot be described")?;
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
        return Err("its items expire by another attribute than the template's".to_owned());
    }
    Ok(())
}
