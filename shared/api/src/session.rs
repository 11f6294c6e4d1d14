use std::{ops::Deref, sync::Arc, time::SystemTime};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use clerk_auth::{Config, Identity, TokenError, Verifier};
use store::Accounts;

use crate::{Problem, log::UserTag};

/// Verifies tokens and makes the session check. Part of the state of every function that serves signed-in users.
#[derive(Clone)]
pub struct Auth {
    verifier: Arc<Verifier>,
    pub(crate) accounts: Accounts,
}

impl Auth {
    pub(crate) fn new(config: Config, accounts: Accounts) -> Self {
        Self { verifier: Arc::new(Verifier::new(config)), accounts }
    }

    async fn identity(&self, parts: &Parts) -> Result<Identity, Problem> {
        let token = bearer(&parts.headers)?;
        let identity = self.verifier.verify(token, SystemTime::now()).await?;
        if let Some(tag) = parts.extensions.get::<UserTag>() {
            tag.set(&identity);
        }
        Ok(identity)
    }
}

/// Extracts the session of a handler that reads. Its token is verified, or the request is rejected. Each read makes the
/// session check.
pub struct ReadSession(store::ReadSession);

impl ReadSession {
    /// Rejects users whose role in the active organization does not grant a permission, for example `org:billing:manage`.
    pub async fn require(&self, permission: &str) -> Result<(), Problem> {
        if self.identity().has_permission(permission) {
            return Ok(());
        }
        // A session that has ended is the first reason.
        self.check().await?;
        Err(Problem::permission_missing(permission))
    }
}

impl Deref for ReadSession {
    type Target = store::ReadSession;

    fn deref(&self) -> &store::ReadSession {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReadSession
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let auth = Auth::from_ref(state);
        let identity = auth.identity(parts).await?;
        Ok(Self(auth.accounts.read_session(identity)))
    }
}

/// Extracts the session of a handler that writes. Its token is verified and the session checked, or the request is
/// rejected.
pub struct WriteSession(store::WriteSession);

impl WriteSession {
    /// Rejects users whose role in the active organization does not grant a permission, for example `org:billing:manage`.
    pub fn require(&self, permission: &str) -> Result<(), Problem> {
        if self.identity().has_permission(permission) {
            return Ok(());
        }
        Err(Problem::permission_missing(permission))
    }
}

impl Deref for WriteSession {
    type Target = store::WriteSession;

    fn deref(&self) -> &store::WriteSession {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WriteSession
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let auth = Auth::from_ref(state);
        let identity = auth.identity(parts).await?;
        Ok(Self(auth.accounts.write_session(identity).await?))
    }
}

/// The problem of a request that is invalid: that of its session if it has none that is valid, or else `problem`. So a
/// client without a valid session gets 401 whatever else is wrong, in whichever order a handler has its arguments.
pub(crate) async fn session_problem_or<S>(problem: Problem, parts: &mut Parts, state: &S) -> Problem
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    WriteSession::from_request_parts(parts, state).await.err().unwrap_or(problem)
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(Problem::token_missing)?;
    if values.next().is_some() {
        return Err(TokenError::Malformed.into());
    }
    let value = value.to_str().map_err(|_| TokenError::Malformed)?;
    // The scheme is case-insensitive (RFC 9110, section 11.1).
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
        return Err(Problem::token_missing());
    }
    Ok(token)
}
