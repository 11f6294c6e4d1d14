//! Keeps profiles in step with Clerk, behind a function URL.

mod routes;

use std::{process::ExitCode, sync::Arc};

use api::{required, var};
use clerk_auth::WebhookVerifier;
use store::{Accounts, Database, Profiles};

use routes::Receiver;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let (users, sessions) = (required("USERS_TABLE")?, required("SESSIONS_TABLE")?);
        // Unlike other settings the secret may be missing at start-up: Clerk gives it out only once the endpoint's URL
        // exists. Until then every webhook is answered 500, and Svix keeps it.
        let verifier = WebhookVerifier::from_env(var);
        let database = Database::connect().await;
        let profiles = Profiles::new(&database, users.clone());
        let accounts = Accounts::new(&database, users, sessions);
        Ok(routes::router().with_state(Arc::new(Receiver { verifier, profiles, accounts })))
    })
    .await
}
