use axum::{
    Json,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use clerk_auth::{TokenError, VerifyError};
use serde_json::{Map, Value, json};

use crate::Code;

/// An error response (RFC 9457), with a stable `code` for programs beside the sentence for users.
///
/// A `cause` is only logged, never sent.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// The problem in the request's log line.
#[derive(Clone, Debug)]
pub(crate) struct ProblemLog {
    pub(crate) code: Code,
    pub(crate) cause: Option<String>,
}

impl Problem {
    /// `detail` is a sentence for the user: what is wrong and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), headers: Vec::new(), cause: None }
    }

    /// 404: the user has no such item. The response is the same whether the item never existed or is another user's.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "No such item.")
    }

    /// 403: the user's role in the active organization does not grant a permission, for example `org:billing:manage`.
    pub fn permission_missing(permission: &str) -> Self {
        Self::new(
            Code::PermissionMissing,
            format!("This requires the permission {permission}. Select an organization that grants it to you."),
        )
        .member("permission", permission)
    }

    /// 500: an internal error.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(Code::Internal, "Internal error. It has been logged.").caused_by(cause)
    }

    /// 503: a service that the API depends on is unavailable. The same request can succeed later.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self::retry_later(Code::Unavailable, "The service is unavailable. Retry after the time in Retry-After.")
            .caused_by(cause)
    }

    fn retry_later(code: Code, detail: &str) -> Self {
        const SECONDS: HeaderValue = HeaderValue::from_static("2");
        Self::new(code, detail).header(header::RETRY_AFTER, SECONDS)
    }

    /// 401: no token was sent.
    pub fn token_missing() -> Self {
        Self::new(
            Code::TokenMissing,
            "No session token. Sign in, and send it in the Authorization header as Bearer <token>.",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The problem's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Adds a member to the problem.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the cause for the log. It must not contain client input.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::token_rejected(error.into(), error.to_string())
    }
}

impl Problem {
    /// 401: the token is invalid, or no longer valid.
    fn token_rejected(code: Code, detail: String) -> Self {
        // RFC 6750, section 3. The sentences are ASCII without quotes.
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{detail}\"");
        let challenge =
            HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer error=\"invalid_token\""));
        Self::new(code, detail).header(header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Token(error) => error.into(),
            VerifyError::KeysUnavailable => Self::unavailable(error.to_string()),
            VerifyError::KeyUndecided => Self::retry_later(
                Code::TokenKeyUndecided,
                "The token's key is not known yet. Retry after the time in Retry-After.",
            ),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound => Self::not_found(),
            store::Error::AccountInactive => {
                Self::token_rejected(Code::AccountInactive, "The account is deleted or banned.".to_owned())
            }
            store::Error::SessionEnded => {
                Self::token_rejected(Code::SessionEnded, "The session has ended. Sign in again.".to_owned())
            }
            store::Error::ClaimMismatch(member) => Self::new(
                Code::ClaimMismatch,
                format!("`{member}` does not match your session token. Change it in Clerk, or omit it."),
            ),
            store::Error::Unstorable(member) => Self::new(
                Code::InvalidBody,
                format!("`{member}` cannot be stored. Send smaller numbers, less nesting and no empty names."),
            ),
            store::Error::IdConflict => {
                Self::new(Code::IdConflict, "You have a different item with this id. Use a new id, or omit it.")
            }
            store::Error::VersionMismatch { current } => Self::new(
                Code::VersionMismatch,
                "The item has changed since you read it. Fetch it again and retry with its current ETag.",
            )
            .member("version", current)
            .header(header::ETAG, etag(current)),
            store::Error::Unavailable(cause) => Self::unavailable(cause),
            store::Error::Internal(cause) => Self::internal(cause),
        }
    }
}

/// A version as an entity tag (RFC 9110, section 8.8.3).
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.detail,
            "code": self.code.name(),
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.members);
        }
        let mut response = (status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response.extensions_mut().insert(ProblemLog { code: self.code, cause: self.cause });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecided_key_is_not_counted_as_an_outage() {
        let alarms = include_str!("../../../infra/function-alarms.yaml");
        let (resource, monitoring) =
            (include_str!("../../../infra/resource.yaml"), include_str!("../../../infra/monitoring.yaml"));
        for (error, code) in
            [(VerifyError::KeysUnavailable, Code::Unavailable), (VerifyError::KeyUndecided, Code::TokenKeyUndecided)]
        {
            let problem = Problem::from(error);
            assert_eq!((problem.code(), problem.code().status().as_u16()), (code, 503));
            assert!(problem.into_response().headers().contains_key(header::RETRY_AFTER));
        }
        // The alarm that rolls back counts one of the two; the one on API Gateway's 5xx subtracts the other.
        let counted = |code: Code| alarms.contains(&format!("{{ Name: code, Value: {} }}", code.name()));
        assert_eq!((counted(Code::Unavailable), counted(Code::TokenKeyUndecided)), (true, false));
        assert!(resource.contains(&format!("{{ $.code = \"{}\" }}", Code::TokenKeyUndecided.name())));
        assert!(monitoring.contains("\"errors - FILL(undecided, 0)\""));
    }
}
