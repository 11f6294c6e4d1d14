//! The caller's profile, behind the HTTP API.

mod routes;

pub use routes::{Document, router};
