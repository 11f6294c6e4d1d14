//! Restores a table beside the existing one, for `template.yaml`'s parameters of existing tables.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::{
    operation::restore_table_to_point_in_time::RestoreTableToPointInTimeError,
    primitives::{DateTime, DateTimeFormat},
    types::{
        PointInTimeRecoverySpecification, StreamSpecification, TableDescription, TableStatus, TimeToLiveSpecification,
    },
};
use clap::Args;
use erasure::{Tables, described};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;

/// The interval at which the table's status is read.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Restore {
    /// The table to restore: users, sessions, or the name of a resource, such as chats
    table: String,
    /// The time whose items the restored table has, in UTC, such as 2026-11-23T12:00:00Z
    #[arg(long, value_parser = |text: &str| DateTime::from_str(text, DateTimeFormat::DateTime))]
    at: DateTime,
    /// The restored table's name [default: the table's, with the time]. If the table exists, the command continues with it
    #[arg(long)]
    name: Option<String>,
}

impl Restore {
    /// Restores the items, and then sets what DynamoDB does not restore: the stream, expiry, recovery and protection. Every
    /// step can be repeated.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let resources = tables.resources.iter().chain([&tables.sessions]).map(|table| (&table.resource, &table.name));
        let users = "users".to_owned();
        let known: Vec<_> = resources.chain([(&users, &tables.users)]).collect();
        let source = known.iter().find(|(resource, _)| **resource == self.table).map(|(_, name)| (*name).clone());
        let source = source.with_context(|| {
            let known: Vec<_> = known.iter().map(|(resource, _)| resource.as_str()).collect();
            format!("the stack has no table of {}. It has those of {}", self.table, known.join(", "))
        })?;
        let target = self.name.unwrap_or_else(|| format!("{source}-{}", self.at.secs()));
        let client = &tables.client;

        let restore = client.restore_table_to_point_in_time().source_table_name(&source).target_table_name(&target);
        match restore.restore_date_time(self.at).send().await {
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(RestoreTableToPointInTimeError::TableAlreadyExistsException(_))
                ) => {}
            restored => drop(restored.map_err(described).context("the table cannot be restored")?),
        }
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} restoring for {elapsed}")?);
        active(tables, &target, &bar).await?;

        let expiry = client.describe_time_to_live().table_name(&source).send().await.map_err(described)?;
        let set = client.describe_time_to_live().table_name(&target).send().await.map_err(described)?;
        let attribute = |expiry: Option<aws_sdk_dynamodb::types::TimeToLiveDescription>| expiry?.attribute_name;
        let (expiry, set) = (attribute(expiry.time_to_live_description), attribute(set.time_to_live_description));
        if let Some(expiry) = expiry.filter(|_| set.is_none()) {
            let expiry = TimeToLiveSpecification::builder().attribute_name(expiry).enabled(true).build()?;
            let update = client.update_time_to_live().table_name(&target).time_to_live_specification(expiry);
            update.send().await.map_err(described).context("the items' expiry cannot be set")?;
        }
        let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build()?;
        let update = client.update_continuous_backups().table_name(&target);
        let update = update.point_in_time_recovery_specification(recovery).send().await;
        update.map_err(described).context("the recovery cannot be enabled")?;
        let update = client.update_table().table_name(&target).deletion_protection_enabled(true).send().await;
        update.map_err(described).context("the table cannot be protected")?;
        let stream = active(tables, &source, &bar).await?.stream_specification;
        let mut restored = active(tables, &target, &bar).await?;
        if restored.stream_specification.is_none_or(|stream| !stream.stream_enabled) {
            let view = stream.and_then(|stream| stream.stream_view_type);
            let stream = StreamSpecification::builder().stream_enabled(true).set_stream_view_type(view).build()?;
            let update = client.update_table().table_name(&target).stream_specification(stream).send().await;
            update.map_err(described).context("the stream cannot be enabled")?;
            restored = active(tables, &target, &bar).await?;
        }
        bar.finish_and_clear();
        let stream = restored.latest_stream_arn.context("the restored table has no stream")?;
        ensure!(restored.deletion_protection_enabled == Some(true), "the restored table is not protected");
        let mut resource = self.table.chars();
        let resource: String = resource.next().into_iter().flat_map(char::to_uppercase).chain(resource).collect();
        println!("Existing{resource}Table={stream}");
        Ok(())
    }
}

/// Waits until a table can be used and changed.
async fn active(tables: &Tables, name: &str, bar: &ProgressBar) -> Result<TableDescription> {
    loop {
        let described = tables.client.describe_table().table_name(name).send().await.map_err(described);
        let table = described.with_context(|| format!("{name} cannot be described"))?.table;
        if let Some(table) = table.filter(|table| table.table_status == Some(TableStatus::Active)) {
            return Ok(table);
        }
        bar.tick();
        sleep(INTERVAL).await;
    }
}
