//! The DynamoDB tables.
//!
//! A user's items are reachable only with that user's session. A [`Table`] of a [`Resource`] reads with a [`ReadSession`]
//! and writes with a [`WriteSession`], each within the partition of the session's user. No function accepts a user id.
//! Both sessions require a verified [`Identity`](clerk_auth::Identity) and the session check: a read makes it
//! concurrently and withholds the result until it has passed, a write makes it first.
//!
//! Profiles are written by verified webhooks as well ([`Profiles::apply_user`], [`Profiles::apply_deletion`]).
//!
//! A user's open connections are reachable with a session, or with a record of a table's stream ([`Streams`]), which is of
//! one user.
//!
//! Code that reaches another user's data, or skips the check, does not compile: see `tests/isolation`.

mod accounts;
mod capacity;
mod changes;
mod connections;
mod database;
mod error;
mod id;
mod item;
mod page;
mod profiles;
mod resource;
mod session;
mod table;
pub mod text;
mod write;

pub use accounts::Accounts;
pub use capacity::ConsumedCapacity;
pub use changes::{Batch, Change, InvalidBatch, Streams, UserChanges};
pub use connections::{Connection, Connections, NewConnection};
pub use database::Database;
pub use error::Error;
pub use id::{Id, InvalidId};
pub use page::{Cursor, InvalidCursor, InvalidLimit, Limit, Page};
pub use profiles::{Profile, ProfileUpdate, Profiles, UpsertOutcome};
pub use resource::{CreateOutcome, InvalidResource, Item, NewItem, Resource, members};
pub use session::{ReadSession, WriteSession};
pub use table::{Reader, Table, Writer};
pub use write::Precondition;
