//! Runs [`chats`] as a Lambda function.

use std::process::ExitCode;

use api::{Context, required, var};
use store::{Chats, Database};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::from_env(var);
        let chats = Chats::new(&database, required("CHATS_TABLE")?);
        Ok(chats::router().with_state(Context::from_env(&database, chats)?.connected().await))
    })
    .await
}
