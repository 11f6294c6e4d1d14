use std::process::ExitCode;

use api::{Context, required};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::config::Builder;
use store::{Chats, Database};

#[tokio::main]
async fn main() -> ExitCode {
    api::run(async || {
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let database = Database::from(Builder::from(&config));
        let chats = Chats::new(&database, required("CHATS_TABLE")?);
        Ok(chats::router().with_state(Context::from_env(&database, chats)?))
    })
    .await
}
