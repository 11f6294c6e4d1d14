//! Profiles: partition key `userId`.
//!
//! A profile has three sources. Each has attributes of its own in the item, which no other source writes:
//!
//! - Clerk's webhooks: `email`, `firstName`, `lastName`, `imageUrl`, `banned`, `createdAt`, and `clerkVersion`. A
//!   snapshot is complete, as of its `updated_at`.
//! - A verified token's claims: `claimedEmail`, `claimedFirstName`, `claimedLastName`, and `claimedVersion`. They are
//!   Clerk-verified as well, as of the token's `iat`, but the token has only the claims that it is customized to have.
//! - The user: `callerEmail`, `callerFirstName`, `callerLastName`, `callerImageUrl`, `callerCreatedAt`,
//!   `callerUpdatedAt`, and `creation`, the id of the user's first write.
//!
//! Clerk's two sources write last-writer-wins registers: a write applies only if its version is above the stored one. A
//! version is the time of the content, then the time at which Clerk announced it, then a fingerprint of it, so any two
//! can be ordered. Whatever the order of writes, and however often each is made, the highest version remains.
//!
//! A deletion is permanent: `isActive` becomes false, and no write sets it back. Of several `deletedAt` the earliest
//! remains. `deletionReceivedAt` is when the first deletion was received. From then on the session check fails, so an
//! erasure waits from that time on.
//!
//! An erasure follows some time after a deletion: an operator's command replaces the item by a bare tombstone, with
//! `userId`, `isActive`, `deletedAt`, `deletionReceivedAt` and `erasedAt`. An item with `erasedAt` accepts no personal
//! details, so an event that is late or repeated does not restore what was erased.
//!
//! The profile is computed on reading ([`Item::profile`]): the newest Clerk-verified value of each member, and the
//! user-supplied one only where Clerk has not reported yet. The registers do not depend on the order of events, so neither
//! does the profile.
//!
//! Values of every source are stored in the same form: trimmed, without characters that break lines or reorder text, the
//! picture's URL as its parser serializes it. If nothing is left of a value, it counts as missing. Items of earlier
//! releases have values in other forms, so reading normalizes them again.

use aws_lc_rs::digest;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{DeletedUser, Identity, User};
use serde::{Deserialize, Serialize};

use crate::{
    Database, Error, ReadSession, WriteSession,
    item::{self, Attributes, ConditionFailure, WriteId, conditional, now, number, string},
    text::{Normalize, normalize_email, normalize_image_url, normalize_name},
    write::{self, IS_NEW_WRITE, SHIFT_WRITE_IDS},
};

/// The condition of every write that holds personal details.
const NOT_ERASED: &str = "attribute_not_exists(erasedAt)";

/// A user's profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Clerk's id of the user.
    pub id: String,
    /// The primary email address.
    pub email: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The picture's URL.
    pub image_url: Option<String>,
    /// When the account was created, or the profile if Clerk has not reported yet. Milliseconds since the epoch.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub updated_at: u64,
    /// False once the account is deleted, and while it is banned.
    pub is_active: bool,
}

/// The version of a register. Sorts as text.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Version {
    text: String,
    /// Milliseconds since the epoch.
    at: u64,
}

impl Version {
    /// As many digits as a number of 64 bits has at most.
    const DIGITS: usize = 20;

    /// The version of `content` as of `at`, which Clerk announced at `announced_at`.
    ///
    /// Versions of earlier releases have a `-` and no second time. They sort below every `.` of the same time, so that
    /// the event that arrives now wins: it is unknown when the earlier one was announced.
    fn new(at: u64, announced_at: u64, content: &impl Serialize) -> Result<Self, Error> {
        let content = serde_json::to_vec(content).map_err(|error| Error::Internal(error.to_string()))?;
        let fingerprint = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &content));
        let digits = Self::DIGITS;
        Ok(Self { text: format!("{at:0digits$}.{announced_at:0digits$}-{fingerprint}"), at })
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let at = text.get(..Self::DIGITS).and_then(|at| at.parse().ok()).ok_or("a version begins with a time")?;
        Ok(Self { text, at })
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
    creation: Option<WriteId>,
}

impl Item {
    /// Whether the user's write `write_id` created the profile.
    fn is_created_by(&self, write_id: &WriteId) -> bool {
        self.creation.as_ref() == Some(write_id) && self.clerk_version.is_none() && self.deleted_at.is_none()
    }

    fn profile(self) -> Profile {
        let reported_at = self.clerk_version.as_ref().map(|version| version.at);
        let claimed_at = self.claimed_version.as_ref().map(|version| version.at);
        let newest =
            |normalize: Normalize, reported: Option<String>, claimed: Option<String>, caller: Option<String>| {
                let [reported, claimed, caller] = [reported, claimed, caller].map(|value| normalize(&value?));
                match claimed.filter(|_| claimed_at > reported_at) {
                    Some(claimed) => Some(claimed),
                    None if reported_at.is_some() => reported,
                    None => caller,
                }
            };
        let verified_at = reported_at.max(claimed_at).max(self.deleted_at);
        let updated_at = if reported_at.is_some() { verified_at } else { verified_at.max(self.caller_updated_at) };
        let created_at = self.created_at.or(self.caller_created_at).or(self.deleted_at);
        Profile {
            id: self.user_id,
            email: newest(normalize_email, self.email, self.claimed_email, self.caller_email),
            first_name: newest(normalize_name, self.first_name, self.claimed_first_name, self.caller_first_name),
            last_name: newest(normalize_name, self.last_name, self.claimed_last_name, self.caller_last_name),
            image_url: newest(normalize_image_url, self.image_url, None, self.caller_image_url),
            created_at: created_at.unwrap_or_default(),
            updated_at: updated_at.unwrap_or_default(),
            is_active: self.is_active.unwrap_or(true) && !self.banned.unwrap_or(false),
        }
    }
}

/// The profile in an item that was read without [`Profiles`].
impl TryFrom<Attributes> for Profile {
    type Error = Error;

    fn try_from(item: Attributes) -> Result<Self, Error> {
        Ok(serde_dynamo::from_item::<_, Item>(item)?.profile())
    }
}

/// User-supplied values. An omitted one stays as it is.
#[derive(Debug, Default)]
pub struct ProfileUpdate {
    /// An email address.
    pub email: Option<String>,
    /// A first name.
    pub first_name: Option<String>,
    /// A last name.
    pub last_name: Option<String>,
    /// A picture's URL.
    pub image_url: Option<String>,
}

/// The outcome of a user's update.
#[derive(Debug)]
pub enum UpsertOutcome {
    /// The profile is new.
    Created(Profile),
    /// The profile existed. This is its current state.
    Updated(Profile),
}

impl ProfileUpdate {
    /// The member that does not match the token's claim, which Clerk has verified.
    fn mismatch(&self, claims: &Claims) -> Option<&'static str> {
        let Self { email, first_name, last_name, image_url: _ } = self;
        let pairs = [
            ("email", email, &claims.email),
            ("firstName", first_name, &claims.first_name),
            ("lastName", last_name, &claims.last_name),
        ];
        let differ = |(_, supplied, claimed): &(_, &Option<String>, &Option<String>)| {
            supplied.as_ref().zip(claimed.as_ref()).is_some_and(|(supplied, claimed)| supplied != claimed)
        };
        pairs.into_iter().find(differ).map(|(member, _, _)| member)
    }
}

/// A token's claims about its user.
struct Claims {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl From<&Identity> for Claims {
    fn from(identity: &Identity) -> Self {
        Self {
            email: identity.email().and_then(normalize_email),
            first_name: identity.first_name().and_then(normalize_name),
            last_name: identity.last_name().and_then(normalize_name),
        }
    }
}

/// The table of profiles. It reads and writes a user's profile only with a session.
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

    /// The profile of the session's user, if there is one. Strongly consistent. One request, which makes the session check
    /// as well, since the profile is the account.
    pub async fn get(&self, session: &ReadSession) -> Result<Option<Profile>, Error> {
        let item = session.accounts.check_and_get_account(session.identity()).await?;
        item.map(Profile::try_from).transpose()
    }

    /// Creates or updates the profile of the session's user, with what the user supplies and what the token claims.
    /// User-supplied values fill only what Clerk has not reported yet, and must match the token's claims.
    ///
    /// One request; a second one if a newer token was used before.
    pub async fn update(&self, session: &WriteSession, update: &ProfileUpdate) -> Result<UpsertOutcome, Error> {
        let identity = session.identity();
        let claims = Claims::from(identity);
        if let Some(member) = update.mismatch(&claims) {
            return Err(Error::ClaimMismatch(member));
        }
        let claims = [
            ("claimedEmail", claims.email),
            ("claimedFirstName", claims.first_name),
            ("claimedLastName", claims.last_name),
        ];
        if claims.iter().any(|(_, claim)| claim.is_some()) {
            // A token has only one time.
            let version = Version::new(identity.issued_at(), 0, &claims)?;
            let claims = claims.map(|(name, claim)| (name, claim.map(string)));
            if let Some(outcome) = self.write(identity, update, Some((&claims, version))).await? {
                return Ok(outcome);
            }
        }
        // The session was checked before the deletion, and an erasure has followed since.
        self.write(identity, update, None).await?.ok_or(Error::AccountInactive)
    }

    /// Writes the user's register and, if there are any, the claims'. None if newer claims are stored, or the profile was
    /// erased.
    async fn write(
        &self,
        identity: &Identity,
        update: &ProfileUpdate,
        claims: Option<(&[Detail], Version)>,
    ) -> Result<Option<UpsertOutcome>, Error> {
        let ProfileUpdate { email, first_name, last_name, image_url } = update;
        let supplied = |normalize: Normalize, value: &Option<String>| value.as_deref().and_then(normalize).map(string);
        // An omitted value stays, so nothing is removed.
        let Assignments { set, values, .. } = assign(&[
            ("callerEmail", supplied(normalize_email, email)),
            ("callerFirstName", supplied(normalize_name, first_name)),
            ("callerLastName", supplied(normalize_name, last_name)),
            ("callerImageUrl", supplied(normalize_image_url, image_url)),
        ]);
        let mut expression = format!(
            "SET isActive = if_not_exists(isActive, :active), callerCreatedAt = if_not_exists(callerCreatedAt, :now), \
             callerUpdatedAt = :now, creation = if_not_exists(creation, :write), {SHIFT_WRITE_IDS}{set}"
        );
        let write_id = WriteId::new();
        let mut condition = format!("{NOT_ERASED} AND {IS_NEW_WRITE}");
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(identity.user_id()))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":now", number(now()))
            .expression_attribute_values(":write", string(&write_id))
            .expression_attribute_values(":none", string(""))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some((claims, version)) = claims {
            let Assignments { set, remove, values } = assign(claims);
            expression = format!("{expression}, claimedVersion = :claimedVersion{set}{remove}");
            condition =
                format!("{condition} AND (attribute_not_exists(claimedVersion) OR claimedVersion <= :claimedVersion)");
            request = request.expression_attribute_values(":claimedVersion", string(version.text));
            for (name, value) in values {
                request = request.expression_attribute_values(name, value);
            }
        }
        let request = request.update_expression(expression).condition_expression(condition);
        let item = match conditional(request.send().await)? {
            Ok(item) => item,
            Err(ConditionFailure { item }) => {
                let item = item.unwrap_or_default();
                // If an earlier attempt took effect, this is its outcome and that of the writes after it.
                if write::later_writes(&item, &write_id)?.is_none() {
                    return Ok(None);
                }
                item
            }
        };
        let item: Item = item::read(item)?;
        let outcome = if item.is_created_by(&write_id) { UpsertOutcome::Created } else { UpsertOutcome::Updated };
        Ok(Some(outcome(item.profile())))
    }

    /// Writes Clerk's snapshot of a user, unless the profile holds the same or a newer one, or was erased. Returns whether
    /// this changed anything but the version.
    pub async fn apply_user(&self, user: &User) -> Result<bool, Error> {
        let details = [
            ("email", user.email().and_then(normalize_email)),
            ("firstName", user.first_name().and_then(normalize_name)),
            ("lastName", user.last_name().and_then(normalize_name)),
            ("imageUrl", user.image_url().and_then(normalize_image_url)),
        ];
        let content = (&details, user.banned(), user.created_at());
        let version = Version::new(user.updated_at(), user.announced_at(), &content)?;
        let snapshot: Vec<_> = details
            .into_iter()
            .map(|(name, value)| (name, value.map(string)))
            .chain([
                ("banned", Some(AttributeValue::Bool(user.banned()))),
                ("createdAt", Some(number(user.created_at()))),
            ])
            .collect();
        let Assignments { set, remove, values } = assign(&snapshot);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(user.id()))
            .update_expression(format!(
                "SET isActive = if_not_exists(isActive, :active), clerkVersion = :version{set}{remove}"
            ))
            .condition_expression(format!(
                "{NOT_ERASED} AND (attribute_not_exists(clerkVersion) OR clerkVersion < :version)"
            ))
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":version", string(version.text))
            .return_values(ReturnValue::AllOld);
        let differs = |before: Attributes| snapshot.iter().any(|(name, value)| before.get(*name) != value.as_ref());
        Ok(conditional(update.send().await)?.is_ok_and(differs))
    }

    /// Marks a user as deleted, permanently, also before there is a profile, so that a `user.created` that arrives late
    /// does not restore the user. Returns whether this changed anything.
    pub async fn apply_deletion(&self, user: &DeletedUser) -> Result<bool, Error> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("userId", string(user.id()))
            .update_expression(
                "SET isActive = :active, deletedAt = :at, deletionReceivedAt = if_not_exists(deletionReceivedAt, :now)",
            )
            .condition_expression("attribute_not_exists(deletedAt) OR deletedAt > :at")
            .expression_attribute_values(":active", AttributeValue::Bool(false))
            .expression_attribute_values(":at", number(user.at()))
            .expression_attribute_values(":now", number(now()));
        Ok(conditional(update.send().await)?.is_ok())
    }
}

/// An attribute's name, and its value unless it is missing.
type Detail = (&'static str, Option<AttributeValue>);

/// Parts of an update expression that set present details and remove missing ones.
struct Assignments {
    set: String,
    remove: String,
    values: Attributes,
}

fn assign(details: &[Detail]) -> Assignments {
    let present = details.iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let (set, values) =
        present.map(|(name, value)| (format!(", {name} = :{name}"), (format!(":{name}"), value))).unzip();
    let absent: Vec<_> = details.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    let remove = if absent.is_empty() { String::new() } else { format!(" REMOVE {}", absent.join(", ")) };
    Assignments { set, remove, values }
}
