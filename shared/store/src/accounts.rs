//! Whether a verified token still counts: the account is active, and the session has not ended.
//!
//! A token lives on for up to a minute after its session ended or its account was deleted. Clerk's webhooks say so at
//! once; what they said is looked up with every call, so a token stops counting when the webhook has landed.

use aws_sdk_dynamodb::{
    Client, Config,
    config::retry::RetryConfig,
    types::{KeysAndAttributes, ReturnValue},
};
use clerk_auth::{EndedSession, Identity};
use serde::Deserialize;

use crate::{
    Database, Error,
    item::{self, Attributes, applied, now, number, string},
};

/// How long the end of a session is remembered after its event was received, in seconds. It must be longer than any token
/// can live: the verifier in `clerk-auth` rejects tokens with a lifetime of more than 24 hours, whatever it is set to.
const SESSION_END_TTL: u64 = 48 * 60 * 60;
const _: () = assert!(SESSION_END_TTL > clerk_auth::MAX_TOKEN_LIFETIME.as_secs(), "a token outlives its session's end");

/// The tables of accounts and of ended sessions.
#[derive(Clone)]
pub struct Accounts {
    client: Client,
    users: String,
    sessions: String,
}

/// Somebody whose account and session were found good. Only [`Accounts::authorize`] makes one, and every write asks for
/// one.
#[derive(Clone, Debug)]
pub struct Authorized(Identity);

impl Authorized {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.0
    }
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

    /// Opens the connections that a reading request uses, one for the read and one for the look beside it, so that the
    /// first request finds them, and the credentials. It looks up nobody, twice, and does not mind if that fails: the
    /// first request tries again, and tells.
    pub async fn connect(&self) {
        let look = || async {
            let nobody = wanted(Attributes::from([("userId".to_owned(), string("-"))]), "userId")?;
            let request = self.client.batch_get_item().request_items(&self.users, nobody);
            let once = Config::builder().retry_config(RetryConfig::disabled());
            request.customize().config_override(once).send().await.map_err(Error::from_sdk)
        };
        if let Err(error) = tokio::try_join!(look(), look()) {
            tracing::warn!(%error, "DynamoDB cannot be reached yet");
        }
    }

    /// Finds out whether `identity` still counts, with one request. Fails closed: where nothing can be found out, there
    /// is nobody.
    pub async fn authorize(&self, identity: Identity) -> Result<Authorized, Error> {
        let user = Attributes::from([("userId".to_owned(), string(identity.user_id()))]);
        let session = identity.session_id().map(|session_id| {
            let mut key = user.clone();
            key.insert("sessionId".to_owned(), string(session_id));
            key
        });
        let mut request = self.client.batch_get_item().request_items(&self.users, wanted(user, "isActive, banned")?);
        if let Some(key) = session {
            request = request.request_items(&self.sessions, wanted(key, "sessionId")?);
        }
        let output = request.send().await.map_err(Error::from_sdk)?;
        if output.unprocessed_keys.is_some_and(|keys| !keys.is_empty()) {
            return Err(Error::Unavailable("DynamoDB left keys of a batch unread".to_owned()));
        }
        let mut found = output.responses.unwrap_or_default();
        // An account that no webhook has told of yet is good.
        if let Some(account) = found.remove(&self.users).unwrap_or_default().pop() {
            let account: Account = item::read(Some(account))?;
            if !account.is_active || account.banned {
                return Err(Error::AccountInactive);
            }
        }
        if !found.remove(&self.sessions).unwrap_or_default().is_empty() {
            return Err(Error::SessionEnded);
        }
        Ok(Authorized(identity))
    }

    /// Remembers that a session has ended, from now on: an event that arrives days late ends it as well, and a repeated
    /// event prolongs the memory. Returns whether the end was news.
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
        Ok(applied(update.send().await)?.is_some_and(|before| before.is_empty()))
    }
}

/// An item of which only the attributes in `projection` are needed, as of now.
fn wanted(key: Attributes, projection: &str) -> Result<KeysAndAttributes, Error> {
    let wanted = KeysAndAttributes::builder().keys(key).projection_expression(projection).consistent_read(true);
    wanted.build().map_err(|error| Error::Internal(error.to_string()))
}
