//! A batch of stream records becomes messages to connections, or their ends.
//!
//! **A connection that cannot be sent to is closed**: its client connects again and fetches everything it shows. So no
//! change is missed, and a message need not be repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::BatchOutcome;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::future::join_all;
use serde::Serialize;
use store::{Batch, Change, Connection, Connections, UserChanges};
use tokio::time::Instant;

use crate::gateway::{Answer, Failure, Gateway};

/// How long to wait for a connection of an ended session that may not be open yet, before its record is retried. With the
/// retries of `infra/stream.yaml`, longer than a connection takes to open.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_INTERVAL: Duration = Duration::from_millis(100);
/// The largest number of changes in a message, within API Gateway's 32 KB for a frame.
const MAX_CHANGES: usize = 100;
/// How many of a user's connections are served, the newest ones. The others are closed, so that one user's connections do
/// not delay the changes of other users.
const MAX_CONNECTIONS: usize = 100;

/// Sends the changes in stream records to the connections of their users.
pub(crate) struct Notifier {
    connections: Connections,
    gateway: Gateway,
}

/// The message to a client.
#[derive(Serialize)]
struct Message<'a> {
    changes: Changes<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Changes<'a> {
    Named(&'a [Change]),
    /// `"all"`: the client fetches everything that it shows.
    Unnamed(&'static str),
}

/// The outcome of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Poked,
    Cut,
    /// It was closed before, or is not open yet.
    Gone,
    /// It should be closed and may not be open yet.
    Opening,
    /// It should be closed and cannot be.
    Failed,
}

impl Notifier {
    pub(crate) fn new(connections: Connections, gateway: Gateway) -> Self {
        Self { connections, gateway }
    }

    /// Notifies the connections of all users at once. If a user's connections cannot be read, or one of them cannot be
    /// closed yet, all of the user's records are retried.
    pub(crate) async fn notify(&self, batch: Batch) -> BatchOutcome {
        let outcomes = join_all(batch.users.iter().map(|user| self.serve(user))).await;
        let mut total = BatchOutcome::default();
        for (user, outcomes) in batch.users.into_iter().zip(outcomes) {
            let count = |kind| outcomes.iter().filter(|outcome| **outcome == kind).map(|_| 1).sum::<u64>();
            let pokes = count(Outcome::Poked);
            total.pokes += pokes;
            total.cuts += count(Outcome::Cut);
            if pokes > 0 {
                total.delay = total.delay.max(user.written_at.map(age));
            }
            let (opening, failures) = (count(Outcome::Opening), count(Outcome::Failed));
            total.failures += failures;
            if opening + failures > 0 {
                total.retried.extend(user.records);
            }
        }
        total
    }

    async fn serve(&self, user: &UserChanges) -> Vec<Outcome> {
        if user.is_empty() {
            return Vec::new();
        }
        let (connections, message) = match (self.connections.of(user).await, message(user)) {
            (Ok(connections), Ok(message)) => (connections, message),
            (connections, message) => {
                let (store, json) = (connections.err(), message.err());
                tracing::error!(?store, ?json, "the connections of a user are not notified");
                return vec![Outcome::Failed];
            }
        };
        let serve = |(position, connection)| self.serve_connection(user, position, connection, message.clone());
        join_all(connections.iter().enumerate().map(serve)).await
    }

    async fn serve_connection(
        &self,
        user: &UserChanges,
        position: usize,
        connection: &Connection,
        message: Option<Blob>,
    ) -> Outcome {
        let has_ended = connection.session_id().is_some_and(|session_id| user.ended_sessions.contains(session_id));
        if user.account_ended || has_ended {
            self.cut(connection).await
        } else if position >= MAX_CONNECTIONS {
            self.close(connection).await
        } else if let Some(message) = message {
            self.poke(connection, message).await
        } else {
            Outcome::Gone
        }
    }

    async fn poke(&self, connection: &Connection, message: Blob) -> Outcome {
        match self.gateway.post(connection.id(), message).await {
            Ok(Answer::Done) => Outcome::Poked,
            // Once it is open, its client fetches everything.
            Ok(Answer::Gone) if connection.may_be_opening() => Outcome::Gone,
            Ok(Answer::Gone) => self.forget(connection, Outcome::Gone).await,
            Err(failure) => {
                tracing::warn!(%failure, "a connection that cannot be sent to is closed");
                self.close(connection).await
            }
        }
    }

    /// Closes a connection so that its client connects again.
    async fn close(&self, connection: &Connection) -> Outcome {
        match self.gateway.close(connection.id()).await {
            Ok(Answer::Gone) if connection.may_be_opening() => Outcome::Gone,
            Ok(_) => self.forget(connection, Outcome::Cut).await,
            Err(failure) => failed(&failure),
        }
    }

    /// Closes a connection whose session or account has ended.
    async fn cut(&self, connection: &Connection) -> Outcome {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        loop {
            match self.gateway.close(connection.id()).await {
                Ok(Answer::Done) => return self.forget(connection, Outcome::Cut).await,
                Ok(Answer::Gone) if !connection.may_be_opening() => {
                    return self.forget(connection, Outcome::Gone).await;
                }
                Ok(Answer::Gone) if Instant::now() < deadline => tokio::time::sleep(CLOSE_INTERVAL).await,
                Ok(Answer::Gone) => return Outcome::Opening,
                Err(failure) => return failed(&failure),
            }
        }
    }

    /// Removes the row of a closed connection.
    async fn forget(&self, connection: &Connection, outcome: Outcome) -> Outcome {
        // The next change finds the row again and the connection closed.
        if let Err(error) = self.connections.remove(connection).await {
            tracing::warn!(%error, "the row of a closed connection stays");
        }
        outcome
    }
}

/// The message that names the changes, if there are any.
fn message(user: &UserChanges) -> Result<Option<Blob>, serde_json::Error> {
    let changes = match user.changes.as_slice() {
        changes if user.is_incomplete || changes.len() > MAX_CHANGES => Changes::Unnamed("all"),
        [] => return Ok(None),
        changes => Changes::Named(changes),
    };
    serde_json::to_vec(&Message { changes }).map(Blob::new).map(Some)
}

fn failed(failure: &Failure) -> Outcome {
    tracing::error!(%failure, "a connection cannot be closed");
    Outcome::Failed
}

/// The age of a time in milliseconds since the epoch.
fn age(at: u64) -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
