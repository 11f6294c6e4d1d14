//! The caller's profile, behind the HTTP API.

mod routes;

use std::process::ExitCode;

use api::{Context, required};
use clerk_auth::{Config, Verifier};
use store::{Database, Profiles};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let verifier = Verifier::new(Config::from_env(api::var)?);
        let table = required("USERS_TABLE")?;
        let profiles = Profiles::new(&Database::connect().await, table);
        Ok(routes::router().with_state(Context::new(verifier, profiles)))
    })
    .await
}
