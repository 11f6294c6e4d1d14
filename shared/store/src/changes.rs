//! The changes in records of the tables' streams, by user (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>).

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Error, Profile,
    item::{self, Attributes},
    write::existing,
};

/// A change of a user's data: its name and version, without content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// [`Resource::PLURAL`](crate::Resource::PLURAL), or `profile`.
    pub of: String,
    /// The item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The item's parents, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// The item's version, or the profile's [`Profile::updated_at`]. `None` if the item was deleted.
    pub version: Option<u64>,
}

/// The changes of one user in a batch of stream records. Only [`Streams::read`] makes one, from records of the user's own
/// partition, so it permits access to that user's connections.
#[derive(Debug)]
pub struct UserChanges {
    user_id: String,
    /// The last change of each item and of the profile.
    pub changes: Vec<Change>,
    /// Whether there are changes that cannot be named.
    pub is_incomplete: bool,
    /// The sessions that ended.
    pub ended_sessions: HashSet<String>,
    /// The account was deleted or banned.
    pub account_ended: bool,
    /// When the last of these items was written, in milliseconds since the epoch.
    pub written_at: Option<u64>,
    /// The sequence numbers of the records.
    pub records: Vec<String>,
}

impl UserChanges {
    fn new(user_id: String) -> Self {
        Self {
            user_id,
            changes: Vec::new(),
            is_incomplete: false,
            ended_sessions: HashSet::new(),
            account_ended: false,
            written_at: None,
            records: Vec::new(),
        }
    }

    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Whether there is nothing to do for the user's connections.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.is_incomplete && self.ended_sessions.is_empty() && !self.account_ended
    }

    fn push(&mut self, change: Change) {
        self.changes
            .retain(|other| (&other.of, &other.id, &other.parents) != (&change.of, &change.id, &change.parents));
        self.changes.push(change);
    }
}

/// A batch of stream records, by user.
#[derive(Debug, Default)]
pub struct Batch {
    /// The users, in the order of their first records.
    pub users: Vec<UserChanges>,
    /// The sequence numbers of records that cannot be read.
    pub invalid: Vec<String>,
}

/// The event is not a batch of stream records. The message contains no part of it.
#[derive(Debug, thiserror::Error)]
#[error("the event is not a batch of stream records")]
pub struct InvalidBatch;

/// The streams of the tables of accounts, of ended sessions, and of any resource.
#[derive(Clone)]
pub struct Streams {
    users: String,
    sessions: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<&'a RawValue>,
}

/// The part of a record that is needed to report it as failed.
#[derive(Deserialize)]
struct Numbered {
    dynamodb: SequenceNumber,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumber {
    sequence_number: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: String,
    dynamodb: Images,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    keys: serde_dynamo::Item,
    new_image: Option<serde_dynamo::Item>,
    old_image: Option<serde_dynamo::Item>,
}

/// The keys of any table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    user_id: String,
    #[serde(flatten)]
    sort_key: HashMap<String, String>,
}

/// The attributes that are read of a resource's item.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    resource_type: Option<String>,
    version: u64,
    updated_at: Option<u64>,
}

impl Streams {
    /// The streams of the tables named `users` and `sessions`, and of every other table.
    pub fn new(users: String, sessions: String) -> Self {
        Self { users, sessions }
    }

    /// The changes in the records of `event`, by user.
    pub fn read(&self, event: &[u8]) -> Result<Batch, InvalidBatch> {
        let Event { records } = serde_json::from_slice(event).map_err(|_| InvalidBatch)?;
        let mut batch = Batch::default();
        let mut positions = HashMap::new();
        for record in records {
            let Numbered { dynamodb } = serde_json::from_str(record.get()).map_err(|_| InvalidBatch)?;
            let record = serde_json::from_str::<Record>(record.get()).map_err(|_| InvalidBatch);
            let keys = record.and_then(|record| {
                let keys: Keys = serde_dynamo::from_item(record.dynamodb.keys.clone()).map_err(|_| InvalidBatch)?;
                Ok((record, keys))
            });
            let Ok((record, keys)) = keys else {
                batch.invalid.push(dynamodb.sequence_number);
                continue;
            };
            let position = *positions.entry(keys.user_id.clone()).or_insert_with(|| {
                batch.users.push(UserChanges::new(keys.user_id.clone()));
                batch.users.len() - 1
            });
            let Some(user) = batch.users.get_mut(position) else { continue };
            match self.apply(user, record, keys) {
                Ok(()) => user.records.push(dynamodb.sequence_number),
                Err(_) => batch.invalid.push(dynamodb.sequence_number),
            }
        }
        Ok(batch)
    }

    fn apply(&self, user: &mut UserChanges, record: Record, keys: Keys) -> Result<(), Error> {
        // Items are removed only when they expire, or when an operator erases a deleted account.
        if record.event_name == "REMOVE" {
            return Ok(());
        }
        let table = record.event_source_arn.split('/').nth(1).unwrap_or_default();
        let Images { new_image, old_image, .. } = record.dynamodb;
        let missing = || Error::Internal("a stream record has no image".to_owned());
        if table == self.sessions {
            user.ended_sessions.extend(keys.sort_key.into_values());
        } else if table == self.users {
            let new = Profile::try_from(attributes(new_image.ok_or_else(missing)?))?;
            user.account_ended |= !new.is_active;
            let old = old_image.map(|image| Profile::try_from(attributes(image))).transpose()?;
            // Signing in writes the time of the user's last update, which alone is not shown.
            let is_shown = old.is_none_or(|old| Profile { updated_at: new.updated_at, ..old } != new);
            if is_shown {
                user.push(Change {
                    of: "profile".to_owned(),
                    id: None,
                    parents: Vec::new(),
                    version: Some(new.updated_at),
                });
            }
        } else {
            let image = attributes(new_image.ok_or_else(missing)?);
            let Written { resource_type, version, updated_at } = item::read_some(&image)?;
            let sort_key = keys.sort_key.into_values().next().unwrap_or_default();
            let mut parents: Vec<_> = sort_key.split('#').map(str::to_owned).collect();
            let id = parents.pop();
            let version = existing(Some(image)).map(|_| version);
            user.written_at = user.written_at.max(updated_at);
            match resource_type {
                Some(of) => user.push(Change { of, id, parents, version }),
                // Written by a release without this attribute.
                None => user.is_incomplete = true,
            }
        }
        Ok(())
    }
}

fn attributes(item: serde_dynamo::Item) -> Attributes {
    item.into()
}
