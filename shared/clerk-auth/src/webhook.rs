//! Clerk's webhooks, which Svix signs and delivers at least once and in any order.

use std::{fmt, ops::Range, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    config::ConfigError,
    values::{is_valid_id, present_text},
};

/// How far an event's times may be after its signature's timestamp, which itself may be as far after the current time.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// Verifies webhooks of one endpoint.
pub struct WebhookVerifier {
    /// More than one while the secret is being rotated.
    secrets: Vec<svix::webhooks::Webhook>,
    instance_id: Option<String>,
}

/// The event of a verified webhook. Only [`WebhookVerifier::verify`] creates one.
#[derive(Debug)]
pub enum Event {
    /// `user.created`, `user.updated`: the user as of [`User::updated_at`].
    UserChanged(User),
    /// `user.deleted`.
    UserDeleted(DeletedUser),
    /// `session.ended`, `session.removed`, `session.revoked`: the session's tokens are no longer valid.
    SessionEnded(EndedSession),
    /// An event of another type, with the type's name.
    Ignored(String),
    /// Authentic, but its type or its subject cannot be determined, and a retry would not change that. Has the reason.
    Invalid(&'static str),
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
    /// The email address whose id is `primary_email_address_id`. Users who sign in by telephone have none.
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
    /// The URL of the picture, if there is one.
    pub fn image_url(&self) -> Option<&str> {
        self.image_url.as_deref()
    }
    /// Whether the user is banned.
    pub fn banned(&self) -> bool {
        self.banned
    }
    /// When the account was created, in milliseconds since the epoch.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }
    /// When it was last changed, in milliseconds since the epoch. Snapshots are ordered by it.
    pub fn updated_at(&self) -> u64 {
        self.updated_at
    }
    /// When Clerk sent this snapshot: the envelope's `timestamp`, in milliseconds since the epoch; 0 without one. It
    /// orders snapshots with the same [`User::updated_at`], so it must not change from one delivery to the next.
    pub fn announced_at(&self) -> u64 {
        self.announced_at
    }
}

/// A deleted user.
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
    /// When Clerk sent the deletion, in milliseconds since the epoch.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// A session that has ended.
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
    /// The session's user.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }
    /// When it ended, in milliseconds since the epoch.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// Why a webhook was rejected: HTTP 400.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Headers that Svix sends with every delivery are missing.
    #[error("The request lacks the headers {}.", .0.join(", "))]
    MissingHeaders(Vec<&'static str>),
    /// `svix-timestamp` is more than five minutes from the current time, or not a whole number of seconds.
    #[error(
        "The svix-timestamp header is more than five minutes from the current time, or not a whole number of seconds."
    )]
    Stale,
    /// No signature in `svix-signature` matches the body.
    #[error("No signature in the svix-signature header matches the body.")]
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
    /// Reads the settings through `var`, which looks up an environment variable. An empty variable counts as unset.
    ///
    /// - `CLERK_WEBHOOK_SIGNING_SECRET`, required: the endpoint's signing secret, `whsec_…`, as Clerk's dashboard shows
    ///   it; two, separated by white space, while it is being rotated.
    /// - `CLERK_INSTANCE_ID`: the instance that events must come from, `ins_…`.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        const SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";
        let text = var(SECRET).unwrap_or_default();
        let secrets =
            text.split_whitespace().map(signing_secret).collect::<Option<Vec<_>>>().ok_or(ConfigError::new(
                SECRET,
                "is not a signing secret. Copy it from the endpoint's page in Clerk's dashboard, whsec_…",
            ))?;
        if secrets.is_empty() {
            return Err(ConfigError::new(SECRET, "is not set"));
        }
        let instance_id = var("CLERK_INSTANCE_ID").and_then(present_text);
        if instance_id.as_ref().is_some_and(|id| !id.starts_with("ins_")) {
            return Err(ConfigError::new("CLERK_INSTANCE_ID", "is not an instance id, which begins with ins_"));
        }
        Ok(Self { secrets, instance_id })
    }

    /// Checks that the headers of every delivery are present.
    pub fn check_headers(headers: &HeaderMap) -> Result<(), WebhookError> {
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
        if missing.is_empty() { Ok(()) } else { Err(WebhookError::MissingHeaders(missing)) }
    }

    /// Verifies the signature over the raw `body`, and only then parses it.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Event, WebhookError> {
        Self::check_headers(headers)?;
        self.verify_signature(headers, body)?;
        let signed_at = headers
            .get("svix-timestamp")
            .or_else(|| headers.get("webhook-timestamp"))
            .and_then(|seconds| seconds.to_str().ok()?.parse::<u64>().ok())
            .unwrap_or_default()
            .saturating_mul(1000);
        Ok(Event::parse(body, signed_at, self.instance_id.as_deref()))
    }

    fn verify_signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookError> {
        use svix::webhooks::WebhookError::{FutureTimestampError, InvalidTimestamp, TimestampTooOldError};
        let mut rejection = WebhookError::BadSignature;
        for secret in &self.secrets {
            match secret.verify(body, headers) {
                Ok(()) => return Ok(()),
                Err(FutureTimestampError | InvalidTimestamp | TimestampTooOldError) => rejection = WebhookError::Stale,
                Err(_) => {}
            }
        }
        Err(rejection)
    }
}

impl Event {
    /// `signed_at`, in milliseconds since the epoch, replaces times that are missing or invalid.
    fn parse(body: &[u8], signed_at: u64, instance_id: Option<&str>) -> Self {
        Self::read(body, signed_at, instance_id).unwrap_or_else(Self::Invalid)
    }

    fn read(body: &[u8], signed_at: u64, instance_id: Option<&str>) -> Result<Self, &'static str> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let body = str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
        let envelope = Members::of(body).ok_or("the body is not a JSON object")?;
        if instance_id.is_some() && envelope.certain("instance_id").as_deref() != instance_id {
            return Err("it comes from another instance than CLERK_INSTANCE_ID");
        }
        let kind = envelope.certain("type").ok_or("its type cannot be determined")?;
        let data = || envelope.object("data").ok_or("its data is not an object");
        let timestamp = envelope.time("timestamp", signed_at);
        let at = timestamp.unwrap_or(signed_at);
        match kind.as_str() {
            "user.created" | "user.updated" => {
                User::read(&data()?, signed_at, timestamp).map(Self::UserChanged).ok_or(NO_USER)
            }
            "user.deleted" => {
                let id = data()?.certain("id").and_then(valid_id).ok_or(NO_USER)?;
                Ok(Self::UserDeleted(DeletedUser { id, at }))
            }
            "session.ended" | "session.removed" | "session.revoked" => {
                EndedSession::read(&data()?, signed_at, at).map(Self::SessionEnded)
            }
            _ => Ok(Self::Ignored(kind)),
        }
    }
}

/// svix accepts any base64 as a secret. A placeholder such as `changeme` is base64 as well, and anyone could sign with
/// it.
fn signing_secret(text: &str) -> Option<svix::webhooks::Webhook> {
    /// The shortest secret (Standard Webhooks, "Signature scheme").
    const MIN_BYTES: usize = 24;
    let secret = BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    if secret.len() < MIN_BYTES {
        return None;
    }
    svix::webhooks::Webhook::new(text).ok()
}

fn valid_id(id: String) -> Option<String> {
    Some(id).filter(|id| is_valid_id(id))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const NO_USER: &str = "its user cannot be determined";

impl User {
    fn read(data: &Members, signed_at: u64, timestamp: Option<u64>) -> Option<Self> {
        let updated_at = data.time("updated_at", signed_at).or(timestamp).unwrap_or(signed_at);
        let primary: Option<String> = data.last("primary_email_address_id");
        let emails: Vec<&RawValue> = data.last("email_addresses").unwrap_or_default();
        let email = emails
            .into_iter()
            .filter_map(|email| Members::of(email.get()))
            .find(|email| primary.is_some() && email.last("id") == primary)
            .and_then(|email| email.text("email_address"));
        Some(Self {
            id: data.certain("id").and_then(valid_id)?,
            email,
            first_name: data.text("first_name"),
            last_name: data.text("last_name"),
            image_url: data.text("image_url"),
            // Every value except false and null is a ban, so that no ban is lost to an unexpected type.
            banned: data.all("banned").any(|banned| !matches!(banned, "false" | "null")),
            created_at: data.time("created_at", signed_at).unwrap_or(updated_at),
            updated_at,
            announced_at: timestamp.unwrap_or_default(),
        })
    }
}

impl EndedSession {
    fn read(data: &Members, signed_at: u64, announced_at: u64) -> Result<Self, &'static str> {
        let id = data.certain("id").and_then(valid_id).ok_or("its session cannot be determined")?;
        let at = data.time("updated_at", signed_at).unwrap_or(announced_at);
        // An event can name the user in its user object as well. If it names two, the session's user is ambiguous.
        let user = data.object("user").unwrap_or_default();
        let mut named =
            data.all("user_id").chain(user.all("id")).filter_map(|id| serde_json::from_str(id).ok().and_then(valid_id));
        let user_id = named.next().ok_or(NO_USER)?;
        if named.any(|other| other != user_id) {
            return Err(NO_USER);
        }
        Ok(Self { id, user_id, at })
    }
}

/// The members of a JSON object as raw JSON. Members that are not read are not parsed, so that their content cannot
/// invalidate the others: `serde_json` skips values of any depth, without recursion, and any escapes in them.
#[derive(Default)]
struct Members<'a>(Vec<(Vec<u8>, &'a str)>);

impl<'a> Members<'a> {
    fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Every value of the members called `name`, as raw JSON: a member can occur twice.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(member, _)| member == name.as_bytes()).map(|(_, value)| *value)
    }

    /// The last value that can be parsed.
    fn last<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        self.all(name).filter_map(|value| serde_json::from_str(value).ok()).last()
    }

    /// The text, if all members called `name` have the same.
    fn certain(&self, name: &str) -> Option<String> {
        let mut values = self.all(name).map(|value| serde_json::from_str(value).ok());
        let first = values.next()??;
        values.all(|value| value.as_ref() == Some(&first)).then_some(first)
    }

    /// A text. Blank counts as missing.
    fn text(&self, name: &str) -> Option<String> {
        self.last(name).and_then(present_text)
    }

    /// A time in milliseconds since the epoch. A time after the event's signature is ignored: it would win over every
    /// later event. So is 0 or a number of seconds: it would lose to every earlier one.
    fn time(&self, name: &str, signed_at: u64) -> Option<u64> {
        /// Ten digits: the years 2001 to 2286 in seconds, a few weeks of 1970 in milliseconds.
        const SECONDS: Range<u64> = 1_000_000_000..10_000_000_000;
        // A number with a fraction or an exponent is a time as well. Divided by 1,000, it would lose milliseconds.
        let fraction = || Duration::try_from_secs_f64(self.last::<f64>(name)?).ok().map(|time| time.as_secs());
        let time = self.last::<u64>(name).or_else(fraction)?;
        let possible = 1..=signed_at.saturating_add(TOLERANCE_MS);
        Some(time).filter(|time| possible.contains(time) && !SECONDS.contains(time))
    }

    /// The members of the object called `name`. If it occurs twice, the members of both.
    fn object(&self, name: &str) -> Option<Self> {
        let objects: Vec<Self> = self.all(name).map(Self::of).collect::<Option<_>>()?;
        (!objects.is_empty()).then(|| Self(objects.into_iter().flat_map(|object| object.0).collect()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Vec<u8>, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = object.next_entry::<Name, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

/// A member's name in bytes, since an unpaired surrogate is not UTF-8.
struct Name(Vec<u8>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Name, E> {
                Ok(Name(name.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}
