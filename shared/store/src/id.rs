use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A `UUIDv7` (RFC 9562, section 5.7). Its time comes from the client's clock, so lists are not sorted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(pub(crate) Uuid);

/// The text is not a `UUIDv7`.
#[derive(Debug, thiserror::Error)]
#[error("it must be a UUIDv7, such as {}", Id::EXAMPLE)]
pub struct InvalidId;

impl Id {
    /// An id in its text form.
    pub const EXAMPLE: &'static str = "01890a5d-ac96-774b-bcce-b302099a8057";

    /// An id that sorts after all earlier ones of this process.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub(crate) fn from_uuid(id: Uuid) -> Option<Self> {
        (id.get_version_num() == 7).then_some(Self(id))
    }
}

impl Default for Id {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const HYPHENATED: usize = 36;
        let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
        (text.len() == HYPHENATED).then_some(id).and_then(Self::from_uuid).ok_or(InvalidId)
    }
}

impl TryFrom<String> for Id {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
