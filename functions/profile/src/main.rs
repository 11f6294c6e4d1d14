//! The caller's profile, behind the HTTP API.

mod routes;

use std::process::ExitCode;

use api::{Context, required};
use store::{Database, Profiles};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::connect().await;
        let profiles = Profiles::new(&database, required("USERS_TABLE")?);
        Ok(routes::router().with_state(Context::from_env(&database, profiles)?))
    })
    .await
}
