use std::fmt;

use aws_lc_rs::digest;

use crate::organization::{MalformedOrganization, Organization, OrganizationClaims};

/// A user whose session token has been verified.
///
/// Only [`Verifier::verify`](crate::Verifier::verify) creates one, so having one proves the verification.
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

    /// Clerk's id of the session (`sid`). Tokens of a JWT template have none.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The Clerk instance that signed the token (`iss`), without a trailing slash.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// When the token was issued (`iat`), in milliseconds since the epoch; 0 without `iat`. Its claims are as of then.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// The primary email address, if the token is customized to have `email`.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The first name, if the token is customized to have `firstName`.
    pub fn first_name(&self) -> Option<&str> {
        self.first_name.as_deref()
    }

    /// The last name, if the token is customized to have `lastName`.
    pub fn last_name(&self) -> Option<&str> {
        self.last_name.as_deref()
    }

    /// The pseudonym of the party that acts as the user in an impersonated session (`act`), see [`user_tag`].
    pub fn actor_tag(&self) -> Option<String> {
        self.actor.as_deref().map(user_tag)
    }

    /// The active organization of the session, if any. Only this call parses its claims: malformed ones grant no
    /// permission, but do not invalidate the session.
    pub fn organization(&self) -> Result<Option<Organization>, MalformedOrganization> {
        self.organization.parse()
    }

    /// Whether the user's role in the active organization grants a permission, for example `org:billing:manage`. Without an
    /// active organization, or with malformed claims, nothing is granted.
    pub fn has_permission(&self, permission: &str) -> bool {
        self.organization().is_ok_and(|found| found.is_some_and(|organization| organization.has_permission(permission)))
    }
}

/// A pseudonym for logs: the first 16 hexadecimal digits of the SHA-256 of Clerk's user id. It can be computed from an id
/// to find a user's lines, but not reversed.
pub fn user_tag(user_id: &str) -> String {
    let digest = digest::digest(&digest::SHA256, user_id.as_bytes());
    let first = digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{first:016x}")
}

/// Shows only the ids: names and email addresses must not reach a log.
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
    fn user_tag_is_a_prefix_of_the_ids_sha_256() {
        // printf %s user_ada | sha256sum | cut -c 1-16
        assert_eq!(user_tag("user_ada"), "63ef8539c7e06980");
        assert_eq!(user_tag("user_4"), "0addd785530bd754");
    }
}
