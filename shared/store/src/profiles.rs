//! Profiles: partition key `userId`.
//!
//! An item holds what Clerk or, before Clerk's first webhook, the caller said of a person, and:
//! - `clerkUpdatedAt`: the time of Clerk's newest snapshot in it. While it is missing, Clerk has said nothing.
//! - `isActive`: false from the deletion on. No snapshot ever sets it back.
//! - `banned`: part of the snapshot; it comes and goes with Clerk.
//! - `deletedAt`: when the deletion was announced.
//! - `revision`: how often the caller wrote it, which tells a creation from a change.
//!
//! Snapshots are a last-writer-wins register by `clerkUpdatedAt`; a deletion is a flag that is only ever raised. The two
//! do not touch each other's attributes, so any order of events leads to the same item.

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use clerk_auth::{DeletedUser, Identity, User};
use serde::{Deserialize, Serialize};

use crate::{
    Authorized, Database, Error,
    item::{self, Attributes, applied, now, number, string},
};

/// A person's profile, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Clerk's id of the user.
    #[serde(rename(deserialize = "userId"))]
    pub id: String,
    /// The primary e-mail address.
    pub email: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// Where the picture is.
    pub image_url: Option<String>,
    /// Milliseconds since the epoch: when the account was made, or, before Clerk has told, the profile.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub updated_at: u64,
    /// False once the account is deleted, and while it is banned.
    pub is_active: bool,
}

/// A profile as it is stored.
#[derive(Deserialize)]
struct Stored {
    #[serde(flatten)]
    profile: Profile,
    #[serde(default)]
    banned: bool,
}

impl From<Stored> for Profile {
    fn from(Stored { profile, banned }: Stored) -> Self {
        let is_active = profile.is_active && !banned;
        Self { is_active, ..profile }
    }
}

/// What the caller says of themselves. What is left away stays as it is.
#[derive(Debug, Default, Deserialize)]
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
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
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
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
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
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
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

    /// Writes Clerk's snapshot of a user, unless the profile holds the same or a newer one. Says whether it did.
    pub async fn apply_user(&self, user: &User) -> Result<bool, Error> {
        let details = [
            ("email", user.email()),
            ("firstName", user.first_name()),
            ("lastName", user.last_name()),
            ("imageUrl", user.image_url()),
        ];
        // A snapshot is the whole of what Clerk says: what it leaves out is no longer so.
        let absent: Vec<_> = details.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        let remove = if absent.is_empty() { String::new() } else { format!(" REMOVE {}", absent.join(", ")) };
        let (assignments, values) = assign(details);
        let expression = format!(
            "SET isActive = if_not_exists(isActive, :active), createdAt = :created, \
             updatedAt = if_not_exists(deletedAt, :updated), clerkUpdatedAt = :updated, \
             banned = :banned{assignments}{remove}"
        );
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(user.id()))
            .update_expression(expression)
            .condition_expression("attribute_not_exists(clerkUpdatedAt) OR clerkUpdatedAt < :updated")
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":banned", AttributeValue::Bool(user.banned()))
            .expression_attribute_values(":created", number(user.created_at()))
            .expression_attribute_values(":updated", number(user.updated_at()));
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
            .update_expression(
                "SET isActive = :active, createdAt = if_not_exists(createdAt, :at), updatedAt = :at, deletedAt = :at",
            )
            .condition_expression("attribute_not_exists(deletedAt)")
            .expression_attribute_values(":active", AttributeValue::Bool(false))
            .expression_attribute_values(":at", number(user.at()));
        applied(update.send().await)
    }
}

/// One person's profile. Every operation is one request.
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
        Ok(output.item.map(serde_dynamo::from_item::<_, Stored>).transpose()?.map(Profile::from))
    }

    fn key(&self) -> AttributeValue {
        string(self.identity.user_id())
    }
}

/// One person's profile, to write it. Every operation is one request.
#[derive(Clone, Copy)]
pub struct AuthorProfile<'a>(UserProfile<'a>);

impl AuthorProfile<'_> {
    /// Creates the profile or brings it up to date, until Clerk itself has told of the person: from then on Clerk's
    /// word stands and this changes nothing. What the verified token says goes before what `details` say.
    pub async fn put(&self, details: &Details) -> Result<Put, Error> {
        let UserProfile { client, table, identity } = &self.0;
        let Details { email, first_name, last_name, image_url } = details;
        let (assignments, values) = assign([
            ("email", identity.email().or(email.as_ref().map(|Email(email)| email.as_str()))),
            ("firstName", identity.first_name().or(first_name.as_ref().map(|Name(name)| name.as_str()))),
            ("lastName", identity.last_name().or(last_name.as_ref().map(|Name(name)| name.as_str()))),
            ("imageUrl", image_url.as_ref().map(|ImageUrl(url)| url.as_str())),
        ]);
        let expression = format!(
            "SET isActive = if_not_exists(isActive, :active), createdAt = if_not_exists(createdAt, :now), \
             updatedAt = :now{assignments} ADD revision :one"
        );
        let output = client
            .update_item()
            .table_name(*table)
            .key("userId", self.0.key())
            .update_expression(expression)
            .condition_expression("attribute_not_exists(clerkUpdatedAt) AND attribute_not_exists(deletedAt)")
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":now", number(now()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match output {
            Ok(output) => {
                let profile = item::read::<Stored>(output.attributes())?.into();
                let revision = output.attributes().and_then(|item| item.get("revision"));
                let created = revision == Some(&number(1));
                Ok(if created { Put::Created(profile) } else { Put::Present(profile) })
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                    Ok(Put::Present(item::read::<Stored>(failure.item())?.into()))
                }
                _ => Err(Error::from_sdk(error)),
            },
        }
    }
}

/// What an update expression says to set the `details` that are there, and the values it names.
fn assign(details: [(&str, Option<&str>); 4]) -> (String, Attributes) {
    let present = details.into_iter().filter_map(|(name, value)| Some((name, value?)));
    present.map(|(name, value)| (format!(", {name} = :{name}"), (format!(":{name}"), string(value)))).unzip()
}
