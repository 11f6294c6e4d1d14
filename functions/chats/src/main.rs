//! The caller's chats, behind the HTTP API.

mod if_match;
mod routes;

use std::process::ExitCode;

use api::{Context, required};
use store::{Chats, Database};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::connect().await;
        let chats = Chats::new(&database, required("CHATS_TABLE")?);
        Ok(routes::router().with_state(Context::from_env(&database, chats)?))
    })
    .await
}
