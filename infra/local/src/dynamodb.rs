//! DynamoDB: dynoxide's engine behind DynamoDB's own protocol, with the template's tables.

use std::path::Path;

use anyhow::{Context, Result};
use dynoxide::{Database, DynoxideError};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::template::{Table, Template};

/// Opens the engine on a file, which is made if it is not there, and makes the tables that are missing.
pub fn open(file: &Path, template: &Template) -> Result<Database> {
    let path = file.to_str().context("the data folder's name is not UTF-8")?;
    with_tables(Database::new(path)?, template)
}

/// Serves an engine until the task is dropped or aborted.
pub fn serve(listener: TcpListener, database: Database) -> JoinHandle<()> {
    tokio::spawn(dynoxide::server::serve_on(listener, database))
}

/// An engine in memory with empty tables, for tests. It is gone when this is dropped.
pub struct InMemory {
    url: String,
    server: JoinHandle<()>,
}

/// Starts an engine in memory on a free port, with the project's tables.
pub async fn in_memory() -> Result<InMemory> {
    in_memory_with(&Template::load()?).await
}

/// The same with the tables of another template.
pub async fn in_memory_with(template: &Template) -> Result<InMemory> {
    let database = with_tables(Database::memory()?, template)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok(InMemory { url, server: serve(listener, database) })
}

impl InMemory {
    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Makes the tables that are missing.
pub fn with_tables(database: Database, template: &Template) -> Result<Database> {
    for table in &template.tables {
        create(&database, table).with_context(|| format!("{} cannot be made", table.name))?;
    }
    Ok(database)
}

fn create(database: &Database, table: &Table) -> Result<()> {
    match database.create_table(serde_json::from_value(table.create.clone())?) {
        Ok(_) => {}
        Err(DynoxideError::ResourceInUseException(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if let Some(attribute) = &table.ttl_attribute {
        let specification = json!({ "AttributeName": attribute, "Enabled": true });
        let request = json!({ "TableName": table.name, "TimeToLiveSpecification": specification });
        database.update_time_to_live(serde_json::from_value(request)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_tables_and_items() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dynamodb.sqlite");
        let template = Template::load().expect("the template is right");
        let item = json!({ "userId": { "S": "user_ada" } });
        {
            let database = open(&file, &template).expect("it opens");
            let put = json!({ "TableName": "UsersTable", "Item": item });
            database.put_item(serde_json::from_value(put).expect("a request")).expect("it is written");
        }
        let database = open(&file, &template).expect("it opens again");
        assert_eq!(database.table_count().expect("a count"), template.tables.len());
        let get = json!({ "TableName": "UsersTable", "Key": item });
        let got = database.get_item(serde_json::from_value(get).expect("a request")).expect("it is read");
        assert!(got.item.is_some());
    }
}
