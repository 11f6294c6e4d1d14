//! Runs [`profile`] as a Lambda function.

use std::process::ExitCode;

use api::{Context, required, var};
use store::{Database, Profiles};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::from_env(var);
        let profiles = Profiles::new(&database, required("USERS_TABLE")?);
        Ok(profile::router().with_state(Context::from_env(&database, profiles)?.connected().await))
    })
    .await
}
