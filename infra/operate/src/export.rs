//! All that is stored of one person, as JSON.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use store::{Chat, Profile};
use tempfile::NamedTempFile;

use crate::place::{Tables, string};

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
    /// Chats are written beside the output, a line each, as they come, and an export that was broken off goes on behind
    /// the last of them. The output itself appears whole or not at all.
    pub(crate) async fn run(self, tables: &Tables) -> Result<()> {
        let output = self.output.clone().unwrap_or_else(|| format!("export-{}.json", self.user).into());
        // It names the person, so that nobody's lines get into another's export.
        let lines = PathBuf::from(format!("{}.{}.chats", output.display(), self.user));
        self.write_chats(tables, &lines).await?;

        let account = self.account(tables).await?;
        let profile = account.clone().map(Profile::try_from).transpose()?;
        let stored: Option<Value> = account.map(serde_dynamo::from_item).transpose()?;
        let sessions = self.ended_sessions(tables).await?;
        let chats = read_lines(&lines)?;
        if stored.is_none() && chats.is_empty() && sessions.is_empty() {
            fs::remove_file(&lines)?;
            bail!("nothing is stored of {}", self.user);
        }
        let count = chats.len();
        let export = json!({ "profile": profile, "account": stored, "chats": chats, "endedSessions": sessions });
        write_whole(&output, &export).with_context(|| format!("{} cannot be written", output.display()))?;
        fs::remove_file(&lines)?;
        let profile = if profile.is_some() { "A profile" } else { "No profile" };
        println!("{profile} and {count} chats are in {}", output.display());
        Ok(())
    }

    async fn write_chats(&self, tables: &Tables, lines: &Path) -> Result<()> {
        let bar = ProgressBar::no_length();
        bar.set_style(ProgressStyle::with_template("{spinner} {pos} chats")?);
        let mut last = None;
        let mut file = private(lines)?;
        for chat in read_lines(lines)? {
            last = chat.get("id").and_then(Value::as_str).map(str::to_owned);
            bar.inc(1);
        }
        let mut start = last.map(|id| self.key(&id));
        loop {
            let page = tables
                .client
                .query()
                .table_name(&tables.chats)
                .key_condition_expression("userId = :user")
                .expression_attribute_values(":user", string(&self.user))
                .consistent_read(true)
                .limit(self.page)
                .set_exclusive_start_key(start)
                .send()
                .await
                .context("chats cannot be read; run it again to go on here")?;
            let mut text = String::new();
            for item in page.items.unwrap_or_default() {
                text += &chat(item)?.to_string();
                text.push('\n');
                bar.inc(1);
            }
            file.write_all(text.as_bytes())?;
            start = page.last_evaluated_key;
            if start.is_none() {
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    async fn account(&self, tables: &Tables) -> Result<Option<HashMap<String, AttributeValue>>> {
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(&self.user));
        Ok(read.consistent_read(true).send().await.context("the account cannot be read")?.item)
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
        Ok(serde_dynamo::from_items(items.context("ended sessions cannot be read")?)?)
    }

    fn key(&self, chat_id: &str) -> HashMap<String, AttributeValue> {
        HashMap::from([("userId".to_owned(), string(&self.user)), ("chatId".to_owned(), string(chat_id))])
    }
}

/// A chat as the API shows it, and what else is stored of it.
fn chat(item: HashMap<String, AttributeValue>) -> Result<Value> {
    let mut chat = serde_json::to_value(serde_dynamo::from_item::<_, Chat>(item.clone())?)?;
    let stored: Map<String, Value> = serde_dynamo::from_item(item)?;
    if let Some(shown) = chat.as_object_mut() {
        for (name, value) in stored.into_iter().filter(|(name, _)| !["userId", "chatId"].contains(&name.as_str())) {
            shown.entry(name).or_insert(value);
        }
    }
    Ok(chat)
}

/// Writes a file that nobody else may read, and that is there whole or not at all.
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

/// A file that is added to, which nobody else may read.
fn private(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    file.with_context(|| format!("{} cannot be written", path.display()))
}

/// The lines that are there whole. What was broken off in the middle is cut away.
fn read_lines(path: &Path) -> Result<Vec<Value>> {
    let (mut values, mut whole) = (Vec::new(), 0);
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        values.push(serde_json::from_str(&line).with_context(|| format!("{} is none of ours", path.display()))?);
        whole += line.len() as u64;
        line.clear();
    }
    OpenOptions::new().write(true).open(path)?.set_len(whole)?;
    Ok(values)
}
