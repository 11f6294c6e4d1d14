//! The type that a table stores, and the items of that type.

use std::{borrow::Cow, collections::HashSet};

use serde::{Serialize, de::DeserializeOwned};
use serde_aux::serde_introspection::serde_introspect;
use serde_content::{Data, Serializer, Value};

use crate::{Error, Id};

/// A type of item that each user has a list of. The implementing struct has the members of its own; an [`Item`] adds the
/// id, the times and the version.
///
/// Members are stored by their names, so the struct cannot use `serde(flatten)`. A member that a release adds needs a
/// default (`Option`, or `serde(default)`), since stored items lack it. A member must accept whatever it, or a change of
/// it, serializes to: an item with a value that it rejects is an internal error, also for the list that has the item.
pub trait Resource: Clone + DeserializeOwned + Serialize + Send + Sync + 'static {
    /// The singular name, in camel case, such as `chat`: the sort key is `chatId`.
    const NAME: &'static str;
    /// The plural name, such as `chats`.
    const PLURAL: &'static str;

    /// A change: a struct with some of the resource's members. An `Option` that is `None` leaves its member as it is; an
    /// `Option<Option<_>>` that is `Some(None)` removes it.
    type Update: DeserializeOwned + Serialize + Send + 'static;

    /// The attribute that `member` is stored in. It lets a member be renamed while stored items keep their attribute.
    fn attribute(member: &'static str) -> &'static str {
        member
    }
}

/// An item of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<R> {
    /// Unique among the user's items.
    pub id: Id,
    /// The resource's members.
    pub value: R,
    /// Milliseconds since the epoch.
    pub created_at: u64,
    /// Milliseconds since the epoch.
    pub updated_at: u64,
    /// 1 at creation, and one more with each change. It continues when an id is deleted and created again.
    pub version: u64,
}

/// An item to create.
#[derive(Clone, Debug)]
pub struct NewItem<R> {
    /// The client's own id, with which it can retry the creation.
    pub id: Option<Id>,
    /// The resource's members.
    pub value: R,
}

/// The outcome of a creation.
#[derive(Debug)]
pub enum CreateOutcome<R> {
    /// The item is new.
    Created(Item<R>),
    /// The same creation took effect before. This is the item's current state.
    Replayed(Item<R>),
}

/// A [`Resource`] that cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum InvalidResource {
    /// Its table's environment variable or its changes would have the name of something else's.
    #[error("a resource cannot have the plural {0}")]
    ReservedName(&'static str),
    /// Its members are unknown before it is serialized.
    #[error("{0} must be a struct with named members and without serde(flatten)")]
    NotAStruct(&'static str),
    /// A member or its attribute has the name of an attribute that every item has.
    #[error("{resource} cannot have a member named {member}, which every item has")]
    ReservedMember {
        /// [`Resource::NAME`].
        resource: &'static str,
        /// The member.
        member: String,
    },
    /// The update has a member that the resource does not have.
    #[error("the update of {resource} has a member named {member}, which {resource} does not have")]
    UnknownMember {
        /// [`Resource::NAME`].
        resource: &'static str,
        /// The member.
        member: String,
    },
}

/// The tables of the session check and of open connections, and what changes of profiles are called.
const RESERVED_PLURALS: [&str; 4] = ["connections", "profile", "sessions", "users"];

/// The attributes that every item has, beside its sort key.
const RESERVED: [&str; 14] = [
    "id",
    "userId",
    "createdAt",
    "updatedAt",
    "version",
    "firstVersion",
    "fingerprint",
    "listPosition",
    "expiresAt",
    "resourceType",
    "write1",
    "write2",
    "write3",
    "write4",
];

/// The names of a struct's members, as serialized.
pub fn members<T: DeserializeOwned>() -> &'static [&'static str] {
    serde_introspect::<T>()
}

/// A struct's members with their values, in which `None`, `Some(None)` and a value without `Option` differ.
pub(crate) fn fields(value: &impl Serialize) -> Result<Vec<(Cow<'static, str>, Value<'static>)>, Error> {
    let unreadable = |cause: &str| Error::Internal(format!("a resource cannot be serialized: {cause}"));
    let content = Serializer::new().serialize(value).map_err(|error| unreadable(&error.to_string()))?;
    match content.into_owned() {
        Value::Struct(content) => match content.data {
            Data::Struct { fields } => Ok(fields),
            _ => Err(unreadable("it has no members")),
        },
        _ => Err(unreadable("it is not a struct")),
    }
}

/// The sort key of a resource's table.
pub(crate) fn sort_key<R: Resource>() -> String {
    format!("{}Id", R::NAME)
}

/// Rejects a resource that would be read or written wrongly.
pub(crate) fn check<R: Resource>() -> Result<(), InvalidResource> {
    let resource = R::NAME;
    if RESERVED_PLURALS.contains(&R::PLURAL) {
        return Err(InvalidResource::ReservedName(R::PLURAL));
    }
    let own = members::<R>();
    if own.is_empty() || members::<R::Update>().is_empty() {
        return Err(InvalidResource::NotAStruct(resource));
    }
    let mut taken: HashSet<String> = RESERVED.iter().map(|name| (*name).to_owned()).collect();
    taken.insert(sort_key::<R>());
    for member in own {
        let is_reserved = RESERVED.contains(member) || !taken.insert(R::attribute(member).to_owned());
        if is_reserved {
            return Err(InvalidResource::ReservedMember { resource, member: (*member).to_owned() });
        }
    }
    match members::<R::Update>().iter().find(|member| !own.contains(member)) {
        Some(member) => Err(InvalidResource::UnknownMember { resource, member: (*member).to_owned() }),
        None => Ok(()),
    }
}
