use std::fmt;

use aws_lc_rs::digest;

use crate::{MalformedOrganization, Organization, organization::OrganizationClaims};

/// A person whose session token has been verified.
///
/// Only [`Verifier::verify`](crate::Verifier::verify) makes one, so holding one is the proof.
#[derive(Clone)]
pub struct Identity {
    pub(crate) user_id: String,
    pub(crate) session_id: Option<String>,
    pub(crate) issuer: String,
    pub(crate) issued_at: u64,
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) organization: OrganizationClaims,
}

impl Identity {
    /// Clerk's id of the user (`sub`), for example `user_2abc`. Never empty.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The user's pseudonym in logs, see [`user_tag`].
    pub fn tag(&self) -> String {
        user_tag(&self.user_id)
    }

    /// Clerk's id of the session (`sid`). Tokens made from a JWT template carry none.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The Clerk instance that signed the token (`iss`), without a trailing slash.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// When the token was issued (`iat`), in milliseconds since the epoch; 0 if it does not say. What its claims say was
    /// true then.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// The primary e-mail address, where the token was customised to carry `email`.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The first name, where the token was customised to carry `firstName`.
    pub fn first_name(&self) -> Option<&str> {
        self.first_name.as_deref()
    }

    /// The last name, where the token was customised to carry `lastName`.
    pub fn last_name(&self) -> Option<&str> {
        self.last_name.as_deref()
    }

    /// The pseudonym of the party that acts as the user in an impersonated session (`act`), see [`user_tag`].
    pub fn actor_tag(&self) -> Option<String> {
        self.actor.as_deref().map(user_tag)
    }

    /// The organization that the user acts for in this session, if any. Its claims are read by this call: if they cannot
    /// be, the session is good and no permission is granted.
    pub fn organization(&self) -> Result<Option<Organization>, MalformedOrganization> {
        self.organization.parse()
    }
}

/// A pseudonym for logs: the first 16 hexadecimal digits of SHA-256 of Clerk's user id. It can be worked out from an id
/// to find a person's lines, and leads back to none.
pub fn user_tag(user_id: &str) -> String {
    let digest = digest::digest(&digest::SHA256, user_id.as_bytes());
    let first = digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{first:016x}")
}

/// Shows the ids alone: names and addresses must not reach a log.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user_id", &self.user_id)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_beginning_of_the_ids_sha_256() {
        // printf %s user_ada | sha256sum | cut -c 1-16
        assert_eq!(user_tag("user_ada"), "63ef8539c7e06980");
        assert_eq!(user_tag("user_4"), "0addd785530bd754");
    }
}
