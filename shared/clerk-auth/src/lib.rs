//! What Clerk says, and how we know that it was Clerk.
//!
//! A session token goes in, a verified [`Identity`] comes out ([`Verifier`]); a signed webhook goes in, a verified
//! [`Event`] comes out ([`WebhookVerifier`]). Neither value can be made in any other way: their fields are private and
//! they have no public constructor. The store asks for one of them wherever it touches a person's data, so code that
//! has not verified anything does not compile.
//!
//! The crate knows nothing of web frameworks or databases.

mod config;
mod identity;
mod keys;
mod object;
mod organization;
mod refusal;
mod verifier;
mod webhook;

pub use config::{Config, ConfigError, MAX_TOKEN_LIFETIME};
pub use identity::{Identity, user_tag};
pub use organization::{MalformedOrganization, Organization};
pub use refusal::{Refusal, VerifyError};
pub use verifier::Verifier;
pub use webhook::{DeletedUser, EndedSession, Event, User, WebhookError, WebhookVerifier};

/// A DynamoDB key holds 2048 bytes; Clerk's ids have some thirty.
const MAX_ID_BYTES: usize = 256;

/// A text without the white space around it. Blank counts as missing.
fn present_text(text: String) -> Option<String> {
    let trimmed = text.trim();
    match trimmed.len() {
        0 => None,
        length if length == text.len() => Some(text),
        _ => Some(trimmed.to_owned()),
    }
}
