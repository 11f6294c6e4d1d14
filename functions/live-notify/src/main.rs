//! Announces changes of a user's data to the user's open WebSocket connections, and closes those of ended sessions. It
//! consumes the streams of the tables.

mod gateway;
mod notifier;

use std::{process::ExitCode, sync::Arc};

use gateway::Gateway;
use notifier::Notifier;

fn main() -> ExitCode {
    api::consume("live_notify", async |environment| {
        let notifier = Arc::new(Notifier::new(environment.get()?, Gateway::from_env()));
        Ok(move |batch| {
            let notifier = Arc::clone(&notifier);
            async move { notifier.notify(batch).await }
        })
    })
}
