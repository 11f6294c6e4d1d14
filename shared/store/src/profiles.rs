//! Profiles: partition key `userId`.
//!
//! Three sources speak of a person, and each has a register of its own in the item, which no other source writes:
//!
//! - Clerk's webhooks: `email`, `firstName`, `lastName`, `imageUrl`, `banned`, `createdAt`, and `clerkVersion`. A
//!   snapshot is the whole of what Clerk says, as of its `updated_at`.
//! - A verified token's claims: `claimedEmail`, `claimedFirstName`, `claimedLastName`, and `claimedVersion`. They are what
//!   Clerk says as well, as of the token's `iat`, but only of the claims that the token was customised to carry.
//! - The caller: `callerEmail`, `callerFirstName`, `callerLastName`, `callerImageUrl`, `callerCreatedAt`,
//!   `callerUpdatedAt`, and `creation`, which names the caller's first write.
//!
//! Clerk's two registers are last-writer-wins: a write is made only if its version is above the one that is there. A
//! version is a time and, where times are equal, a fingerprint of what is said, so that of any two one is above the
//! other. Whatever the order of writes, and however often each is made, the highest version is what remains.
//!
//! A deletion is a flag that is only ever raised: `isActive` becomes false, and nothing sets it back; of several
//! `deletedAt` the earliest remains.
//!
//! An erasure comes once a deletion has stood for a while: an operator's command replaces the item with a bare tombstone,
//! `userId`, `isActive`, `deletedAt` and `erasedAt`. Where `erasedAt` is, the registers stay empty whatever still
//! arrives, so that an event that is late or sent again does not bring back what was erased.
//!
//! What is shown is worked out on reading ([`Item::profile`]): of each detail the newest that Clerk vouched for, and the
//! caller's word only where Clerk has said nothing yet. As the registers do not depend on the order of events, neither
//! does the profile.

use std::fmt;

use aws_lc_rs::digest;
use aws_sdk_dynamodb::{
    Client,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{DeletedUser, Identity, User};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Authorized, Database, Error,
    item::{self, Attributes, Change, applied, now, number, string},
};

/// The condition of every write that holds personal details.
const NOT_ERASED: &str = "attribute_not_exists(erasedAt)";

/// A person's profile, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Clerk's id of the user.
    pub id: String,
    /// The primary e-mail address.
    #[schema(required)]
    pub email: Option<String>,
    /// The first name.
    #[schema(required)]
    pub first_name: Option<String>,
    /// The last name.
    #[schema(required)]
    pub last_name: Option<String>,
    /// Where the picture is.
    #[schema(required)]
    pub image_url: Option<String>,
    /// Milliseconds since the epoch: when the account was made, or, before Clerk has told, the profile.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub updated_at: u64,
    /// False once the account is deleted, and while it is banned.
    pub is_active: bool,
}

/// Where what Clerk says stands in time. Sorts as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Version {
    /// Milliseconds since the epoch.
    at: u64,
    /// Of what is said.
    fingerprint: String,
}

impl Version {
    fn of(at: u64, said: &impl Serialize) -> Result<Self, Error> {
        let said = serde_json::to_vec(said).map_err(|error| Error::Internal(error.to_string()))?;
        let digest = digest::digest(&digest::SHA256, &said);
        Ok(Self { at, fingerprint: BASE64_URL_SAFE_NO_PAD.encode(digest) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As many digits as a number of 64 bits has at most.
        write!(f, "{:020}-{}", self.at, self.fingerprint)
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (at, fingerprint) = text.split_once('-').ok_or("a version has two parts")?;
        let at = at.parse().map_err(|_| "a version begins with a number")?;
        Ok(Self { at, fingerprint: fingerprint.to_owned() })
    }
}

/// A profile as it is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    user_id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    image_url: Option<String>,
    banned: Option<bool>,
    created_at: Option<u64>,
    clerk_version: Option<Version>,
    claimed_email: Option<String>,
    claimed_first_name: Option<String>,
    claimed_last_name: Option<String>,
    claimed_version: Option<Version>,
    caller_email: Option<String>,
    caller_first_name: Option<String>,
    caller_last_name: Option<String>,
    caller_image_url: Option<String>,
    caller_created_at: Option<u64>,
    caller_updated_at: Option<u64>,
    is_active: Option<bool>,
    deleted_at: Option<u64>,
    creation: Option<Change>,
}

impl Item {
    /// Whether the caller's write `change`, which this is the outcome of, made the profile.
    fn made_by(&self, change: &Change) -> bool {
        self.creation.as_ref() == Some(change) && self.clerk_version.is_none() && self.deleted_at.is_none()
    }

    fn profile(self) -> Profile {
        let told_at = self.clerk_version.as_ref().map(|version| version.at);
        let claimed_at = self.claimed_version.as_ref().map(|version| version.at);
        let newest = |told: Option<String>, claimed: Option<String>, caller: Option<String>| {
            // A token that is no newer than the snapshot adds nothing to it.
            match claimed.filter(|_| claimed_at > told_at) {
                Some(claimed) => Some(claimed),
                None if told_at.is_some() => told,
                None => caller,
            }
        };
        let vouched_at = told_at.max(claimed_at).max(self.deleted_at);
        let updated_at = if told_at.is_some() { vouched_at } else { vouched_at.max(self.caller_updated_at) };
        let created_at = self.created_at.or(self.caller_created_at).or(self.deleted_at);
        Profile {
            id: self.user_id,
            email: newest(self.email, self.claimed_email, self.caller_email),
            first_name: newest(self.first_name, self.claimed_first_name, self.caller_first_name),
            last_name: newest(self.last_name, self.claimed_last_name, self.caller_last_name),
            image_url: newest(self.image_url, None, self.caller_image_url),
            created_at: created_at.unwrap_or_default(),
            updated_at: updated_at.unwrap_or_default(),
            is_active: self.is_active.unwrap_or(true) && !self.banned.unwrap_or(false),
        }
    }
}

/// What is shown of an item of this table that was read by other means than [`Profiles`].
impl TryFrom<Attributes> for Profile {
    type Error = Error;

    fn try_from(item: Attributes) -> Result<Self, Error> {
        Ok(serde_dynamo::from_item::<_, Item>(item)?.profile())
    }
}

/// What the caller says of themselves. What is left away stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ProfileChange)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Details {
    /// An e-mail address.
    pub email: Option<Email>,
    /// A first name.
    pub first_name: Option<Name>,
    /// A last name.
    pub last_name: Option<Name>,
    /// Where the picture is.
    pub image_url: Option<ImageUrl>,
}

/// A detail is not what its member is for.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDetail {
    /// Not an address.
    #[error("an e-mail address is like ada@example.com, with at most {} characters", Email::MAX_CHARS)]
    Email,
    /// Not a name.
    #[error("a name has 1 to {} characters, none of them a control character", Name::MAX_CHARS)]
    Name,
    /// Not the address of a picture.
    #[error("an image's URL begins with https:// and has at most {} characters", ImageUrl::MAX_CHARS)]
    ImageUrl,
}

/// An e-mail address, by its form alone: only Clerk knows whether it is the person's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, max_length = 254, pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$", example = "ada@example.com")]
pub struct Email(String);

impl Email {
    /// RFC 5321, section 4.5.3.1.3, less the angle brackets.
    pub const MAX_CHARS: usize = 254;
}

impl TryFrom<String> for Email {
    type Error = InvalidDetail;

    fn try_from(text: String) -> Result<Self, InvalidDetail> {
        let plain = text.chars().count() <= Self::MAX_CHARS
            && !text.chars().any(|char| char.is_control() || char.is_whitespace());
        let parts = text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        if plain && parts { Ok(Self(text)) } else { Err(InvalidDetail::Email) }
    }
}

/// A first or last name, trimmed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$", example = "Ada")]
pub struct Name(String);

impl Name {
    /// In Unicode scalar values.
    pub const MAX_CHARS: usize = 200;
}

impl TryFrom<String> for Name {
    type Error = InvalidDetail;

    fn try_from(text: String) -> Result<Self, InvalidDetail> {
        let name = text.trim();
        let fits = (1..=Self::MAX_CHARS).contains(&name.chars().count());
        if fits && !name.chars().any(char::is_control) { Ok(Self(name.to_owned())) } else { Err(InvalidDetail::Name) }
    }
}

/// Where a picture is. Only `https`: front ends put it into pages as it is, so `javascript:` must not get in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = "uri", max_length = 2048, example = "https://example.com/ada.png")]
pub struct ImageUrl(String);

impl ImageUrl {
    /// Longer ones are not handled by every browser and proxy.
    pub const MAX_CHARS: usize = 2048;
}

impl TryFrom<String> for ImageUrl {
    type Error = InvalidDetail;

    fn try_from(text: String) -> Result<Self, InvalidDetail> {
        let https = url::Url::parse(&text).is_ok_and(|url| url.scheme() == "https");
        if https && text.len() <= Self::MAX_CHARS { Ok(Self(text)) } else { Err(InvalidDetail::ImageUrl) }
    }
}

/// What became of the caller's details.
#[derive(Debug)]
pub enum Put {
    /// There was no profile; there is one now.
    Created(Profile),
    /// There was one; this is how it is now.
    Present(Profile),
}

impl Details {
    /// The member that says something else than the token, which is Clerk's word.
    fn contradicted(&self, identity: &Identity) -> Option<&'static str> {
        let email = self.email.as_ref().map(|Email(email)| email.as_str());
        let first_name = self.first_name.as_ref().map(|Name(name)| name.as_str());
        let last_name = self.last_name.as_ref().map(|Name(name)| name.as_str());
        let pairs = [
            ("email", email, identity.email()),
            ("firstName", first_name, identity.first_name()),
            ("lastName", last_name, identity.last_name()),
        ];
        let differ = |said: Option<&str>, claimed: Option<&str>| said.is_some() && claimed.is_some() && said != claimed;
        pairs.into_iter().find(|(_, said, claimed)| differ(*said, *claimed)).map(|(member, _, _)| member)
    }
}

/// The table of profiles. Opens nothing by itself: see [`Profiles::of`].
#[derive(Clone)]
pub struct Profiles {
    client: Client,
    table: String,
}

impl Profiles {
    /// The table named `table` in `database`.
    pub fn new(database: &Database, table: String) -> Self {
        Self { client: database.0.clone(), table }
    }

    /// The profile of the person that `identity` proves to be calling, to read it.
    pub fn of<'a>(&'a self, identity: &'a Identity) -> UserProfile<'a> {
        UserProfile { client: &self.client, table: &self.table, identity }
    }

    /// The same, to write it.
    pub fn of_author<'a>(&'a self, author: &'a Authorized) -> AuthorProfile<'a> {
        AuthorProfile(self.of(author.identity()))
    }

    /// Writes Clerk's snapshot of a user, unless the profile holds the same or a newer one, or was erased. Says whether
    /// it did.
    pub async fn apply_user(&self, user: &User) -> Result<bool, Error> {
        let details = [
            ("email", user.email()),
            ("firstName", user.first_name()),
            ("lastName", user.last_name()),
            ("imageUrl", user.image_url()),
        ];
        let version = Version::of(user.updated_at(), &(details, user.banned(), user.created_at()))?;
        let Assignments { set, remove, values } = assign(&details);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(user.id()))
            .update_expression(format!(
                "SET isActive = if_not_exists(isActive, :active), banned = :banned, createdAt = :created, \
                 clerkVersion = :version{set}{remove}"
            ))
            .condition_expression(format!(
                "{NOT_ERASED} AND (attribute_not_exists(clerkVersion) OR clerkVersion < :version)"
            ))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":banned", AttributeValue::Bool(user.banned()))
            .expression_attribute_values(":created", number(user.created_at()))
            .expression_attribute_values(":version", string(version.to_string()));
        applied(update.send().await)
    }

    /// Marks a user as deleted, for ever. Where there is no profile yet, a mark is left, so that a creation that
    /// arrives late does not bring the person back. Says whether this changed anything.
    pub async fn apply_deletion(&self, user: &DeletedUser) -> Result<bool, Error> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(user.id()))
            .update_expression("SET isActive = :active, deletedAt = :at")
            .condition_expression("attribute_not_exists(deletedAt) OR deletedAt > :at")
            .expression_attribute_values(":active", AttributeValue::Bool(false))
            .expression_attribute_values(":at", number(user.at()));
        applied(update.send().await)
    }
}

/// One person's profile, to read it. Every operation is one request.
#[derive(Clone, Copy)]
pub struct UserProfile<'a> {
    client: &'a Client,
    table: &'a str,
    identity: &'a Identity,
}

impl UserProfile<'_> {
    /// The profile, if there is one yet. Reads what was written before, always.
    pub async fn get(&self) -> Result<Option<Profile>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(self.table)
            .key("userId", self.key())
            .consistent_read(true)
            .send()
            .await
            .map_err(Error::from_sdk)?;
        output.item.map(Profile::try_from).transpose()
    }

    fn key(&self) -> AttributeValue {
        string(self.identity.user_id())
    }
}

/// One person's profile, to write it.
#[derive(Clone, Copy)]
pub struct AuthorProfile<'a>(UserProfile<'a>);

impl AuthorProfile<'_> {
    /// Creates the profile or brings it up to date, with what the caller says and what the token says. The caller's word
    /// fills only what Clerk has not said yet, and must not contradict the token.
    ///
    /// One request; a second one if a newer token has been used here before.
    pub async fn put(&self, details: &Details) -> Result<Put, Error> {
        let identity = self.0.identity;
        if let Some(member) = details.contradicted(identity) {
            return Err(Error::Contradicted(member));
        }
        let claims = [
            ("claimedEmail", identity.email()),
            ("claimedFirstName", identity.first_name()),
            ("claimedLastName", identity.last_name()),
        ];
        if claims.iter().any(|(_, claim)| claim.is_some()) {
            let version = Version::of(identity.issued_at(), &claims)?;
            if let Some(put) = self.write(details, Some(Claims { claims, version })).await? {
                return Ok(put);
            }
        }
        // Authorized before the deletion, and overtaken by the erasure.
        self.write(details, None).await?.ok_or(Error::AccountInactive)
    }

    /// Writes the caller's register and, if there are any, the claims'. None if newer claims are there, or the profile
    /// was erased.
    async fn write(&self, details: &Details, claims: Option<Claims<'_>>) -> Result<Option<Put>, Error> {
        let UserProfile { client, table, .. } = self.0;
        let Details { email, first_name, last_name, image_url } = details;
        // What the caller leaves away stays, so nothing is removed.
        let Assignments { set, values, .. } = assign(&[
            ("callerEmail", email.as_ref().map(|Email(email)| email.as_str())),
            ("callerFirstName", first_name.as_ref().map(|Name(name)| name.as_str())),
            ("callerLastName", last_name.as_ref().map(|Name(name)| name.as_str())),
            ("callerImageUrl", image_url.as_ref().map(|ImageUrl(url)| url.as_str())),
        ]);
        let mut expression = format!(
            "SET isActive = if_not_exists(isActive, :active), callerCreatedAt = if_not_exists(callerCreatedAt, :now), \
             callerUpdatedAt = :now, creation = if_not_exists(creation, :change){set}"
        );
        let change = Change::new();
        let mut condition = NOT_ERASED.to_owned();
        let mut update = client
            .update_item()
            .table_name(table)
            .key("userId", self.0.key())
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":now", number(now()))
            .expression_attribute_values(":change", string(&change))
            .return_values(ReturnValue::AllNew);
        if let Some(Claims { claims, version }) = claims {
            let Assignments { set, remove, values } = assign(&claims);
            expression = format!("{expression}, claimedVersion = :claimedVersion{set}{remove}");
            condition =
                format!("{condition} AND (attribute_not_exists(claimedVersion) OR claimedVersion <= :claimedVersion)");
            update = update.expression_attribute_values(":claimedVersion", string(version.to_string()));
            for (name, value) in values {
                update = update.expression_attribute_values(name, value);
            }
        }
        match update.update_expression(expression).condition_expression(condition).send().await {
            Ok(output) => {
                let item: Item = item::read(output.attributes)?;
                Ok(Some(if item.made_by(&change) {
                    Put::Created(item.profile())
                } else {
                    Put::Present(item.profile())
                }))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(Error::from_sdk(error)),
            },
        }
    }
}

/// What a token says, and as of when.
struct Claims<'a> {
    claims: [(&'a str, Option<&'a str>); 3],
    version: Version,
}

/// Parts of an update expression that set the details that are there and remove those that are not.
struct Assignments {
    set: String,
    remove: String,
    values: Attributes,
}

fn assign(details: &[(&str, Option<&str>)]) -> Assignments {
    let present = details.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let (set, values) =
        present.map(|(name, value)| (format!(", {name} = :{name}"), (format!(":{name}"), string(value)))).unzip();
    let absent: Vec<_> = details.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    let remove = if absent.is_empty() { String::new() } else { format!(" REMOVE {}", absent.join(", ")) };
    Assignments { set, remove, values }
}
