use std::{convert::Infallible, sync::Arc, time::SystemTime};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use clerk_auth::{Identity, Refusal, Verifier};

use crate::Problem;

/// The state of a function that serves signed-in people: who verifies them, and the table it serves.
#[derive(Clone)]
pub struct Context<T> {
    verifier: Arc<Verifier>,
    table: T,
}

impl<T> Context<T> {
    /// State for `Router::with_state`.
    pub fn new(verifier: Verifier, table: T) -> Self {
        Self { verifier: Arc::new(verifier), table }
    }
}

/// The "authorized" extractor: verifies the token of `Authorization: Bearer`, or answers for the handler.
impl<T: Send + Sync> FromRequestParts<Context<T>> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context<T>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        Ok(context.verifier.verify(token, SystemTime::now()).await?)
    }
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1), and of nowhere else.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(Problem::token_missing)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed.into());
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
    // The scheme's case does not matter (RFC 9110, section 11.1).
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
        return Err(Problem::token_missing());
    }
    Ok(token)
}

/// The function's table. A handle alone: it opens a partition for an [`Identity`], and nothing without one.
pub struct Table<T>(pub T);

impl<T: Clone + Send + Sync> FromRequestParts<Context<T>> for Table<T> {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, context: &Context<T>) -> Result<Self, Infallible> {
        Ok(Self(context.table.clone()))
    }
}
