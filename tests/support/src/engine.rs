use std::path::Path;

use anyhow::Result;
use dynoxide::Database;
use local::{
    dynamodb::{access_key_or_make, serve, with_tables},
    template::Template,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

/// DynamoDB's engine in memory with empty tables. It stops when this is dropped.
pub struct Engine {
    url: String,
    data: TempDir,
    server: JoinHandle<()>,
}

/// Starts an engine on a free port, with the tables of `template.yaml`.
pub async fn in_memory() -> Result<Engine> {
    in_memory_with(&Template::load()?).await
}

/// Starts an engine with the tables of another template.
pub async fn in_memory_with(template: &Template) -> Result<Engine> {
    let database = with_tables(Database::memory()?, template)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let data = tempfile::tempdir()?;
    access_key_or_make(data.path())?;
    Ok(Engine { url, data, server: serve(listener, database) })
}

impl Engine {
    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A folder with an access key, like the local stack's. The engine accepts every key.
    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}
