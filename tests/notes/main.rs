//! The caller's notes, behind the HTTP API.

mod routes;

use std::process::ExitCode;

use api::{Context, required};
use store::{Database, Notes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::from_env();
        let notes = Notes::new(&database, required("NOTES_TABLE")?);
        Ok(routes::router().with_state(Context::from_env(&database, notes)?.connected().await))
    })
    .await
}
