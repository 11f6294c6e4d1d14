//! Verification of Clerk's session tokens and webhooks.
//!
//! [`Verifier`] turns a session token into a verified [`Identity`], [`WebhookVerifier`] a signed webhook into a verified
//! [`Event`]. Neither value can be made in any other way: their fields are private and they have no public constructor.
//! The store requires one of them wherever it accesses a user's data, so code that has not verified anything does not
//! compile.
//!
//! The crate depends on no web framework and no database.

mod config;
mod identity;
mod keys;
mod object;
mod organization;
mod token_error;
mod values;
mod verifier;
mod webhook;

pub use config::{Config, ConfigError, MAX_TOKEN_LIFETIME, is_loopback};
pub use identity::{Identity, user_tag};
pub use organization::{MalformedOrganization, Organization};
pub use token_error::{TokenError, VerifyError};
pub use verifier::Verifier;
pub use webhook::{DeletedUser, EndedSession, Event, User, WebhookError, WebhookVerifier};
