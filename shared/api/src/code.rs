use axum::http::StatusCode;
use clerk_auth::TokenError;

/// Declares every code once: its name for programs, its status, and what it means.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $status:ident $name:literal,)+) => {
        /// The kinds of problems, for programs: stable names, each with one status. Clients branch on them, logs count
        /// them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, as `code` has it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The status that goes with it.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)+
                }
            }

            /// What it means and what to do, for documents.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

codes! {
    /// The request cannot be decoded. For example, a header is not ASCII.
    InvalidRequest = BAD_REQUEST "invalid_request",
    /// The body is not JSON.
    InvalidJson = BAD_REQUEST "invalid_json",
    /// A parameter of the query string is invalid.
    InvalidQuery = BAD_REQUEST "invalid_query",
    /// The id in the path is malformed.
    InvalidId = BAD_REQUEST "invalid_id",
    /// The If-Match header is malformed.
    InvalidIfMatch = BAD_REQUEST "invalid_if_match",
    /// A webhook lacks headers that Svix sends with every delivery.
    WebhookHeadersMissing = BAD_REQUEST "webhook_headers_missing",
    /// A webhook's timestamp is more than five minutes from the current time.
    WebhookStale = BAD_REQUEST "webhook_stale",
    /// No signature of a webhook matches its body.
    WebhookBadSignature = BAD_REQUEST "webhook_bad_signature",
    /// The request has no session token. Sign in.
    TokenMissing = UNAUTHORIZED "token_missing",
    /// The token is not a well-formed Clerk session token.
    TokenMalformed = UNAUTHORIZED "token_malformed",
    /// The token's header is not that of an RS256-signed JWT.
    TokenUnsupported = UNAUTHORIZED "token_unsupported",
    /// The token is signed with a key that the issuer does not publish.
    TokenUnknownKey = UNAUTHORIZED "token_unknown_key",
    /// The token's signature is invalid.
    TokenBadSignature = UNAUTHORIZED "token_bad_signature",
    /// The token was issued by another Clerk instance.
    TokenWrongIssuer = UNAUTHORIZED "token_wrong_issuer",
    /// The token was issued to an origin that is not an authorized party of this API.
    TokenUnauthorizedParty = UNAUTHORIZED "token_unauthorized_party",
    /// The token was issued for another audience.
    TokenWrongAudience = UNAUTHORIZED "token_wrong_audience",
    /// The token is not a session token.
    TokenUnsupportedType = UNAUTHORIZED "token_unsupported_type",
    /// The token has expired. Get a fresh one from Clerk.
    TokenExpired = UNAUTHORIZED "token_expired",
    /// The session token's lifetime is too long, or it has no `iat` claim.
    TokenLifetimeTooLong = UNAUTHORIZED "token_lifetime_too_long",
    /// The token is not valid yet.
    TokenNotActiveYet = UNAUTHORIZED "token_not_active_yet",
    /// The session is pending. The user must finish signing in.
    SessionPending = UNAUTHORIZED "session_pending",
    /// The session has ended. Sign in again.
    SessionEnded = UNAUTHORIZED "session_ended",
    /// The account is deleted or banned.
    AccountInactive = UNAUTHORIZED "account_inactive",
    /// The body does not match the session token's claims.
    ClaimMismatch = FORBIDDEN "claim_mismatch",
    /// The user's role in the active organization does not grant the permission that `permission` names.
    PermissionMissing = FORBIDDEN "permission_missing",
    /// The user has no such item.
    NotFound = NOT_FOUND "not_found",
    /// The API has no such path.
    RouteNotFound = NOT_FOUND "route_not_found",
    /// The path does not accept this method. The Allow header lists those it accepts.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed",
    /// The user has a different item with this id.
    IdConflict = CONFLICT "id_conflict",
    /// The item has changed since it was read. `version` is its current version.
    VersionMismatch = PRECONDITION_FAILED "version_mismatch",
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large",
    /// Path and query are longer than 16 KiB.
    UriTooLong = URI_TOO_LONG "uri_too_long",
    /// The body's Content-Type is not JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type",
    /// The body is JSON, but does not match the schema. `detail` names the member.
    InvalidBody = UNPROCESSABLE_ENTITY "invalid_body",
    /// The headers are larger than 64 KiB, counted with 32 bytes for each.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large",
    /// An internal error, which is logged.
    Internal = INTERNAL_SERVER_ERROR "internal",
    /// A service that the API depends on is unavailable. Retry after the time in Retry-After.
    Unavailable = SERVICE_UNAVAILABLE "unavailable",
    /// The token's key is not known yet. Retry after the time in Retry-After.
    TokenKeyUndecided = SERVICE_UNAVAILABLE "token_key_undecided",
}

impl From<TokenError> for Code {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed => Self::TokenMalformed,
            TokenError::UnsupportedHeader => Self::TokenUnsupported,
            TokenError::UnknownKey => Self::TokenUnknownKey,
            TokenError::BadSignature => Self::TokenBadSignature,
            TokenError::WrongIssuer => Self::TokenWrongIssuer,
            TokenError::UnauthorizedParty => Self::TokenUnauthorizedParty,
            TokenError::WrongAudience => Self::TokenWrongAudience,
            TokenError::Expired => Self::TokenExpired,
            TokenError::LifetimeTooLong => Self::TokenLifetimeTooLong,
            TokenError::NotActiveYet => Self::TokenNotActiveYet,
            TokenError::UnsupportedTokenType => Self::TokenUnsupportedType,
            TokenError::PendingSession => Self::SessionPending,
        }
    }
}
