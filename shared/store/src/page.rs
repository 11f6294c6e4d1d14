//! Lists in pages, newest created first.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Id, Item, write::Position};

/// The largest number of items in a page: 1 to 100.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(pub(crate) u8);

/// The text is not a page size.
#[derive(Debug, thiserror::Error)]
#[error("it must be a number from 1 to {}", Limit::MAX)]
pub struct InvalidLimit;

impl Limit {
    /// The largest limit.
    pub const MAX: u8 = 100;
    /// The limit of a list without one.
    pub const DEFAULT: u8 = 50;
}

impl Default for Limit {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

impl TryFrom<String> for Limit {
    type Error = InvalidLimit;

    fn try_from(text: String) -> Result<Self, InvalidLimit> {
        let number = text.parse().ok().filter(|number| (1..=Self::MAX).contains(number));
        number.map(Self).ok_or(InvalidLimit)
    }
}

/// Some of a user's items, newest created first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// Newest created first.
    pub items: Vec<Item<R>>,
    /// Where the next page begins; none if this is the last.
    pub cursor: Option<Cursor>,
}

/// A place in a list, opaque to clients.
///
/// It is base64url of a version byte and the position of the last item of a page: its `createdAt` and id, and its parents'
/// ids, if the list has items of several parents. It names no partition, which always comes from the identity, so a
/// cursor of another user gives access to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    pub(crate) position: Position,
    pub(crate) parents: Vec<Id>,
}

/// The text is not a cursor of this version.
#[derive(Debug, thiserror::Error)]
#[error("it is not a cursor of this API. Omit it to start from the newest item")]
pub struct InvalidCursor;

impl Cursor {
    const VERSION: u8 = 2;
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let [Self::VERSION, position @ ..] = bytes.as_slice() else { return Err(InvalidCursor) };
        let (created_at, ids) = position.split_first_chunk().ok_or(InvalidCursor)?;
        let created_at = u64::from_be_bytes(*created_at);
        let id = |bytes| Uuid::from_slice(bytes).ok().and_then(Id::from_uuid).ok_or(InvalidCursor);
        let mut ids = ids.chunks(size_of::<Uuid>()).map(id);
        let id = ids.next().ok_or(InvalidCursor)??;
        let parents = ids.collect::<Result<_, _>>()?;
        let is_time = created_at <= Position::MAX_CREATED_AT;
        is_time.then_some(Self { position: Position { created_at, id }, parents }).ok_or(InvalidCursor)
    }
}

impl From<Cursor> for String {
    fn from(Cursor { position: Position { created_at, id }, parents }: Cursor) -> Self {
        let mut bytes = vec![Cursor::VERSION];
        bytes.extend_from_slice(&created_at.to_be_bytes());
        for Id(id) in std::iter::once(id).chain(parents) {
            bytes.extend_from_slice(id.as_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}
