use axum::http::StatusCode;
use clerk_auth::Refusal;

/// Declares every code once: its name for programs, its status, and what it means.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $status:ident $name:literal,)+) => {
        /// What went wrong, as programs are told: stable names, each of one status. Clients branch on them, logs count
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
    /// The request cannot be decoded: a header is not ASCII, for example.
    InvalidRequest = BAD_REQUEST "invalid_request",
    /// The body is not JSON.
    InvalidJson = BAD_REQUEST "invalid_json",
    /// A parameter of the query string does not fit.
    InvalidQuery = BAD_REQUEST "invalid_query",
    /// The id in the path is malformed.
    InvalidId = BAD_REQUEST "invalid_id",
    /// The header If-Match holds no entity tag.
    InvalidIfMatch = BAD_REQUEST "invalid_if_match",
    /// A webhook lacks headers that every delivery of Svix has.
    WebhookHeadersMissing = BAD_REQUEST "webhook_headers_missing",
    /// A webhook's timestamp is more than five minutes away.
    WebhookStale = BAD_REQUEST "webhook_stale",
    /// No signature of a webhook fits its body.
    WebhookBadSignature = BAD_REQUEST "webhook_bad_signature",
    /// No token was sent; sign in.
    TokenMissing = UNAUTHORIZED "token_missing",
    /// The token is not a well-formed session token of Clerk's.
    TokenMalformed = UNAUTHORIZED "token_malformed",
    /// The token's header asks for something else than an RS256-signed JWT.
    TokenUnsupported = UNAUTHORIZED "token_unsupported",
    /// The token is signed with a key that the issuer does not publish.
    TokenUnknownKey = UNAUTHORIZED "token_unknown_key",
    /// The token's signature is wrong.
    TokenBadSignature = UNAUTHORIZED "token_bad_signature",
    /// The token was issued by another Clerk instance.
    TokenWrongIssuer = UNAUTHORIZED "token_wrong_issuer",
    /// The token was issued to an origin that this API does not serve.
    TokenWrongParty = UNAUTHORIZED "token_wrong_party",
    /// The token was issued for another audience.
    TokenWrongAudience = UNAUTHORIZED "token_wrong_audience",
    /// The token is not a session token.
    TokenWrongKind = UNAUTHORIZED "token_wrong_kind",
    /// The token has expired; get a fresh one from Clerk.
    TokenExpired = UNAUTHORIZED "token_expired",
    /// The session token is valid for too long, or does not say since when.
    TokenLifetimeTooLong = UNAUTHORIZED "token_lifetime_too_long",
    /// The token is not valid yet.
    TokenNotActiveYet = UNAUTHORIZED "token_not_active_yet",
    /// The person has to finish signing in.
    SessionPending = UNAUTHORIZED "session_pending",
    /// The session has ended; sign in again.
    SessionEnded = UNAUTHORIZED "session_ended",
    /// The account is deleted or banned.
    AccountInactive = UNAUTHORIZED "account_inactive",
    /// The body says something else than the token, which is Clerk's word.
    ContradictsToken = FORBIDDEN "contradicts_token",
    /// The caller has nothing under this address; perhaps somebody else has.
    NotFound = NOT_FOUND "not_found",
    /// There is nothing at this path for anybody.
    NoSuchPath = NOT_FOUND "no_such_path",
    /// The path does not take this method; the header Allow lists those it does.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed",
    /// The caller has something else under this id.
    IdTaken = CONFLICT "id_taken",
    /// It was changed in the meantime; `version` is the present one.
    VersionMismatch = PRECONDITION_FAILED "version_mismatch",
    /// The body is larger than what is taken.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large",
    /// Path and query are longer than 16 KiB.
    UriTooLong = URI_TOO_LONG "uri_too_long",
    /// The body is declared as something else than JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type",
    /// The body is JSON, but not what it should be; `detail` names the member.
    InvalidBody = UNPROCESSABLE_ENTITY "invalid_body",
    /// The headers are larger than 64 KiB, counted with 32 bytes for each.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large",
    /// A fault on our side, which is logged.
    Internal = INTERNAL_SERVER_ERROR "internal",
    /// Something that is needed does not answer; send the request again after the time in Retry-After.
    Unavailable = SERVICE_UNAVAILABLE "unavailable",
    /// The token names a key that the issuer has not published as far as is known; retry after the time in Retry-After.
    TokenKeyUndecided = SERVICE_UNAVAILABLE "token_key_undecided",
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::TokenMalformed,
            Refusal::UnsupportedHeader => Self::TokenUnsupported,
            Refusal::UnknownKey => Self::TokenUnknownKey,
            Refusal::BadSignature => Self::TokenBadSignature,
            Refusal::WrongIssuer => Self::TokenWrongIssuer,
            Refusal::WrongParty => Self::TokenWrongParty,
            Refusal::WrongAudience => Self::TokenWrongAudience,
            Refusal::Expired => Self::TokenExpired,
            Refusal::LifetimeTooLong => Self::TokenLifetimeTooLong,
            Refusal::NotActiveYet => Self::TokenNotActiveYet,
            Refusal::WrongKind => Self::TokenWrongKind,
            Refusal::PendingSession => Self::SessionPending,
        }
    }
}
