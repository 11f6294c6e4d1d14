//! The caller's chats, behind the HTTP API.

mod if_match;
mod routes;

use std::process::ExitCode;

use api::{Context, required};
use clerk_auth::{Config, Verifier};
use store::{Chats, Database};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let verifier = Verifier::new(Config::from_env(api::var)?);
        let table = required("CHATS_TABLE")?;
        let chats = Chats::new(&Database::connect().await, table);
        Ok(routes::router().with_state(Context::new(verifier, chats)))
    })
    .await
}
