//! Chats: partition key `userId`, sort key `chatId`.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    operation::{delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::Identity;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Authorized, Database, Error, Id,
    item::{self, Attempts, Attributes, Change, now, number, string},
};

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
}

/// What an item holds besides, by which a write that is sent again is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    /// The title it was created with, kept from the first renaming on.
    created_title: Option<Title>,
    /// The change that led to this version.
    change: Change,
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

/// A place in a list, opaque to callers.
///
/// It is base64url of a version byte and the id of the last chat seen. It names no partition: that always comes from
/// the identity, so a cursor made by one person is of no use to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, description = "A place in a list, opaque: only an answer's `cursor` is one.")]
pub struct Cursor(Id);

/// The text is not a cursor of this version.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one that this API gave out; leave it away to begin at the newest")]
pub struct InvalidCursor;

impl Cursor {
    const VERSION: u8 = 1;
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let [Self::VERSION, id @ ..] = bytes.as_slice() else { return Err(InvalidCursor) };
        let id = Uuid::from_slice(id).map_err(|_| InvalidCursor)?;
        Ok(Self(Id(id)))
    }
}

impl From<Cursor> for String {
    fn from(Cursor(Id(id)): Cursor) -> Self {
        let mut bytes = vec![Cursor::VERSION];
        bytes.extend_from_slice(id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// What has to be true of a chat before it is changed (RFC 9110, section 13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// That it exists.
    Exists,
    /// That it is at one of these versions.
    VersionIn(Vec<u64>),
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
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", string(self.user_id))
            .projection_expression(Chat::ATTRIBUTES)
            .set_exclusive_start_key(cursor.map(|Cursor(id)| self.key(id)))
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
        let cursor = chats.last().filter(|_| more).map(|last| Cursor(last.id));
        Ok(Page { chats, cursor })
    }

    /// One chat, if the person has it.
    pub async fn get(&self, id: Id) -> Result<Option<Chat>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(self.table)
            .set_key(Some(self.key(id)))
            .projection_expression(Chat::ATTRIBUTES)
            .consistent_read(true)
            .send()
            .await
            .map_err(Error::from_sdk)?;
        Ok(output.item.map(serde_dynamo::from_item).transpose()?)
    }

    fn key(&self, id: Id) -> Attributes {
        HashMap::from([("userId".to_owned(), string(self.user_id)), ("chatId".to_owned(), string(id))])
    }
}

/// One person's chats, to write them. Every operation is one request, within that person's partition.
#[derive(Clone, Copy)]
pub struct AuthorChats<'a>(UserChats<'a>);

impl AuthorChats<'_> {
    /// Creates a chat; a creation that is sent again, with the same id and title, creates nothing.
    pub async fn create(&self, NewChat { id, title }: NewChat) -> Result<Created, Error> {
        let now = now();
        let chat = Chat { id: id.unwrap_or_default(), title, created_at: now, updated_at: now, version: 1 };
        let change = Change::new();
        let put = self
            .0
            .client
            .put_item()
            .table_name(self.0.table)
            .set_item(Some(self.0.key(chat.id)))
            .item("title", string(&chat.title.0))
            .item("createdAt", number(now))
            .item("updatedAt", number(now))
            .item("version", number(chat.version))
            .item("change", string(&change))
            .condition_expression("attribute_not_exists(chatId)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Created::New(chat)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failure)) => {
                    let marks: Marks = item::read(failure.item().cloned())?;
                    if marks.change == change {
                        return Ok(Created::New(chat));
                    }
                    let present: Chat = item::read(failure.item().cloned())?;
                    if marks.created_title.as_ref().unwrap_or(&present.title) == &chat.title {
                        Ok(Created::Already(present))
                    } else {
                        Err(Error::Taken)
                    }
                }
                _ => Err(Error::from_sdk(error)),
            },
        }
    }

    /// Gives a chat another title.
    pub async fn rename(&self, id: Id, title: Title, precondition: &Precondition) -> Result<Chat, Error> {
        let (condition, versions) = precondition.expression();
        let change = Change::new();
        let update = self
            .0
            .client
            .update_item()
            .table_name(self.0.table)
            .set_key(Some(self.0.key(id)))
            .update_expression(
                "SET createdTitle = if_not_exists(createdTitle, title), title = :title, updatedAt = :now, \
                 change = :change ADD version :one",
            )
            .condition_expression(format!("{condition} AND change <> :change"))
            .set_expression_attribute_values(Some(versions))
            .expression_attribute_values(":title", string(title.0))
            .expression_attribute_values(":change", string(&change))
            .expression_attribute_values(":now", number(now()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match update {
            Ok(output) => item::read(output.attributes),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failure)) => match unmet(failure.item()) {
                    Unmet::By(chat, marks) if marks.change == change => Ok(chat),
                    unmet => Err(unmet.into()),
                },
                _ => Err(Error::from_sdk(error)),
            },
        }
    }

    /// Deletes a chat.
    pub async fn delete(&self, id: Id, precondition: &Precondition) -> Result<(), Error> {
        let (condition, versions) = precondition.expression();
        let attempts = Attempts::default();
        let delete = self
            .0
            .client
            .delete_item()
            .table_name(self.0.table)
            .set_key(Some(self.0.key(id)))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(versions).filter(|versions| !versions.is_empty()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match delete {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(failure)) => match unmet(failure.item()) {
                    // An attempt before this one may have deleted it and lost its answer. It is gone, as was asked.
                    Unmet::ByAbsence if attempts.count() > 1 => Ok(()),
                    unmet => Err(unmet.into()),
                },
                _ => Err(Error::from_sdk(error)),
            },
        }
    }
}

impl Precondition {
    /// A condition expression and the values it names.
    fn expression(&self) -> (String, Attributes) {
        match self {
            Self::Exists => ("attribute_exists(chatId)".to_owned(), HashMap::new()),
            Self::VersionIn(versions) => {
                // Versions begin at 1, so 0 stands for a precondition that nothing can meet.
                let versions = if versions.is_empty() { &[0][..] } else { versions };
                let names: Vec<String> = (0..versions.len()).map(|index| format!(":version{index}")).collect();
                let values = versions.iter().map(|version| number(*version));
                (format!("version IN ({})", names.join(", ")), names.into_iter().zip(values).collect())
            }
        }
    }
}

/// Why a condition failed.
enum Unmet {
    ByAbsence,
    By(Chat, Marks),
    Unknown(Error),
}

/// Why a condition failed, told from the item as it is.
fn unmet(item: Option<&Attributes>) -> Unmet {
    if item.is_none() {
        return Unmet::ByAbsence;
    }
    let read = item::read(item.cloned()).and_then(|chat| Ok(Unmet::By(chat, item::read(item.cloned())?)));
    read.unwrap_or_else(Unmet::Unknown)
}

impl From<Unmet> for Error {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::ByAbsence => Self::NotFound,
            Unmet::By(chat, _) => Self::Changed { current: chat.version },
            Unmet::Unknown(error) => error,
        }
    }
}
