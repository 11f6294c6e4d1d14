/// Why a token was rejected. The client must get another one: HTTP 401.
///
/// `Display` is a sentence for the client. It holds no part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the three base64url parts of a Clerk session token.
    #[error("The token is not a well-formed Clerk session token.")]
    Malformed,
    /// An algorithm other than RS256, a `typ` other than `JWT`, or a `crit` header (RFC 7515, section 4.1.11).
    #[error("The token's header is not that of an RS256-signed JWT.")]
    UnsupportedHeader,
    /// The issuer publishes no key of that id.
    #[error("The token is signed with a key that the issuer does not publish.")]
    UnknownKey,
    /// The signature does not match the header and the payload.
    #[error("The token's signature is invalid.")]
    BadSignature,
    /// `iss` is not the configured instance.
    #[error("The token was issued by another Clerk instance.")]
    WrongIssuer,
    /// `azp` is not one of the configured origins, or is missing.
    #[error("The token was issued to an origin that is not an authorized party of this API.")]
    UnauthorizedParty,
    /// `aud` does not contain the configured audience.
    #[error("The token was issued for another audience.")]
    WrongAudience,
    /// `exp` has passed.
    #[error("The token has expired. Get a fresh one from Clerk.")]
    Expired,
    /// A session token whose `exp` is further after `iat` than configured, or that has no `iat`.
    #[error(
        "The session token's lifetime is too long, or it has no iat claim. Send the token that Clerk's SDK gets in the browser."
    )]
    LifetimeTooLong,
    /// `nbf` or `iat` is in the future.
    #[error("The token is not valid yet. Check the clock of the machine that issued it.")]
    NotActiveYet,
    /// Not a session token, but a machine token or one of a JWT template. The latter is accepted only where an audience
    /// is configured.
    #[error(
        "The token is not a session token. Machine tokens, and JWT templates without an audience, are not accepted."
    )]
    UnsupportedTokenType,
    /// `sts` is `pending`: the user must finish signing in.
    #[error("The session is pending. The user must finish signing in.")]
    PendingSession,
}

/// Why a token could not be verified.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is invalid.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The issuer's keys cannot be fetched, so the token can be neither accepted nor rejected: HTTP 503.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The token names a key that the issuer did not publish when its keys were last fetched, a few seconds ago. It may
    /// have been published since: HTTP 503. Anyone can send such a token, so it is not a sign of an outage.
    #[error("the token's key is not known yet")]
    KeyUndecided,
}
