//! Synchronizes profiles with Clerk's webhooks, behind a function URL.

mod routes;
mod secret;

use std::{process::ExitCode, sync::Arc};

use api::{required, var};
use store::{Accounts, Database, Profiles};

use routes::Receiver;
use secret::Secret;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let (users, sessions) = (required("USERS_TABLE")?, required("SESSIONS_TABLE")?);
        let (secret, database) = (Secret::from_env().await, Database::from_env(var));
        let profiles = Profiles::new(&database, users.clone());
        let accounts = Accounts::new(&database, users, sessions);
        Ok(routes::router().with_state(Arc::new(Receiver { secret, profiles, accounts })))
    })
    .await
}
