use axum::http::StatusCode;
use clerk_auth::TokenError;

/// Declares every code once: its name for programs, its status, what it means, and what to do.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $status:ident $name:literal: $remedy:literal,)+) => {
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

            /// What to do, for documents.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
            }

            /// What it means, for documents.
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
    InvalidRequest = BAD_REQUEST "invalid_request": "Encode the URL, and send headers in ASCII.",
    /// The body is not JSON.
    InvalidJson = BAD_REQUEST "invalid_json": "Send JSON in UTF-8.",
    /// A parameter of the query string is invalid.
    InvalidQuery = BAD_REQUEST "invalid_query": "Correct the parameter that `detail` names.",
    /// The id in the path is malformed.
    InvalidId = BAD_REQUEST "invalid_id": "Send an id as the API returns it.",
    /// The If-Match header is malformed.
    InvalidIfMatch = BAD_REQUEST "invalid_if_match": "Send the item's `ETag` as the API returns it.",
    /// A webhook lacks headers that Svix sends with every delivery.
    WebhookHeadersMissing = BAD_REQUEST "webhook_headers_missing": "Nothing, unless Clerk has sent it: then something between removes headers.",
    /// A webhook's timestamp is more than five minutes from the current time.
    WebhookStale = BAD_REQUEST "webhook_stale": "Synchronize the clock. Send an old event again with *Replay* in Clerk's dashboard.",
    /// No signature of a webhook matches its body.
    WebhookBadSignature = BAD_REQUEST "webhook_bad_signature": "Store the signing secret of this endpoint.",
    /// The request has no session token.
    TokenMissing = UNAUTHORIZED "token_missing": "Sign in, and send `Authorization: Bearer` with what `getToken()` returns.",
    /// The token is not a well-formed Clerk session token.
    TokenMalformed = UNAUTHORIZED "token_malformed": "Send what `getToken()` returns.",
    /// The token's header is not that of an RS256-signed JWT.
    TokenUnsupported = UNAUTHORIZED "token_unsupported": "Send what `getToken()` returns.",
    /// The token is signed with a key that the issuer does not publish.
    TokenUnknownKey = UNAUTHORIZED "token_unknown_key": "Sign in with the Clerk instance of this API, or correct `CLERK_JWT_KEY`.",
    /// The token's signature is invalid.
    TokenBadSignature = UNAUTHORIZED "token_bad_signature": "Send the token as Clerk has issued it, or correct `CLERK_JWT_KEY`.",
    /// The token was issued by another Clerk instance.
    TokenWrongIssuer = UNAUTHORIZED "token_wrong_issuer": "Sign in with the Clerk instance of this API, or correct `CLERK_ISSUER`.",
    /// The token was issued to an origin that is not an authorized party of this API.
    TokenUnauthorizedParty = UNAUTHORIZED "token_unauthorized_party": "Add the origin to `CLERK_AUTHORIZED_PARTIES`.",
    /// The token was issued for another audience.
    TokenWrongAudience = UNAUTHORIZED "token_wrong_audience": "Set `aud` in the JWT template to one that `CLERK_AUDIENCE` has.",
    /// The token is not a session token.
    TokenUnsupportedType = UNAUTHORIZED "token_unsupported_type": "Send the token of a user's session.",
    /// The token has expired.
    TokenExpired = UNAUTHORIZED "token_expired": "Call `getToken()` for every request.",
    /// The session token's lifetime is too long, or it has no `iat` claim.
    TokenLifetimeTooLong = UNAUTHORIZED "token_lifetime_too_long": "Send what `getToken()` returns in the browser.",
    /// The token is not valid yet.
    TokenNotActiveYet = UNAUTHORIZED "token_not_active_yet": "Synchronize the clock of the machine that runs the functions.",
    /// The session is pending.
    SessionPending = UNAUTHORIZED "session_pending": "Let the user finish signing in.",
    /// The session has ended.
    SessionEnded = UNAUTHORIZED "session_ended": "Sign in again.",
    /// The account is deleted or banned.
    AccountInactive = UNAUTHORIZED "account_inactive": "Sign out. A ban ends in Clerk's dashboard, a deletion does not.",
    /// The body does not match the session token's claims.
    ClaimMismatch = FORBIDDEN "claim_mismatch": "Omit the member that `detail` names, or send the claim's value.",
    /// The user's role in the active organization does not grant the permission that `permission` names.
    PermissionMissing = FORBIDDEN "permission_missing": "Grant it to the role in Clerk's dashboard, or switch the organization.",
    /// The user has no such item.
    NotFound = NOT_FOUND "not_found": "Compare the id and the user. Other users' items are not found, either.",
    /// The API has no such path.
    RouteNotFound = NOT_FOUND "route_not_found": "Compare the path with the list of calls.",
    /// The path does not accept this method. The Allow header lists those it accepts.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed": "Use one of them.",
    /// The user has a different item with this id.
    IdConflict = CONFLICT "id_conflict": "Create the item with a new id.",
    /// The item has changed since it was read. `version` is its current version.
    VersionMismatch = PRECONDITION_FAILED "version_mismatch": "Read the item, and make the change to its current version.",
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large": "Send less.",
    /// Path and query are longer than 16 KiB.
    UriTooLong = URI_TOO_LONG "uri_too_long": "Send fewer or shorter parameters.",
    /// The body's Content-Type is not JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type": "Send `Content-Type: application/json`.",
    /// The body is JSON, but does not match the schema. `detail` names the member.
    InvalidBody = UNPROCESSABLE_ENTITY "invalid_body": "Correct the member.",
    /// The headers are larger than 64 KiB, counted with 32 bytes for each.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large": "Send fewer or shorter headers, such as cookies.",
    /// An internal error, which is logged.
    Internal = INTERNAL_SERVER_ERROR "internal": "Look at `cause` in the function's log line.",
    /// A service that the API depends on is unavailable.
    Unavailable = SERVICE_UNAVAILABLE "unavailable": "Retry after the time in Retry-After. The function's log line names the service.",
    /// The token's key is not known yet.
    TokenKeyUndecided = SERVICE_UNAVAILABLE "token_key_undecided": "Retry after the time in Retry-After.",
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
