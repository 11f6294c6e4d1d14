//! The caller's chats, behind the HTTP API.

mod if_match;
mod routes;

pub use routes::{Document, router};
