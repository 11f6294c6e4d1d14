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
//! version is the time of the content, then the time at which Clerk announced it, then a fingerprint of it, so that of any
//! two one is above the other. Whatever the order of writes, and however often each is made, the highest version remains.
//!
//! A deletion is a flag that is only ever raised: `isActive` becomes false, and nothing sets it back; of several
//! `deletedAt` the earliest remains. `deletionReceivedAt` is when the first of them was received: from then on no call is
//! let in, so the erasure waits from that time on.
//!
//! An erasure comes once a deletion has stood for a while: an operator's command replaces the item with a bare tombstone,
//! `userId`, `isActive`, `deletedAt`, `deletionReceivedAt` and `erasedAt`. Where `erasedAt` is, the registers stay empty whatever still
//! arrives, so that an event that is late or sent again does not bring back what was erased.
//!
//! What is shown is worked out on reading ([`Item::profile`]): of each detail the newest that Clerk vouched for, and the
//! caller's word only where Clerk has said nothing yet. As the registers do not depend on the order of events, neither
//! does the profile.
//!
//! Every source's values are kept in the same form: trimmed, without characters that break lines or reorder text, the
//! picture's URL as its parser serializes it. A value of which nothing is left counts as missing. Items of earlier
//! releases hold values in other forms, so they are read in the same way.

use aws_lc_rs::digest;
use aws_sdk_dynamodb::{
    Client,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{DeletedUser, Identity, User};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, Type},
    },
};

use crate::{
    Authorized, Database, Error,
    item::{self, Attributes, Change, applied, now, number, string},
    write::{self, NOT_REMEMBERED, REMEMBER},
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
    /// Versions of earlier releases have a `-` and no second time. They sort below every `.` of the same time: which of
    /// them was announced later is not known, and the newer event is at hand.
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
        let newest = |clean: Clean, told: Option<String>, claimed: Option<String>, caller: Option<String>| {
            let [told, claimed, caller] = [told, claimed, caller].map(|value| clean(&value?));
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
            email: newest(clean_email, self.email, self.claimed_email, self.caller_email),
            first_name: newest(clean_name, self.first_name, self.claimed_first_name, self.caller_first_name),
            last_name: newest(clean_name, self.last_name, self.claimed_last_name, self.caller_last_name),
            image_url: newest(clean_image_url, self.image_url, None, self.caller_image_url),
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

/// What the caller says of themselves. What is omitted or blank stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ProfileChange)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Details {
    /// An e-mail address.
    #[serde(default, deserialize_with = "unless_blank")]
    pub email: Option<Email>,
    /// A first name.
    #[serde(default, deserialize_with = "unless_blank")]
    pub first_name: Option<Name>,
    /// A last name.
    #[serde(default, deserialize_with = "unless_blank")]
    pub last_name: Option<Name>,
    /// Where the picture is.
    #[serde(default, deserialize_with = "unless_blank")]
    pub image_url: Option<ImageUrl>,
}

/// A detail is not what its member is for.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDetail {
    /// Not an address.
    #[error("an e-mail address is like ada@example.com, with at most {} characters", Email::MAX_CHARS)]
    Email,
    /// Not a name.
    #[error("a name has at most {} characters, none of them a control character or invisible", Name::MAX_CHARS)]
    Name,
    /// Not the address of a picture.
    #[error("an image's URL begins with https:// and has at most {} characters", ImageUrl::MAX_CHARS)]
    ImageUrl,
}

/// An e-mail address, by its form alone: only Clerk knows whether it is the person's.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, max_length = 254, pattern = r"^(?: *[^\s\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]+@[^@\s\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]+)? *$", example = "ada@example.com")]
pub struct Email(String);

impl Email {
    /// RFC 5321, section 4.5.3.1.3, less the angle brackets.
    pub const MAX_CHARS: usize = 254;
}

impl TryFrom<&str> for Email {
    type Error = InvalidDetail;

    fn try_from(text: &str) -> Result<Self, InvalidDetail> {
        clean_email(text).map(Self).ok_or(InvalidDetail::Email)
    }
}

/// A first or last name, trimmed.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]*$", example = "Ada")]
pub struct Name(String);

impl Name {
    /// In Unicode scalar values.
    pub const MAX_CHARS: usize = 200;
}

impl TryFrom<&str> for Name {
    type Error = InvalidDetail;

    fn try_from(text: &str) -> Result<Self, InvalidDetail> {
        // A caller is told what is wrong; nothing is mended.
        clean_name(text).filter(|name| name == trim(text)).map(Self).ok_or(InvalidDetail::Name)
    }
}

/// Where a picture is. Only `https`: front ends put it into pages as it is, so `javascript:` must not get in.
#[derive(Debug)]
pub struct ImageUrl(String);

impl ImageUrl {
    /// Longer ones are not handled by every browser and proxy.
    pub const MAX_CHARS: usize = 2048;
}

/// Written by hand, since an empty text, which counts as missing, is not a URI.
impl PartialSchema for ImageUrl {
    fn schema() -> RefOr<Schema> {
        let uri = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uri".to_owned())));
        let uri = uri.max_length(Some(Self::MAX_CHARS)).examples(["https://example.com/ada.png"]);
        let blank = ObjectBuilder::new().schema_type(Type::String).max_length(Some(0));
        AnyOfBuilder::new().item(uri).item(blank).description(Some("Where a picture is, by https alone.")).into()
    }
}

impl ToSchema for ImageUrl {}

impl TryFrom<&str> for ImageUrl {
    type Error = InvalidDetail;

    fn try_from(text: &str) -> Result<Self, InvalidDetail> {
        clean_image_url(text).map(Self).ok_or(InvalidDetail::ImageUrl)
    }
}

/// A detail that the caller sent. A blank one counts as missing, as it does in Clerk's events and tokens.
fn unless_blank<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> TryFrom<&'a str, Error = InvalidDetail>,
{
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if trim(&text).is_empty() { Ok(None) } else { T::try_from(&text).map(Some).map_err(D::Error::custom) }
}

/// Brings a detail into the one form in which it is kept and shown, whichever source it is from. None if nothing usable
/// is left.
type Clean = fn(&str) -> Option<String>;

fn clean_email(text: &str) -> Option<String> {
    let email = trim(text);
    let plain = !email.chars().any(|char| breaks_text(char) || char.is_whitespace());
    let parts = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    (plain && parts && email.chars().count() <= Email::MAX_CHARS).then(|| email.to_owned())
}

/// Clerk takes names that are refused here. They are mended and cut, so that no event fails for them.
fn clean_name(text: &str) -> Option<String> {
    let safe = |char: char| if breaks_text(char) { char.is_whitespace().then_some(' ') } else { Some(char) };
    let name: String = trim(text).chars().filter_map(safe).take(Name::MAX_CHARS).collect();
    Some(trim(&name).to_owned()).filter(|name| !name.is_empty())
}

/// The parser reads past line breaks and quotes that a page would stumble over, so its serialization is kept.
fn clean_image_url(text: &str) -> Option<String> {
    let url = url::Url::parse(trim(text)).ok().filter(|url| url.scheme() == "https")?;
    Some(String::from(url)).filter(|url| url.len() <= ImageUrl::MAX_CHARS)
}

/// Removes white space around a text, and what is invisible by itself before it: joiners and variation selectors.
fn trim(text: &str) -> &str {
    let invisible = |char| matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    text.trim_start_matches(|char: char| char.is_whitespace() || invisible(char)).trim_end()
}

/// Whether a character has no place in one line of text: controls and line breaks; what reorders the text around it; and
/// what is invisible, except for the joiners and selectors that emoji and several scripts are written with.
fn breaks_text(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}')
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
    fn contradicted(&self, claims: &Claims) -> Option<&'static str> {
        let Self { email, first_name, last_name, image_url: _ } = self;
        let pairs = [
            ("email", email.as_ref().map(|Email(email)| email), &claims.email),
            ("firstName", first_name.as_ref().map(|Name(name)| name), &claims.first_name),
            ("lastName", last_name.as_ref().map(|Name(name)| name), &claims.last_name),
        ];
        let differ = |(_, said, claimed): &(_, Option<&String>, &Option<String>)| {
            said.zip(claimed.as_ref()).is_some_and(|(said, claimed)| said != claimed)
        };
        pairs.into_iter().find(differ).map(|(member, _, _)| member)
    }
}

/// What a token says of its user.
struct Claims {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl From<&Identity> for Claims {
    fn from(identity: &Identity) -> Self {
        Self {
            email: identity.email().and_then(clean_email),
            first_name: identity.first_name().and_then(clean_name),
            last_name: identity.last_name().and_then(clean_name),
        }
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

    /// Writes Clerk's snapshot of a user, unless the profile holds the same or a newer one, or was erased. Returns whether
    /// this changed anything but the version.
    pub async fn apply_user(&self, user: &User) -> Result<bool, Error> {
        let details = [
            ("email", user.email().and_then(clean_email)),
            ("firstName", user.first_name().and_then(clean_name)),
            ("lastName", user.last_name().and_then(clean_name)),
            ("imageUrl", user.image_url().and_then(clean_image_url)),
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
        Ok(applied(update.send().await)?.is_some_and(differs))
    }

    /// Marks a user as deleted, for ever. Where there is no profile yet, a mark is left, so that a creation that
    /// arrives late does not bring the person back. Returns whether this changed anything.
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
        Ok(applied(update.send().await)?.is_some())
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
        let claims = Claims::from(identity);
        if let Some(member) = details.contradicted(&claims) {
            return Err(Error::Contradicted(member));
        }
        let claims = [
            ("claimedEmail", claims.email),
            ("claimedFirstName", claims.first_name),
            ("claimedLastName", claims.last_name),
        ];
        if claims.iter().any(|(_, claim)| claim.is_some()) {
            // A token has one time only.
            let version = Version::new(identity.issued_at(), 0, &claims)?;
            let claims = claims.map(|(name, claim)| (name, claim.map(string)));
            if let Some(put) = self.write(details, Some((&claims, version))).await? {
                return Ok(put);
            }
        }
        // Authorized before the deletion, and overtaken by the erasure.
        self.write(details, None).await?.ok_or(Error::AccountInactive)
    }

    /// Writes the caller's register and, if there are any, the claims'. None if newer claims are there, or the profile
    /// was erased.
    async fn write(&self, details: &Details, claims: Option<(&[Detail], Version)>) -> Result<Option<Put>, Error> {
        let UserProfile { client, table, .. } = self.0;
        let Details { email, first_name, last_name, image_url } = details;
        // What the caller omits stays, so nothing is removed.
        let Assignments { set, values, .. } = assign(&[
            ("callerEmail", email.as_ref().map(|Email(email)| string(email))),
            ("callerFirstName", first_name.as_ref().map(|Name(name)| string(name))),
            ("callerLastName", last_name.as_ref().map(|Name(name)| string(name))),
            ("callerImageUrl", image_url.as_ref().map(|ImageUrl(url)| string(url))),
        ]);
        let mut expression = format!(
            "SET isActive = if_not_exists(isActive, :active), callerCreatedAt = if_not_exists(callerCreatedAt, :now), \
             callerUpdatedAt = :now, creation = if_not_exists(creation, :write), {REMEMBER}{set}"
        );
        let change = Change::new();
        let mut condition = format!("{NOT_ERASED} AND {NOT_REMEMBERED}");
        let mut update = client
            .update_item()
            .table_name(table)
            .key("userId", self.0.key())
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":active", AttributeValue::Bool(true))
            .expression_attribute_values(":now", number(now()))
            .expression_attribute_values(":write", string(&change))
            .expression_attribute_values(":none", string(""))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some((claims, version)) = claims {
            let Assignments { set, remove, values } = assign(claims);
            expression = format!("{expression}, claimedVersion = :claimedVersion{set}{remove}");
            condition =
                format!("{condition} AND (attribute_not_exists(claimedVersion) OR claimedVersion <= :claimedVersion)");
            update = update.expression_attribute_values(":claimedVersion", string(version.text));
            for (name, value) in values {
                update = update.expression_attribute_values(name, value);
            }
        }
        let item = match update.update_expression(expression).condition_expression(condition).send().await {
            Ok(output) => output.attributes.unwrap_or_default(),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                    let item = failure.item().cloned().unwrap_or_default();
                    // An earlier attempt took effect. What others wrote since then stays.
                    if write::later_writes(&item, &change)?.is_none() {
                        return Ok(None);
                    }
                    item
                }
                _ => return Err(Error::from_sdk(error)),
            },
        };
        let item: Item = item::read(Some(item))?;
        let put = if item.made_by(&change) { Put::Created } else { Put::Present };
        Ok(Some(put(item.profile())))
    }
}

/// An attribute's name and its value, or that it has none.
type Detail = (&'static str, Option<AttributeValue>);

/// Parts of an update expression that set the details that are there and remove those that are not.
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
