use std::process::ExitCode;

use api::{Context, required};
use store::{Chats, Database};

#[tokio::main]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::connect().await;
        let chats = Chats::new(&database, required("CHATS_TABLE")?);
        Ok(chats::router().with_state(Context::from_env(&database, chats)?))
    })
    .await
}
