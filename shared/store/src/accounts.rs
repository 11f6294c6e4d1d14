//! The session check: whether a verified token still counts, because its account is active and its session has not
//! ended.
//!
//! A token stays valid for up to a minute after its session ended or its account was deleted. Clerk reports both by
//! webhooks at once. The check reads what they reported, so a token stops counting when the webhook has arrived.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client, Config,
    config::retry::RetryConfig,
    operation::batch_get_item::builders::BatchGetItemFluentBuilder,
    types::{KeysAndAttributes, ReturnValue},
};
use clerk_auth::{EndedSession, Identity};
use serde::Deserialize;

use crate::{
    Database, Error, ReadSession, WriteSession,
    item::{self, Attributes, conditional, now, number, string},
};

/// How long the end of a session is stored after its event was received, in seconds. It must be longer than any token can
/// live: `clerk-auth` rejects session tokens with a lifetime of more than 24 hours, however it is configured.
const SESSION_END_TTL: u64 = 48 * 60 * 60;
const _: () = assert!(SESSION_END_TTL > clerk_auth::MAX_TOKEN_LIFETIME.as_secs(), "a token outlives its session's end");

/// The attributes of an account that the session check reads.
const ACCOUNT_ATTRIBUTES: &str = "isActive, banned";

/// The tables of accounts and of ended sessions.
#[derive(Clone)]
pub struct Accounts {
    client: Client,
    users: String,
    sessions: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    #[serde(default = "yes")]
    is_active: bool,
    #[serde(default)]
    banned: bool,
}

fn yes() -> bool {
    true
}

impl Accounts {
    /// The tables named `users` and `sessions` in `database`.
    pub fn new(database: &Database, users: String, sessions: String) -> Self {
        Self { client: database.0.clone(), users, sessions }
    }

    /// Opens the two connections of a reading request, one for the read and one for the session check beside it, before
    /// the first request. Reads a nonexistent user on both. Failures are logged and otherwise ignored.
    pub async fn connect(&self) {
        let read = || async {
            let user = keys(Attributes::from([("userId".to_owned(), string("-"))]), Some("userId"))?;
            let request = self.client.batch_get_item().request_items(&self.users, user);
            let once = Config::builder().retry_config(RetryConfig::disabled());
            request.customize().config_override(once).send().await.map_err(Error::from_sdk)
        };
        if let Err(error) = tokio::try_join!(read(), read()) {
            tracing::warn!(%error, "DynamoDB cannot be reached yet");
        }
    }

    /// The session of `identity`, to read with. Makes no request: the reads check it.
    pub fn read_session(&self, identity: Identity) -> ReadSession {
        ReadSession::new(self.clone(), identity)
    }

    /// The session of `identity`, to write with, once it has been checked.
    pub async fn write_session(&self, identity: Identity) -> Result<WriteSession, Error> {
        self.check(&identity).await?;
        Ok(WriteSession(identity))
    }

    /// The session check: one request.
    pub(crate) async fn check(&self, identity: &Identity) -> Result<(), Error> {
        self.read(self.client.batch_get_item(), identity, Some(ACCOUNT_ATTRIBUTES)).await.map(drop)
    }

    /// The session check and the account itself, in one request.
    pub(crate) async fn check_and_get_account(&self, identity: &Identity) -> Result<Option<Attributes>, Error> {
        Ok(self.read(self.client.batch_get_item(), identity, None).await?.account)
    }

    /// The session check and an item of another table, in one request.
    pub(crate) async fn check_and_get(
        &self,
        identity: &Identity,
        table: &str,
        item: KeysAndAttributes,
    ) -> Result<Option<Attributes>, Error> {
        let request = self.client.batch_get_item().request_items(table, item);
        let mut found = self.read(request, identity, Some(ACCOUNT_ATTRIBUTES)).await?.others;
        Ok(found.remove(table).unwrap_or_default().pop())
    }

    /// Sends `request` together with the session check. Fails closed: without an answer, the check fails.
    async fn read(
        &self,
        request: BatchGetItemFluentBuilder,
        identity: &Identity,
        account: Option<&str>,
    ) -> Result<Found, Error> {
        let user = Attributes::from([("userId".to_owned(), string(identity.user_id()))]);
        let session = identity.session_id().map(|session_id| {
            let mut key = user.clone();
            key.insert("sessionId".to_owned(), string(session_id));
            key
        });
        let mut request = request.request_items(&self.users, keys(user, account)?);
        if let Some(key) = session {
            request = request.request_items(&self.sessions, keys(key, Some("sessionId"))?);
        }
        let output = request.send().await.map_err(Error::from_sdk)?;
        if output.unprocessed_keys.is_some_and(|keys| !keys.is_empty()) {
            return Err(Error::Unavailable("DynamoDB left keys of a batch unread".to_owned()));
        }
        let mut found = output.responses.unwrap_or_default();
        let account = found.remove(&self.users).unwrap_or_default().pop();
        // Accounts not yet reported by a webhook count as active.
        if let Some(account) = &account {
            let account: Account = item::read_some(account)?;
            if !account.is_active || account.banned {
                return Err(Error::AccountInactive);
            }
        }
        if !found.remove(&self.sessions).unwrap_or_default().is_empty() {
            return Err(Error::SessionEnded);
        }
        Ok(Found { account, others: found })
    }

    /// Stores that a session has ended. Its time to live starts now: an event that arrives days late ends the session as
    /// well, and a repeated event prolongs it. Returns whether the end was new.
    pub async fn apply_end(&self, session: &EndedSession) -> Result<bool, Error> {
        let expires_at = now() / 1000 + SESSION_END_TTL;
        let update = self
            .client
            .update_item()
            .table_name(&self.sessions)
            .key("userId", string(session.user_id()))
            .key("sessionId", string(session.id()))
            .update_expression("SET expiresAt = :at")
            // Another receiver's clock may be ahead.
            .condition_expression("attribute_not_exists(expiresAt) OR expiresAt < :at")
            .expression_attribute_values(":at", number(expires_at))
            .return_values(ReturnValue::AllOld);
        Ok(conditional(update.send().await)?.is_ok_and(|before| !before.contains_key("expiresAt")))
    }
}

/// The items of a request whose session check has passed.
struct Found {
    account: Option<Attributes>,
    others: HashMap<String, Vec<Attributes>>,
}

/// The key of an item to read, or of only its attributes in `projection`, strongly consistent.
fn keys(key: Attributes, projection: Option<&str>) -> Result<KeysAndAttributes, Error> {
    let projection = projection.map(str::to_owned);
    let keys = KeysAndAttributes::builder().keys(key).set_projection_expression(projection).consistent_read(true);
    keys.build().map_err(|error| Error::Internal(error.to_string()))
}
