//! Chats: partition key `userId`, sort key `chatId`; listed by `listPosition`, newest created first.

use std::collections::HashMap;

use aws_sdk_dynamodb::{Client, operation::update_item::builders::UpdateItemFluentBuilder};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::Identity;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Authorized, Database, Error, Id,
    item::{self, Attributes, now, number, string},
    write::{self, Outcome, Position, Precondition, existing},
};

/// The index that lists are read from: a user's chats by position.
const INDEX: &str = "newest";

/// A chat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    /// Its id, which is the sort key as well.
    #[serde(rename(deserialize = "chatId"))]
    #[schema(rename = "id")]
    pub id: Id,
    /// What the person called it.
    pub title: Title,
    /// Milliseconds since the epoch.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub updated_at: u64,
    /// 1 at creation, one more with each change.
    pub version: u64,
}

impl Chat {
    /// What of an item is a chat's.
    const ATTRIBUTES: &str = "chatId, title, createdAt, updatedAt, version";

    /// What a deletion removes.
    const CONTENT: &str = "title, createdAt, updatedAt, fingerprint";
}

/// A chat from an item that was read by other means than [`Chats`].
impl TryFrom<Attributes> for Chat {
    type Error = Error;

    fn try_from(item: Attributes) -> Result<Self, Error> {
        item::read(Some(item))
    }
}

/// What a chat is created with.
#[derive(Serialize)]
struct Content<'a> {
    title: &'a Title,
}

/// A chat's title: trimmed, 1 to 200 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$", example = "Plans")]
pub struct Title(String);

/// The text is not a title.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTitle {
    /// Nothing is left after trimming.
    #[error("a title has at least one character that is not white space")]
    Empty,
    /// It is too long.
    #[error("a title has at most {} characters", Title::MAX_CHARS)]
    TooLong,
    /// It holds a line break, a tab, a NUL or the like.
    #[error("a title has no control characters, such as line breaks or tabs")]
    Control,
}

impl Title {
    /// In Unicode scalar values.
    pub const MAX_CHARS: usize = 200;
}

impl TryFrom<String> for Title {
    type Error = InvalidTitle;

    fn try_from(text: String) -> Result<Self, InvalidTitle> {
        let title = text.trim();
        if title.is_empty() {
            Err(InvalidTitle::Empty)
        } else if title.chars().count() > Self::MAX_CHARS {
            Err(InvalidTitle::TooLong)
        } else if title.chars().any(char::is_control) {
            Err(InvalidTitle::Control)
        } else {
            Ok(Self(title.to_owned()))
        }
    }
}

/// What a creation asks for.
#[derive(Debug)]
pub struct NewChat {
    /// The caller's own id, so that the creation can be sent again.
    pub id: Option<Id>,
    /// Its title.
    pub title: Title,
}

/// What became of a creation.
#[derive(Debug)]
pub enum Created {
    /// The chat is new.
    New(Chat),
    /// The same creation had been made before; this is the chat as it is now.
    Already(Chat),
}

/// How many chats a page holds at most: 1 to 100.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = u8, minimum = 1, maximum = 100, default = 50)]
pub struct Limit(u8);

/// The text is not a page size.
#[derive(Debug, thiserror::Error)]
#[error("limit is a number from 1 to {}", Limit::MAX)]
pub struct InvalidLimit;

impl Limit {
    /// The largest page.
    pub const MAX: u8 = 100;
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<String> for Limit {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        let number = text.parse().ok().filter(|number| (1..=Self::MAX).contains(number));
        number.map(Self).ok_or(InvalidLimit)
    }
}

/// Some of a person's chats, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// The chats, newest created first.
    pub chats: Vec<Chat>,
    /// Where the next page begins; none if this is the last.
    #[schema(required)]
    pub cursor: Option<Cursor>,
}

/// A place in a list, opaque to clients.
///
/// It is base64url of a version byte and the position of the last chat seen: its `createdAt` and id. It names no
/// partition, which always comes from the identity, so one user's cursor opens nothing of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, description = "A place in a list, opaque: only an answer's `cursor` is one.")]
pub struct Cursor(Position);

/// The text is not a cursor of this version.
#[derive(Debug, thiserror::Error)]
#[error("Invalid cursor. Omit it to start from the newest item")]
pub struct InvalidCursor;

impl Cursor {
    const VERSION: u8 = 2;
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let [Self::VERSION, position @ ..] = bytes.as_slice() else { return Err(InvalidCursor) };
        let (created_at, id) = position.split_first_chunk().ok_or(InvalidCursor)?;
        let created_at = u64::from_be_bytes(*created_at);
        let id = Uuid::from_slice(id).ok().and_then(Id::from_uuid).ok_or(InvalidCursor)?;
        (created_at <= Position::MAX_CREATED_AT).then_some(Self(Position { created_at, id })).ok_or(InvalidCursor)
    }
}

impl From<Cursor> for String {
    fn from(Cursor(Position { created_at, id: Id(id) }): Cursor) -> Self {
        let mut bytes = vec![Cursor::VERSION];
        bytes.extend_from_slice(&created_at.to_be_bytes());
        bytes.extend_from_slice(id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The table of chats. Opens nothing by itself: see [`Chats::of`].
#[derive(Clone)]
pub struct Chats {
    client: Client,
    table: String,
}

impl Chats {
    /// The table named `table` in `database`.
    pub fn new(database: &Database, table: String) -> Self {
        Self { client: database.0.clone(), table }
    }

    /// The chats of the person that `identity` proves to be calling, to read them.
    pub fn of<'a>(&'a self, identity: &'a Identity) -> UserChats<'a> {
        UserChats { client: &self.client, table: &self.table, user_id: identity.user_id() }
    }

    /// The same, to write them.
    pub fn of_author<'a>(&'a self, author: &'a Authorized) -> AuthorChats<'a> {
        AuthorChats(self.of(author.identity()))
    }
}

/// One person's chats, to read them. Every operation is one request, within that person's partition.
#[derive(Clone, Copy)]
pub struct UserChats<'a> {
    client: &'a Client,
    table: &'a str,
    user_id: &'a str,
}

impl UserChats<'_> {
    /// The chats from `cursor` on, newest created first. Reads what was written before, always.
    pub async fn list(&self, Limit(limit): Limit, cursor: Option<Cursor>) -> Result<Page, Error> {
        let output = self
            .client
            .query()
            .table_name(self.table)
            .index_name(INDEX)
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", string(self.user_id))
            .projection_expression(Chat::ATTRIBUTES)
            .set_exclusive_start_key(cursor.map(|Cursor(position)| self.index_key(position)))
            .scan_index_forward(false)
            .consistent_read(true)
            // One more than asked for: whether it is there tells whether another page is.
            .limit(i32::from(limit) + 1)
            .send()
            .await
            .map_err(Error::from_sdk)?;
        // Should DynamoDB's own limit of 1 MB cut the page short, it says so with a last key.
        let cut_short = output.last_evaluated_key.is_some();
        let mut chats: Vec<Chat> = serde_dynamo::from_items(output.items.unwrap_or_default())?;
        let more = cut_short || chats.len() > usize::from(limit);
        chats.truncate(limit.into());
        let last = chats.last().filter(|_| more);
        let cursor = last.map(|&Chat { created_at, id, .. }| Cursor(Position { created_at, id }));
        Ok(Page { chats, cursor })
    }

    /// One chat, if the person has it.
    pub async fn get(&self, id: Id) -> Result<Option<Chat>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(self.table)
            .set_key(Some(self.key(id)))
            .projection_expression(format!("{}, listPosition", Chat::ATTRIBUTES))
            .consistent_read(true)
            .send()
            .await
            .map_err(Error::from_sdk)?;
        Ok(existing(output.item).map(serde_dynamo::from_item).transpose()?)
    }

    fn key(&self, id: Id) -> Attributes {
        HashMap::from([("userId".to_owned(), string(self.user_id)), ("chatId".to_owned(), string(id))])
    }

    fn index_key(&self, position: Position) -> Attributes {
        let mut key = self.key(position.id);
        key.insert("listPosition".to_owned(), string(position.to_string()));
        key
    }

    fn update(&self, id: Id) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(self.table).set_key(Some(self.key(id)))
    }
}

/// One person's chats, to write them. Every operation is one request, within that person's partition, and takes effect
/// at most once however often the SDK sends it (see [`write`]). One that took effect is answered with the state that it
/// produced, also where the first response was lost and the chat has changed since.
#[derive(Clone, Copy)]
pub struct AuthorChats<'a>(UserChats<'a>);

impl AuthorChats<'_> {
    /// Creates a chat; a creation that is sent again, with the same id and title, creates nothing.
    pub async fn create(&self, NewChat { id, title }: NewChat) -> Result<Created, Error> {
        let (id, created_at) = (id.unwrap_or_default(), now());
        let fingerprint = write::fingerprint(id, &Content { title: &title })?;
        let update = self
            .0
            .update(id)
            .expression_attribute_values(":title", string(&title.0))
            .expression_attribute_values(":now", number(created_at))
            .expression_attribute_values(":fingerprint", string(&fingerprint));
        let assignments = "title = :title, createdAt = :now, updatedAt = :now, fingerprint = :fingerprint";
        match write::create(update, Position { created_at, id }, assignments).await? {
            Outcome::Applied { version, .. } => {
                Ok(Created::New(Chat { id, title, created_at, updated_at: created_at, version }))
            }
            Outcome::Unmet(present) => {
                let is_same = present.as_ref().and_then(|item| item.get("fingerprint")) == Some(&string(fingerprint));
                if is_same { Ok(Created::Already(item::read(present)?)) } else { Err(Error::Taken) }
            }
        }
    }

    /// Gives a chat another title.
    pub async fn rename(&self, id: Id, title: Title, precondition: &Precondition) -> Result<Chat, Error> {
        let now = now();
        let update = self
            .0
            .update(id)
            .expression_attribute_values(":title", string(&title.0))
            .expression_attribute_values(":now", number(now));
        match write::change(update, precondition, "title = :title, updatedAt = :now").await? {
            Outcome::Applied { version, item: Some(item) } => {
                Ok(Chat { title, updated_at: now, version, ..item::read(Some(item))? })
            }
            Outcome::Applied { item: None, .. } => Err(Error::NotFound),
            Outcome::Unmet(present) => Err(unmet(present)),
        }
    }

    /// Deletes a chat.
    pub async fn delete(&self, id: Id, precondition: &Precondition) -> Result<(), Error> {
        match write::delete(self.0.update(id), precondition, Chat::CONTENT).await? {
            Outcome::Applied { .. } => Ok(()),
            Outcome::Unmet(present) => Err(unmet(present)),
        }
    }
}

/// Why a precondition does not hold.
fn unmet(present: Option<Attributes>) -> Error {
    match present.map(|item| item::read::<Chat>(Some(item))) {
        None => Error::NotFound,
        Some(Ok(chat)) => Error::Changed { current: chat.version },
        Some(Err(error)) => error,
    }
}
