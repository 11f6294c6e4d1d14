//! The DynamoDB tables.
//!
//! A person's items are reachable only with that person's verified [`Identity`](clerk_auth::Identity): a table handle
//! such as [`Chats`] reads and writes nothing by itself, and [`Chats::of`] opens the one partition that the identity
//! names. Profiles are written by verified webhooks as well ([`Profiles::apply_user`], [`Profiles::apply_deletion`]).
//! There is no function that takes a user id.
//!
//! Reading asks for a verified [`Identity`](clerk_auth::Identity), writing for [`Authorized`]: an identity whose account
//! and session were looked up and found good ([`Accounts::authorize`]), so that a session that was ended never writes.
//!
//! Code that reaches another user's data, or writes without that check, does not compile: see `tests/isolation`.
//!
//! The crate knows nothing of HTTP.

mod accounts;
mod capacity;
mod chats;
mod database;
mod error;
mod id;
mod item;
mod profiles;
mod write;

pub use accounts::{Accounts, Authorized};
pub use capacity::ConsumedCapacity;
pub use chats::{
    AuthorChats, Chat, Chats, Created, Cursor, InvalidCursor, InvalidLimit, InvalidTitle, Limit, NewChat, Page, Title,
    UserChats,
};
pub use database::Database;
pub use error::Error;
pub use id::{Id, InvalidId};
pub use profiles::{AuthorProfile, Details, Email, ImageUrl, InvalidDetail, Name, Profile, Profiles, Put, UserProfile};
pub use write::Precondition;
