//! Items that a user creates, changes and deletes, by writes that take effect at most once however often the SDK sends
//! them.
//!
//! An item keeps the ids of its last four writes, newest first, in `write1` to `write4`. A write is conditional on its
//! own id not being among them. So an attempt that arrives after another attempt of the same write changes nothing,
//! whatever else was written in between: up to three writes. The fourth pushes the id out.
//!
//! Every write names the item's resource in `resourceType`, for readers of the table's stream.
//!
//! A deletion leaves a tombstone: the version and these ids, no position and no content. It expires by the table's TTL. A
//! creation over a tombstone continues version and ids, so an entity tag of the deleted item does not match the new one.
//! An item exists if it has a position. The index that lists are read from holds only such items.

use std::{collections::HashSet, fmt};

use aws_lc_rs::digest;
use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Id,
    item::{self, Attributes, ConditionFailure, WriteId, conditional, now, number, string},
    resource,
};

/// How long a tombstone stays, in seconds.
const TOMBSTONE_TTL: u64 = 30 * 24 * 60 * 60;

/// The condition under which an item is changed (RFC 9110, section 13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It exists.
    Exists,
    /// It is at one of these versions.
    VersionIn(Vec<u64>),
}

/// The place of an item in its user's list, by the server's clock. Positions sort as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// When the item was created, in milliseconds since the epoch.
    pub(crate) created_at: u64,
    pub(crate) id: Id,
}

impl Position {
    /// The latest time that 15 digits can hold, 30,000 years ahead.
    pub(crate) const MAX_CREATED_AT: u64 = 999_999_999_999_999;
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:015}#{}", self.created_at, self.id)
    }
}

/// The outcome of a write.
pub(crate) enum Outcome {
    /// It took effect, by this attempt or an earlier one.
    Applied {
        /// The version that it produced.
        version: u64,
        /// The item's current state, unless it has been deleted since. Later writes may have changed it.
        item: Option<Attributes>,
    },
    /// The condition does not hold. This is the item, if it exists.
    ConditionFailed(Option<Attributes>),
}

/// The assignments that add the id of a write to an item's last four. `:write` is the id, `:none` an empty string.
pub(crate) const SHIFT_WRITE_IDS: &str = "write1 = :write, write2 = if_not_exists(write1, :none), \
                                   write3 = if_not_exists(write2, :none), write4 = if_not_exists(write3, :none)";

/// The condition that the item does not have the write's id yet. A comparison with a missing attribute is false.
pub(crate) const IS_NEW_WRITE: &str = "NOT (write1 = :write OR write2 = :write OR write3 = :write OR write4 = :write)";

/// The ids of an item's last writes.
#[derive(Deserialize)]
struct Writes {
    #[serde(default)]
    write1: String,
    #[serde(default)]
    write2: String,
    #[serde(default)]
    write3: String,
    #[serde(default)]
    write4: String,
}

/// The number of writes after `id`, if the item has it.
pub(crate) fn later_writes(item: &Attributes, id: &WriteId) -> Result<Option<u64>, Error> {
    let Writes { write1, write2, write3, write4 } = item::read_some(item)?;
    let id = String::from(id);
    Ok((0..).zip([write1, write2, write3, write4]).find_map(|(later, write)| (write == id).then_some(later)))
}

/// The version attributes of an item.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WriteMetadata {
    version: u64,
    /// The version of its creation, unless this is a tombstone.
    first_version: Option<u64>,
}

/// The item, unless it is a tombstone.
pub(crate) fn existing(item: Option<Attributes>) -> Option<Attributes> {
    item.filter(|item| item.contains_key("listPosition"))
}

/// Identifies the content that an item is created with, so that a creation that the client retries is recognized.
///
/// Members that are null, false, 0 or empty are skipped, unless they are a `Some`. So a member that a release adds with
/// such a default does not change the fingerprints of creations that the release before it handled.
pub(crate) fn fingerprint(id: Id, content: &impl Serialize) -> Result<String, Error> {
    let internal = |error: serde_json::Error| Error::Internal(error.to_string());
    let is_some = |value: &serde_content::Value<'_>| matches!(value, serde_content::Value::Option(Some(_)));
    let fields = resource::fields(content)?;
    let given: HashSet<_> = fields.iter().filter(|(_, value)| is_some(value)).map(|(name, _)| name.as_ref()).collect();
    let mut content = serde_json::to_value(content).map_err(internal)?;
    if let Some(members) = content.as_object_mut() {
        members.retain(|name, value| given.contains(name.as_str()) || !is_empty(value));
    }
    let content = serde_json::to_vec(&(id, content)).map_err(internal)?;
    let digest = digest::digest(&digest::SHA256, &content);
    // Half of it is enough, since it distinguishes only creations of one id.
    Ok(BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Creates an item unless it exists. `update` has the table, the key, the value `:resourceType`, and the names and values
/// of `assignments`.
pub(crate) async fn create(update: UpdateItemFluentBuilder, assignments: &str) -> Result<Outcome, Error> {
    let assignments = format!("{assignments}, firstVersion = if_not_exists(version, :zero) + :one");
    let condition = "attribute_not_exists(listPosition)".to_owned();
    send(update, (condition, Vec::new()), &assignments, &["expiresAt".to_owned()]).await
}

/// Changes an item. `update` has the table, the key, the value `:resourceType`, and the names and values of `assignments`
/// and `removals`.
pub(crate) async fn update(
    update: UpdateItemFluentBuilder,
    precondition: &Precondition,
    assignments: &str,
    removals: &[String],
) -> Result<Outcome, Error> {
    send(update, precondition.expression(), assignments, removals).await
}

/// Deletes an item whose content is the attributes `content`. `update` has the table, the key, the value `:resourceType`,
/// and the names of `content`.
pub(crate) async fn delete(
    update: UpdateItemFluentBuilder,
    precondition: &Precondition,
    content: &[String],
) -> Result<Outcome, Error> {
    let update = update.expression_attribute_values(":expiresAt", number(now() / 1000 + TOMBSTONE_TTL));
    let removals = [content, &["listPosition", "firstVersion"].map(str::to_owned)].concat();
    send(update, precondition.expression(), "expiresAt = :expiresAt", &removals).await
}

async fn send(
    mut update: UpdateItemFluentBuilder,
    (condition, versions): (String, Vec<(String, u64)>),
    assignments: &str,
    removals: &[String],
) -> Result<Outcome, Error> {
    let id = WriteId::new();
    for (name, version) in versions {
        update = update.expression_attribute_values(name, number(version));
    }
    let remove = if removals.is_empty() { String::new() } else { format!(" REMOVE {}", removals.join(", ")) };
    let update = update
        .update_expression(format!(
            "SET {assignments}, resourceType = :resourceType, version = if_not_exists(version, :zero) + :one, \
             {SHIFT_WRITE_IDS}{remove}"
        ))
        .condition_expression(format!("{condition} AND {IS_NEW_WRITE}"))
        .expression_attribute_values(":write", string(&id))
        .expression_attribute_values(":none", string(""))
        .expression_attribute_values(":zero", number(0))
        .expression_attribute_values(":one", number(1))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let item = match conditional(update.send().await)? {
        Ok(item) | Err(ConditionFailure { item: Some(item) }) => item,
        Err(ConditionFailure { item: None }) => return Ok(Outcome::ConditionFailed(None)),
    };
    Ok(match later_writes(&item, &id)? {
        Some(later) => {
            let WriteMetadata { version, first_version } = item::read_some(&item)?;
            // Each write adds one to the version.
            let version = version.saturating_sub(later);
            // An item that was created again after a deletion is a different one.
            let item = existing(Some(item)).filter(|_| first_version.is_some_and(|first| first <= version));
            Outcome::Applied { version, item }
        }
        None => Outcome::ConditionFailed(existing(Some(item))),
    })
}

impl Precondition {
    /// A condition expression, and the versions that it names.
    fn expression(&self) -> (String, Vec<(String, u64)>) {
        const EXISTS: &str = "attribute_exists(listPosition)";
        match self {
            Self::Exists => (EXISTS.to_owned(), Vec::new()),
            Self::VersionIn(versions) => {
                // Versions begin at 1, so no item meets a precondition of 0.
                let versions = if versions.is_empty() { &[0][..] } else { versions };
                let names: Vec<String> = (0..versions.len()).map(|index| format!(":version{index}")).collect();
                let condition = format!("{EXISTS} AND version IN ({})", names.join(", "));
                (condition, names.into_iter().zip(versions.iter().copied()).collect())
            }
        }
    }
}
