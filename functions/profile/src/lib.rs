//! The user's profile, behind the HTTP API.

mod details;
mod routes;

pub use routes::router;
