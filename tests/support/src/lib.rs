//! Shared code of several crates' tests: a signing key, DynamoDB's engine in memory and Lambda's Runtime API.
//!
//! Crates whose tests need only the key depend on `signing-key`, without an engine and a web server.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod engine;
mod runtime;

pub use engine::{Engine, in_memory, in_memory_with};
pub use runtime::{Runtime, TIMEOUT};
pub use signing_key::{ORIGIN, SigningKey};
