//! Keeps profiles in step with Clerk, behind a function URL.

mod routes;
mod secret;

use std::{process::ExitCode, sync::Arc};

use api::required;
use store::{Accounts, Database, Profiles};

use routes::Receiver;
use secret::Secret;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let (users, sessions) = (required("USERS_TABLE")?, required("SESSIONS_TABLE")?);
        let (secret, database) = tokio::join!(Secret::from_env(), Database::connect());
        let profiles = Profiles::new(&database, users.clone());
        let accounts = Accounts::new(&database, users, sessions);
        Ok(routes::router().with_state(Arc::new(Receiver { secret, profiles, accounts })))
    })
    .await
}
