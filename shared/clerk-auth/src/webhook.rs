//! Clerk's webhooks, which Svix signs and delivers: at least once, in any order.

use std::fmt;

use http::HeaderMap;
use serde::Deserialize;

use crate::ConfigError;

/// Verifies webhooks of one endpoint.
pub struct WebhookVerifier {
    /// More than one while the secret is being rotated.
    secrets: Vec<svix::webhooks::Webhook>,
    instance_id: Option<String>,
}

/// What a verified webhook says. Only [`WebhookVerifier::verify`] makes one.
#[derive(Debug)]
pub enum Event {
    /// `user.created`, `user.updated`: the user as of [`User::updated_at`].
    UserChanged(User),
    /// `user.deleted`.
    UserDeleted(DeletedUser),
    /// `session.ended`, `session.removed`, `session.revoked`: no token of this session counts any more.
    SessionEnded(EndedSession),
    /// A type that is of no concern here, by its name.
    Other(String),
    /// Authentic, but not what Clerk documents. It will not get better by being sent again. Says what is wrong.
    Unusable(String),
}

/// A snapshot of a user in Clerk.
#[derive(Debug)]
pub struct User {
    id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    image_url: Option<String>,
    banned: bool,
    created_at: u64,
    updated_at: u64,
    announced_at: u64,
}

impl User {
    /// Clerk's id, `user_…`.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The address whose id is `primary_email_address_id`; someone who signs in by telephone has none.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }
    /// The first name, if there is one.
    pub fn first_name(&self) -> Option<&str> {
        self.first_name.as_deref()
    }
    /// The last name, if there is one.
    pub fn last_name(&self) -> Option<&str> {
        self.last_name.as_deref()
    }
    /// Where the picture is, if there is one.
    pub fn image_url(&self) -> Option<&str> {
        self.image_url.as_deref()
    }
    /// Whether the person is locked out for the time being.
    pub fn banned(&self) -> bool {
        self.banned
    }
    /// When the account was made, in milliseconds since the epoch.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }
    /// When it was last changed, in milliseconds since the epoch. Snapshots are ordered by it.
    pub fn updated_at(&self) -> u64 {
        self.updated_at
    }
    /// When Clerk announced this snapshot: the envelope's `timestamp`, in milliseconds since the epoch; 0 without one. It
    /// orders snapshots with the same [`User::updated_at`], so it must not change from one delivery to the next.
    pub fn announced_at(&self) -> u64 {
        self.announced_at
    }
}

/// A user that is no more.
#[derive(Debug)]
pub struct DeletedUser {
    id: String,
    at: u64,
}

impl DeletedUser {
    /// Clerk's id, `user_…`.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// When the deletion was announced, in milliseconds since the epoch.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// A session that is over.
#[derive(Debug)]
pub struct EndedSession {
    id: String,
    user_id: String,
    at: u64,
}

impl EndedSession {
    /// Clerk's id, `sess_…`.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// Whose session it was.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }
    /// When it ended, in milliseconds since the epoch.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// Why a webhook was not believed: HTTP 400.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Headers that every delivery has are missing.
    #[error("The request lacks the headers {}.", .0.join(", "))]
    MissingHeaders(Vec<&'static str>),
    /// `svix-timestamp` is more than five minutes from now, or not a whole number of seconds.
    #[error("The svix-timestamp header is more than five minutes away from now, or not a whole number of seconds.")]
    Stale,
    /// No signature in `svix-signature` fits the body.
    #[error("No signature in the svix-signature header fits the body.")]
    BadSignature,
}

/// Shows how many secrets there are, not the secrets.
impl fmt::Debug for WebhookVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookVerifier")
            .field("secrets", &self.secrets.len())
            .field("instance_id", &self.instance_id)
            .finish()
    }
}

impl WebhookVerifier {
    /// Reads the settings through `var` (the environment, outside tests). A variable that is empty counts as unset.
    ///
    /// - `CLERK_WEBHOOK_SIGNING_SECRET`, required: the endpoint's signing secret, `whsec_…`, as Clerk's dashboard shows
    ///   it; two, separated by white space, while it is being rotated.
    /// - `CLERK_INSTANCE_ID`: the instance that events have to come from, `ins_…`.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        const SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";
        let text = var(SECRET).unwrap_or_default();
        let secrets: Vec<_> =
            text.split_whitespace().map(svix::webhooks::Webhook::new).collect::<Result<_, _>>().map_err(|_| {
                ConfigError::new(
                    SECRET,
                    "is not a signing secret; copy it from the endpoint's page in Clerk's dashboard, whsec_…",
                )
            })?;
        if secrets.is_empty() {
            return Err(ConfigError::new(SECRET, "is not set"));
        }
        Ok(Self { secrets, instance_id: var("CLERK_INSTANCE_ID").filter(|id| !id.is_empty()) })
    }

    /// Checks the signature over the raw `body`, byte for byte as it arrived, and only then reads it.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Event, WebhookError> {
        // Svix and Standard Webhooks name the same three headers differently.
        const HEADERS: [(&str, &str); 3] = [
            ("svix-id", "webhook-id"),
            ("svix-timestamp", "webhook-timestamp"),
            ("svix-signature", "webhook-signature"),
        ];
        let missing: Vec<_> = HEADERS
            .into_iter()
            .filter(|(svix, standard)| !headers.contains_key(*svix) && !headers.contains_key(*standard))
            .map(|(svix, _)| svix)
            .collect();
        if !missing.is_empty() {
            return Err(WebhookError::MissingHeaders(missing));
        }
        self.verify_signature(headers, body)?;
        let sent_at = headers
            .get("svix-timestamp")
            .or_else(|| headers.get("webhook-timestamp"))
            .and_then(|seconds| seconds.to_str().ok()?.parse::<u64>().ok())
            .unwrap_or_default()
            .saturating_mul(1000);
        Ok(Event::parse(body, sent_at, self.instance_id.as_deref()))
    }

    fn verify_signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookError> {
        use svix::webhooks::WebhookError::{FutureTimestampError, InvalidTimestamp, TimestampTooOldError};
        let mut refusal = WebhookError::BadSignature;
        for secret in &self.secrets {
            match secret.verify(body, headers) {
                Ok(()) => return Ok(()),
                Err(FutureTimestampError | InvalidTimestamp | TimestampTooOldError) => refusal = WebhookError::Stale,
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

impl Event {
    /// `sent_at`, in milliseconds since the epoch, stands in for the times that old samples lack.
    fn parse(body: &[u8], sent_at: u64, instance_id: Option<&str>) -> Self {
        let parsed = serde_json::from_slice(body).and_then(|envelope: Envelope| {
            if instance_id.is_some() && envelope.instance_id.as_deref() != instance_id {
                return Ok(Self::Unusable("it comes from another instance than CLERK_INSTANCE_ID".to_owned()));
            }
            let at = envelope.timestamp.unwrap_or(sent_at);
            match envelope.kind.as_str() {
                "user.created" | "user.updated" => {
                    serde_json::from_value(envelope.data).map(|user: UserData| user.snapshot(at, envelope.timestamp))
                }
                "user.deleted" => serde_json::from_value(envelope.data).map(|user: DeletedData| user.deleted(at)),
                "session.ended" | "session.removed" | "session.revoked" => {
                    serde_json::from_value(envelope.data).map(|session: SessionData| session.ended(at))
                }
                _ => Ok(Self::Other(envelope.kind)),
            }
        });
        // serde's messages name members and kinds of values; a string value it would quote is cut out here.
        parsed.unwrap_or_else(|error| {
            Self::Unusable(format!("{:?} error at column {}", error.classify(), error.column()))
        })
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    data: serde_json::Value,
    /// Milliseconds since the epoch.
    timestamp: Option<u64>,
    instance_id: Option<String>,
}

/// Lenient: samples of all ages have to fit, and Clerk adds members.
#[derive(Deserialize)]
struct UserData {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    image_url: Option<String>,
    primary_email_address_id: Option<String>,
    email_addresses: Option<Vec<EmailAddress>>,
    banned: Option<bool>,
    created_at: Option<u64>,
    updated_at: Option<u64>,
}

#[derive(Deserialize)]
struct EmailAddress {
    id: Option<String>,
    email_address: Option<String>,
}

#[derive(Deserialize)]
struct DeletedData {
    id: Option<String>,
}

#[derive(Deserialize)]
struct SessionData {
    id: String,
    user_id: String,
    updated_at: Option<u64>,
}

impl SessionData {
    fn ended(self, at: u64) -> Event {
        if self.id.is_empty() || self.user_id.is_empty() {
            return Event::Unusable("the session has no id or no user".to_owned());
        }
        Event::SessionEnded(EndedSession { id: self.id, user_id: self.user_id, at: self.updated_at.unwrap_or(at) })
    }
}

impl UserData {
    fn snapshot(self, at: u64, announced_at: Option<u64>) -> Event {
        if self.id.is_empty() {
            return Event::Unusable("the user has no id".to_owned());
        }
        let primary = self.primary_email_address_id;
        let email = self
            .email_addresses
            .unwrap_or_default()
            .into_iter()
            .find(|address| address.id.is_some() && address.id == primary)
            .and_then(|address| address.email_address);
        let present = |value: Option<String>| value.filter(|value| !value.is_empty());
        let updated_at = self.updated_at.unwrap_or(at);
        Event::UserChanged(User {
            id: self.id,
            email: present(email),
            first_name: present(self.first_name),
            last_name: present(self.last_name),
            image_url: present(self.image_url),
            banned: self.banned.unwrap_or(false),
            created_at: self.created_at.unwrap_or(updated_at),
            updated_at,
            announced_at: announced_at.unwrap_or_default(),
        })
    }
}

impl DeletedData {
    fn deleted(self, at: u64) -> Event {
        match self.id.filter(|id| !id.is_empty()) {
            Some(id) => Event::UserDeleted(DeletedUser { id, at }),
            None => Event::Unusable("the deleted user has no id".to_owned()),
        }
    }
}
