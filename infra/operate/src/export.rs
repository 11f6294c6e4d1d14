//! All that is stored of one person, as JSON.

use std::{
    collections::HashMap,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use store::{Chat, Profile};
use tempfile::NamedTempFile;

use crate::place::{Tables, described, string};

#[derive(Args)]
pub(crate) struct Export {
    /// Clerk's id of the user
    #[arg(long)]
    user: String,
    /// The file to write [default: export-<user>.json]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Chats asked for at a time
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..))]
    page: i32,
}

impl Export {
    /// All is read in one run: what an earlier run had read could have been deleted or changed since. The output appears
    /// whole or not at all.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let output = self.output.clone().unwrap_or_else(|| format!("export-{}.json", self.user).into());
        let chats = self.chats(tables).await?;
        let account = self.account(tables).await?;
        let profile = account.clone().map(Profile::try_from).transpose()?;
        let stored: Option<Value> = account.map(serde_dynamo::from_item).transpose()?;
        let sessions = self.ended_sessions(tables).await?;
        if stored.is_none() && chats.is_empty() && sessions.is_empty() {
            bail!("nothing is stored of {}", self.user);
        }
        let count = chats.len();
        let export = json!({ "profile": profile, "account": stored, "chats": chats, "endedSessions": sessions });
        write_whole(&output, &export).with_context(|| format!("{} cannot be written", output.display()))?;
        let profile = if profile.is_some() { "A profile" } else { "No profile" };
        println!("{profile} and {count} chats are in {}", output.display());
        Ok(())
    }

    async fn chats(&self, tables: &Tables) -> Result<Vec<Value>> {
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} chats")?);
        let query = tables
            .client
            .query()
            .table_name(&tables.chats)
            .key_condition_expression("userId = :user")
            // What a deleted chat leaves has no content.
            .filter_expression("attribute_not_exists(expiresAt)")
            .expression_attribute_values(":user", string(&self.user))
            .consistent_read(true);
        let mut items = query.into_paginator().page_size(self.page).items().send();
        let mut chats = Vec::new();
        while let Some(item) = items.next().await {
            chats.push(chat(item.map_err(described).context("chats cannot be read")?)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(chats)
    }

    async fn account(&self, tables: &Tables) -> Result<Option<HashMap<String, AttributeValue>>> {
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(&self.user));
        Ok(read.consistent_read(true).send().await.map_err(described).context("the account cannot be read")?.item)
    }

    async fn ended_sessions(&self, tables: &Tables) -> Result<Vec<Value>> {
        let query = tables
            .client
            .query()
            .table_name(&tables.sessions)
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", string(&self.user))
            .consistent_read(true);
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        Ok(serde_dynamo::from_items(items.map_err(described).context("ended sessions cannot be read")?)?)
    }
}

/// A chat as the API shows it, and what else is stored of it.
fn chat(item: HashMap<String, AttributeValue>) -> Result<Value> {
    let mut chat = serde_json::to_value(Chat::try_from(item.clone())?)?;
    let stored: Map<String, Value> = serde_dynamo::from_item(item)?;
    if let Some(shown) = chat.as_object_mut() {
        for (name, value) in stored.into_iter().filter(|(name, _)| !["userId", "chatId"].contains(&name.as_str())) {
            shown.entry(name).or_insert(value);
        }
    }
    Ok(chat)
}

/// Writes a file that only its owner may read, and that is there whole or not at all. A link in its place is replaced, not
/// followed.
fn write_whole(path: &Path, value: &Value) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::new(&mut file);
    serde_json::to_writer_pretty(&mut writer, value)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
