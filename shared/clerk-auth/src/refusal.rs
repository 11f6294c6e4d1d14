/// Why a token was refused. The caller has to get another one: HTTP 401.
///
/// `Display` is a sentence for the caller; it holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not three base64url parts of JSON that a Clerk session token consists of.
    #[error("The token is not a well-formed Clerk session token.")]
    Malformed,
    /// An algorithm other than RS256, a `typ` other than `JWT`, or a `crit` header (RFC 7515, section 4.1.11).
    #[error("The token's header asks for something else than an RS256-signed JWT.")]
    UnsupportedHeader,
    /// The issuer publishes no key of that id.
    #[error("The token is signed with a key that the issuer does not publish.")]
    UnknownKey,
    /// The signature does not fit the header and the payload.
    #[error("The token's signature is wrong.")]
    BadSignature,
    /// `iss` is not the configured instance.
    #[error("The token was issued by another Clerk instance.")]
    WrongIssuer,
    /// `azp` is not one of the configured origins, or is missing.
    #[error("The token was issued to an origin that this API does not serve.")]
    WrongParty,
    /// `aud` does not hold the configured audience.
    #[error("The token was issued for another audience.")]
    WrongAudience,
    /// `exp` has passed.
    #[error("The token has expired; get a fresh one from Clerk.")]
    Expired,
    /// `exp` lies further behind `iat` than is configured, in a token of a session; or `iat` is missing there.
    #[error(
        "The session token is valid for too long, or does not say since when. Send the token that Clerk's SDK gets for the browser."
    )]
    LifetimeTooLong,
    /// `nbf` or `iat` lies in the future.
    #[error("The token is not valid yet; check the clock of the machine that issued it.")]
    NotActiveYet,
    /// Not a session token: one for a machine, or one made from a JWT template, which is taken only where an audience
    /// is configured.
    #[error(
        "The token is not a session token; this API takes no machine tokens, and JWT templates only with an audience."
    )]
    WrongKind,
    /// `sts` is `pending`: the person has something left to do before being signed in.
    #[error("The session is pending: the person has to finish signing in.")]
    PendingSession,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The issuer's keys cannot be fetched, so nothing is known about the token: HTTP 503.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The token names a key that the issuer did not publish when its keys were last fetched, a few seconds ago. It may
    /// have been published since: HTTP 503. Anyone can send such a token, so it is not a sign of an outage.
    #[error("the token's key is not known yet")]
    KeyUndecided,
}
