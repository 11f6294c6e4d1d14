//! All stored data of one user, as JSON.

use std::{
    collections::HashMap,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use erasure::{Table, Tables, described, string};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use store::Profile;
use tempfile::NamedTempFile;

#[derive(Args)]
pub(crate) struct Export {
    /// Clerk's id of the user
    #[arg(long)]
    user: String,
    /// The file to write [default: export-<user>.json]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Items in one page of a query
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..))]
    page: i32,
}

type Item = HashMap<String, AttributeValue>;

impl Export {
    /// Reads everything in one run, since data that an earlier run had read could have changed. Writes the output
    /// atomically.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let output = self.output.clone().unwrap_or_else(|| format!("export-{}.json", self.user).into());
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} items")?);
        let mut resources = Map::new();
        for table in &tables.resources {
            let items = self.resource(tables, table, &bar).await.with_context(|| table.resource.clone())?;
            resources.insert(table.resource.clone(), items.into());
        }
        bar.finish_and_clear();
        let account = self.account(tables).await?;
        let profile = account.clone().map(Profile::try_from).transpose()?;
        let stored: Option<Value> = account.map(serde_dynamo::from_item).transpose()?;
        let sessions = self.ended_sessions(tables).await?;
        if stored.is_none() && sessions.is_empty() && resources.values().all(|items| *items == json!([])) {
            bail!("no data of {} is stored", self.user);
        }
        let mut export = Map::new();
        export.insert("profile".to_owned(), json!(profile));
        export.insert("account".to_owned(), json!(stored));
        export.insert("endedSessions".to_owned(), sessions.into());
        for (name, items) in resources {
            ensure!(!export.contains_key(&name), "the resource {name} has the name of another member of exports");
            export.insert(name, items);
        }
        let count = |value: &Value| value.as_array().map_or(usize::from(!value.is_null()), Vec::len);
        let counts: Vec<_> = export.iter().map(|(name, value)| format!("{name}: {}", count(value))).collect();
        write(&output, &export.into()).with_context(|| format!("{} cannot be written", output.display()))?;
        println!("wrote {} ({})", output.display(), counts.join(", "));
        Ok(())
    }

    async fn resource(&self, tables: &Tables, table: &Table, bar: &ProgressBar) -> Result<Vec<Value>> {
        // Without tombstones, which have no content. Connections expire as well, but have no version.
        let filter = "attribute_not_exists(expiresAt) OR attribute_not_exists(version)";
        let query = table.items(&tables.client, &self.user).filter_expression(filter);
        let mut pages = query.into_paginator().page_size(self.page).items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(described).context("the items cannot be read")?;
            items.push(without_owner(item, table.sort_key.as_deref())?);
            bar.inc(1);
        }
        Ok(items)
    }

    async fn account(&self, tables: &Tables) -> Result<Option<Item>> {
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(&self.user));
        Ok(read.consistent_read(true).send().await.map_err(described).context("the account cannot be read")?.item)
    }

    async fn ended_sessions(&self, tables: &Tables) -> Result<Vec<Value>> {
        let items = tables.sessions.items(&tables.client, &self.user).into_paginator().items().send();
        let items = items.collect::<Result<Vec<_>, _>>().await.map_err(described);
        Ok(serde_dynamo::from_items(items.context("ended sessions cannot be read")?)?)
    }
}

/// An item without its owner, and with its sort key under the API's name for it.
fn without_owner(mut item: Item, sort_key: Option<&str>) -> Result<Value> {
    item.remove("userId");
    if let Some(id) = sort_key.and_then(|sort_key| item.remove(sort_key)) {
        item.insert("id".to_owned(), id);
    }
    Ok(serde_dynamo::from_item(item)?)
}

/// Writes a file atomically, which only its owner can read. Replaces a link in its place and does not follow it.
fn write(path: &Path, value: &Value) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::new(&mut file);
    serde_json::to_writer_pretty(&mut writer, value)?;
    writeln!(writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
