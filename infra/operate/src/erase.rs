//! Erases the data of people who were deleted a while ago. A bare tombstone stays: who is deleted stays deleted.

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

use crate::place::{Tables, described, string};

/// As many as `BatchWriteItem` takes.
const BATCH: usize = 25;
/// How often a batch that DynamoDB did not finish is sent again, and how long it is waited the first time.
const ATTEMPTS: u32 = 8;
const WAIT: Duration = Duration::from_millis(100);
/// A call that was let in just before the deletion was received may still write for as long as a function runs. This is
/// several times as long.
const SETTLED: Duration = Duration::from_mins(2);

#[derive(Args)]
pub(crate) struct Erase {
    /// Erase users whose deletion was received at least this many days ago, but never less than two minutes
    #[arg(long, env = "ERASE_AFTER_DAYS", default_value_t = 30)]
    days: u32,
    /// Erase only this user, whatever --days says, and again if the user was erased before
    // No `conflicts_with`: a value from the environment would conflict as well.
    #[arg(long)]
    user: Option<String>,
    /// Go through those as well who were erased before, as is due when a table was restored
    #[arg(long)]
    again: bool,
    /// Erase no more than this many people in this run
    #[arg(long)]
    limit: Option<u64>,
    /// Only say who would be erased
    #[arg(long)]
    dry_run: bool,
}

#[derive(Default)]
struct Erased {
    people: u64,
    items: u64,
}

impl Erase {
    /// Who is done is marked in the table, last of all: a run that was broken off leaves the rest to be found by the
    /// next.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let settled = now.saturating_sub(u64::try_from(SETTLED.as_millis())?);
        let due = match &self.user {
            Some(user) => {
                deleted(tables, user, settled).await?;
                settled
            }
            None => settled.min(now.saturating_sub(u64::from(self.days) * 24 * 60 * 60 * 1000)),
        };
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} people erased")?);
        let mut erased = Erased::default();
        let mut start = None;
        'pages: loop {
            let (people, next) = match &self.user {
                Some(user) => (vec![user.clone()], None),
                None => due_people(tables, due, self.again, start).await?,
            };
            for user in people {
                if self.limit.is_some_and(|limit| erased.people >= limit) {
                    break 'pages;
                }
                if self.dry_run {
                    println!("{user}");
                    erased.people += 1;
                    continue;
                }
                let items = erase(tables, &user, due, now).await;
                erased.items += items.with_context(|| format!("stopped at {user}; run it again to go on there"))?;
                erased.people += 1;
                bar.inc(1);
            }
            start = next;
            if start.is_none() {
                break;
            }
        }
        bar.finish_and_clear();
        if self.dry_run {
            println!("{} people would be erased", erased.people);
        } else {
            println!("{} people erased, with {} chats and ended sessions", erased.people, erased.items);
        }
        Ok(())
    }
}

type Key = HashMap<String, AttributeValue>;

/// Whether a deletion was received by `:due`. Earlier releases stored only when Clerk announced it.
const IS_DUE: &str = "(deletionReceivedAt <= :due OR (attribute_not_exists(deletionReceivedAt) AND deletedAt <= :due))";

/// A page of those whose deletion was received before `due` and are not erased yet, or whether or not with `again`, and where the
/// next page begins.
async fn due_people(tables: &Tables, due: u64, again: bool, start: Option<Key>) -> Result<(Vec<String>, Option<Key>)> {
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
    let people = page.items.unwrap_or_default().into_iter().filter_map(|item| item.get("userId")?.as_s().ok().cloned());
    Ok((people.collect(), page.last_evaluated_key))
}

/// Makes sure that a person is deleted, and that the deletion was received before `settled`.
async fn deleted(tables: &Tables, user: &str, settled: u64) -> Result<()> {
    let read = tables.client.get_item().table_name(&tables.users).key("userId", string(user)).consistent_read(true);
    let Some(item) = read.send().await.map_err(described).context("the account cannot be read")?.item else {
        bail!("there is no account {user}");
    };
    let received_at = item.get("deletionReceivedAt").or(item.get("deletedAt")).and_then(|at| at.as_n().ok());
    let Some(received_at) = received_at else {
        bail!("{user} is not deleted; delete the user in Clerk first, and erase when its webhook has landed");
    };
    if received_at.parse::<u64>()? > settled {
        bail!("{user} was deleted a moment ago, and requests may still be running. Try again in two minutes");
    }
    Ok(())
}

/// Erases one person: chats and ended sessions first, the account last. Says how many items went.
async fn erase(tables: &Tables, user: &str, due: u64, now: u64) -> Result<u64> {
    let chats = clear(tables, &tables.chats, "chatId", user).await?;
    let sessions = clear(tables, &tables.sessions, "sessionId", user).await?;
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
        Ok(_) => Ok(chats + sessions),
        // This was done before: by an earlier run, or by another one just now.
        Err(error) if matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) => {
            Ok(chats + sessions)
        }
        Err(error) => Err(described(error)),
    }
}

/// Deletes all of a person's items in a table.
async fn clear(tables: &Tables, table: &str, sort_key: &str, user: &str) -> Result<u64> {
    let keys = tables
        .client
        .query()
        .table_name(table)
        .projection_expression(format!("userId, {sort_key}"))
        .key_condition_expression("userId = :user")
        .expression_attribute_values(":user", string(user))
        .consistent_read(true)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<Key>, _>>()
        .await
        .map_err(described)?;
    for batch in keys.chunks(BATCH) {
        let requests = batch.iter().map(|key| {
            let delete = DeleteRequest::builder().set_key(Some(key.clone())).build()?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        delete(tables, table, requests.collect::<Result<_>>()?).await?;
    }
    Ok(keys.len() as u64)
}

/// Deletes a batch, and what DynamoDB leaves of it again.
async fn delete(tables: &Tables, table: &str, mut requests: Vec<WriteRequest>) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let answer = tables.client.batch_write_item().request_items(table, requests).send().await.map_err(described)?;
        requests = answer.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
        if requests.is_empty() {
            return Ok(());
        }
        sleep(WAIT * 2_u32.pow(attempt)).await;
    }
    bail!("DynamoDB is too busy to delete more just now")
}
