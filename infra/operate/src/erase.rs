//! Erases the data of users that were deleted some time ago, except for a bare tombstone: a deletion is permanent.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, DeleteRequest, WriteRequest},
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;

use crate::place::{Table, Tables, described, string};

/// The largest batch of `BatchWriteItem`.
const BATCH: usize = 25;
/// The number of attempts for a batch that DynamoDB processes only in part, and the delay after the first.
const ATTEMPTS: u32 = 8;
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// A request whose session was checked just before the deletion was received may still write for as long as a function
/// runs. This is several times as long.
const WRITES_IN_FLIGHT: Duration = Duration::from_mins(2);

#[derive(Args)]
pub(crate) struct Erase {
    /// Erase users whose deletion was received at least this many days ago, and at least two minutes ago
    #[arg(long, env = "ERASE_AFTER_DAYS", default_value_t = 30)]
    days: u32,
    /// Erase only this user, regardless of --days, and again if the user was erased before
    // No `conflicts_with`: a value from the environment would conflict as well.
    #[arg(long)]
    user: Option<String>,
    /// Also erase users again that were erased before, which is necessary after a table was restored
    #[arg(long)]
    again: bool,
    /// Erase at most this many users in this run
    #[arg(long)]
    limit: Option<u64>,
    /// Erase nothing, and print the users that would be erased
    #[arg(long)]
    dry_run: bool,
}

#[derive(Default)]
struct Erased {
    users: u64,
    items: u64,
}

impl Erase {
    /// A user is marked as erased only at the end, so a run after an interrupted one finds the rest.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let settled = now.saturating_sub(u64::try_from(WRITES_IN_FLIGHT.as_millis())?);
        let due = match &self.user {
            Some(user) => {
                check_deleted(tables, user, settled).await?;
                settled
            }
            None => settled.min(now.saturating_sub(u64::from(self.days) * 24 * 60 * 60 * 1000)),
        };
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} users erased")?);
        let mut erased = Erased::default();
        let mut start = None;
        'pages: loop {
            let (users, next) = match &self.user {
                Some(user) => (vec![user.clone()], None),
                None => due_users(tables, due, self.again, start).await?,
            };
            for user in users {
                if self.limit.is_some_and(|limit| erased.users >= limit) {
                    break 'pages;
                }
                if self.dry_run {
                    println!("{user}");
                    erased.users += 1;
                    continue;
                }
                let items = erase(tables, &user, due, now).await;
                erased.items += items.with_context(|| format!("stopped at {user}. Run it again to continue there"))?;
                erased.users += 1;
                bar.inc(1);
            }
            start = next;
            if start.is_none() {
                break;
            }
        }
        bar.finish_and_clear();
        if self.dry_run {
            println!("users that would be erased: {}", erased.users);
        } else {
            println!("erased users: {}, with items: {}", erased.users, erased.items);
        }
        Ok(())
    }
}

type Key = HashMap<String, AttributeValue>;

/// Whether a deletion was received by `:due`. Earlier releases stored only the time at which Clerk announced it.
const IS_DUE: &str = "(deletionReceivedAt <= :due OR (attribute_not_exists(deletionReceivedAt) AND deletedAt <= :due))";

/// A page of the users whose deletion was received before `due`, and the key at which the next page begins. Without
/// `again`, it omits users that were erased before.
async fn due_users(tables: &Tables, due: u64, again: bool, start: Option<Key>) -> Result<(Vec<String>, Option<Key>)> {
    let only_new = if again { "" } else { " AND attribute_not_exists(erasedAt)" };
    let page = tables
        .client
        .scan()
        .table_name(&tables.users)
        .projection_expression("userId")
        .filter_expression(format!("{IS_DUE}{only_new}"))
        .expression_attribute_values(":due", AttributeValue::N(due.to_string()))
        .set_exclusive_start_key(start)
        .send()
        .await
        .map_err(described)
        .context("accounts cannot be read")?;
    let users = page.items.unwrap_or_default().into_iter().filter_map(|item| item.get("userId")?.as_s().ok().cloned());
    Ok((users.collect(), page.last_evaluated_key))
}

/// Fails unless the user is deleted and the deletion was received before `settled`.
async fn check_deleted(tables: &Tables, user: &str, settled: u64) -> Result<()> {
    let read = tables.client.get_item().table_name(&tables.users).key("userId", string(user)).consistent_read(true);
    let Some(item) = read.send().await.map_err(described).context("the account cannot be read")?.item else {
        bail!("no account has the id {user}");
    };
    let received_at = item.get("deletionReceivedAt").or(item.get("deletedAt")).and_then(|at| at.as_n().ok());
    let Some(received_at) = received_at else {
        bail!("{user} is not deleted. Delete the user in Clerk first, and try again when the webhook has arrived");
    };
    if received_at.parse::<u64>()? > settled {
        bail!("{user} was deleted less than two minutes ago, and requests may still be running. Try again later");
    }
    Ok(())
}

/// Erases one user: the resources' items and the ended sessions first, the account last. Returns the number of items.
async fn erase(tables: &Tables, user: &str, due: u64, now: u64) -> Result<u64> {
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
        .item("erasedAt", AttributeValue::N(now.to_string()))
        .condition_expression(format!("{IS_DUE} AND attribute_not_exists(erasedAt)"))
        .expression_attribute_values(":due", AttributeValue::N(due.to_string()));
    match tombstone.send().await {
        Ok(_) => Ok(erased),
        // An earlier or concurrent run has done this.
        Err(error) if matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) => {
            Ok(erased)
        }
        Err(error) => Err(described(error)),
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
