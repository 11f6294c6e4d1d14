//! Erases the data of users that were deleted some time ago, except for a bare tombstone: a deletion is permanent.
//!
//! The operators' command and the scheduled function use it, each with its own permissions. It reaches every user's data,
//! so no function that serves requests depends on it.

mod tables;

use std::{
    collections::HashMap,
    ops::ControlFlow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, DeleteRequest, WriteRequest},
};
use tokio::time::sleep;

pub use tables::{DeployedStack, Table, Tables, described, string};

/// The largest batch of `BatchWriteItem`.
const BATCH: usize = 25;
/// The number of attempts for a batch that DynamoDB processes only in part, and the delay after the first.
const ATTEMPTS: u32 = 8;
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// A request whose session was checked just before the deletion was received may still write for as long as a function
/// runs. This is several times as long.
const WRITES_IN_FLIGHT: Duration = Duration::from_mins(2);

type Key = HashMap<String, AttributeValue>;

/// Whether a deletion was received by `:due`. Earlier releases stored only the time at which Clerk announced it.
const IS_DUE: &str = "(deletionReceivedAt <= :due OR (attribute_not_exists(deletionReceivedAt) AND deletedAt <= :due))";

/// An erasure of users whose deletion was received by some time. A user is marked as erased only at the end, so a run after
/// an interrupted one finds the rest.
#[derive(Clone, Copy, Debug)]
pub struct Erasure {
    now: u64,
    due: u64,
}

impl Erasure {
    /// Of users whose deletion was received at least `days` days and two minutes ago.
    pub fn after_days(days: u32) -> Result<Self> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let settled = now.saturating_sub(u64::try_from(WRITES_IN_FLIGHT.as_millis())?);
        Ok(Self { now, due: settled.min(now.saturating_sub(u64::from(days) * 24 * 60 * 60 * 1000)) })
    }

    /// Passes each user to erase to `visit`, until it breaks. With `again`, these include users that were erased before.
    pub async fn users(
        &self,
        tables: &Tables,
        again: bool,
        mut visit: impl AsyncFnMut(String) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        tables.check_complete()?;
        let only_new = if again { "" } else { " AND attribute_not_exists(erasedAt)" };
        let mut start = None;
        loop {
            let page = tables
                .client
                .scan()
                .table_name(&tables.users)
                .projection_expression("userId")
                .filter_expression(format!("{IS_DUE}{only_new}"))
                .expression_attribute_values(":due", AttributeValue::N(self.due.to_string()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(described)
                .context("accounts cannot be read")?;
            for item in page.items.unwrap_or_default() {
                if let Some(AttributeValue::S(user)) = item.get("userId")
                    && visit(user.clone()).await?.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Fails unless the user is deleted and the deletion is due.
    pub async fn check_due(&self, tables: &Tables, user: &str) -> Result<()> {
        tables.check_complete()?;
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(user)).consistent_read(true);
        let Some(item) = read.send().await.map_err(described).context("the account cannot be read")?.item else {
            bail!("no account has the id {user}");
        };
        let received_at = item.get("deletionReceivedAt").or(item.get("deletedAt")).and_then(|at| at.as_n().ok());
        let Some(received_at) = received_at else {
            bail!("{user} is not deleted. Delete the user in Clerk first, and try again when the webhook has arrived");
        };
        if received_at.parse::<u64>()? > self.due {
            bail!("{user} was deleted less than two minutes ago, and requests may still be running. Try again later");
        }
        Ok(())
    }

    /// Erases one user: the resources' items and the ended sessions first, the account last. Returns the number of items.
    ///
    /// It can be dropped at any time. A later run erases the rest.
    pub async fn erase(&self, tables: &Tables, user: &str) -> Result<u64> {
        let mut erased = 0;
        for table in tables.resources.iter().chain([&tables.sessions]) {
            erased += clear(tables, table, user).await?;
        }
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(user)).consistent_read(true);
        let mut kept = read.send().await.map_err(described)?.item.context("the account is gone")?;
        kept.retain(|name, _| ["userId", "isActive", "deletedAt", "deletionReceivedAt"].contains(&name.as_str()));
        let tombstone = tables
            .client
            .put_item()
            .table_name(&tables.users)
            .set_item(Some(kept))
            .item("erasedAt", AttributeValue::N(self.now.to_string()))
            .condition_expression(format!("{IS_DUE} AND attribute_not_exists(erasedAt)"))
            .expression_attribute_values(":due", AttributeValue::N(self.due.to_string()));
        match tombstone.send().await {
            Ok(_) => Ok(erased),
            // An earlier or concurrent run has done this.
            Err(error)
                if matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) =>
            {
                Ok(erased)
            }
            Err(error) => Err(described(error)),
        }
    }
}

/// Deletes all of a user's items in a table.
async fn clear(tables: &Tables, table: &Table, user: &str) -> Result<u64> {
    // A sort key can be one of DynamoDB's reserved words.
    let key = if table.sort_key.is_some() { "#owner, #sortKey" } else { "#owner" };
    let mut query = table.items(&tables.client, user).projection_expression(key);
    if let Some(sort_key) = &table.sort_key {
        query = query.expression_attribute_names("#sortKey", sort_key);
    }
    let keys = query.into_paginator().items().send().collect::<Result<Vec<Key>, _>>().await.map_err(described)?;
    for batch in keys.chunks(BATCH) {
        let requests = batch.iter().map(|key| {
            let delete = DeleteRequest::builder().set_key(Some(key.clone())).build()?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        delete(tables, &table.name, requests.collect::<Result<_>>()?).await?;
    }
    Ok(keys.len() as u64)
}

/// Deletes a batch. Retries the items that DynamoDB did not process.
async fn delete(tables: &Tables, table: &str, mut requests: Vec<WriteRequest>) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let answer = tables.client.batch_write_item().request_items(table, requests).send().await.map_err(described)?;
        requests = answer.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
        if requests.is_empty() {
            return Ok(());
        }
        sleep(RETRY_DELAY * 2_u32.pow(attempt)).await;
    }
    bail!("DynamoDB throttles the deletions. Try again later")
}
