//! Synchronizes profiles with Clerk's webhooks, behind a function URL.

mod routes;
mod secret;

use std::{process::ExitCode, sync::Arc};

use routes::Receiver;
use secret::Secret;

fn main() -> ExitCode {
    api::run("clerk_webhook", async |environment| {
        let (profiles, accounts) = (environment.get()?, environment.get()?);
        let secret = Secret::from_env().await;
        Ok(routes::router().with_state(Arc::new(Receiver { secret, profiles, accounts })))
    })
}
