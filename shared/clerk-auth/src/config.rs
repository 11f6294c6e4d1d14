use std::{fmt, time::Duration};

use url::Url;

use crate::keys::pem_keys;

/// The longest life of a session token that can be configured. The end of a session has to be remembered for longer,
/// from when it is received.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// Clerk's tokens for browsers live for 60 s.
const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_mins(2);

/// A setting that is missing or wrong. `Display` names the variable and says what to do; it never shows the value.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    variable: &'static str,
    problem: &'static str,
}

impl ConfigError {
    /// `problem` continues a sentence that begins with the variable's name.
    pub fn new(variable: &'static str, problem: &'static str) -> Self {
        Self { variable, problem }
    }
}

/// What a [`Verifier`](crate::Verifier) accepts.
pub struct Config {
    pub(crate) issuer: String,
    pub(crate) keys: KeySource,
    pub(crate) authorized_parties: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) max_token_lifetime: Duration,
}

pub(crate) enum KeySource {
    /// Keys given beforehand: no request is ever made.
    Pem(Vec<jsonwebtoken::DecodingKey>),
    /// The issuer's published keys.
    Jwks(Url),
}

/// Shows how many keys there are, not the keys.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, keys, authorized_parties, audience, max_token_lifetime } = self;
        let keys = match keys {
            KeySource::Pem(keys) => format!("{} in PEM", keys.len()),
            KeySource::Jwks(url) => url.to_string(),
        };
        f.debug_struct("Config")
            .field("issuer", issuer)
            .field("keys", &keys)
            .field("authorized_parties", authorized_parties)
            .field("audience", audience)
            .field("max_token_lifetime", max_token_lifetime)
            .finish()
    }
}

impl Config {
    /// Reads the settings through `var` (the environment, outside tests). A variable that is empty counts as unset.
    ///
    /// - `CLERK_ISSUER`, required: Clerk's Frontend API URL.
    /// - `CLERK_JWT_KEY`: the instance's public key in PEM, or several while it is being rotated; line breaks may be
    ///   written `\n`. Without it the keys are fetched from the issuer.
    /// - `CLERK_AUTHORIZED_PARTIES`: comma-separated origins that `azp` has to be one of.
    /// - `CLERK_AUDIENCE`: what `aud` has to hold.
    /// - `CLERK_MAX_TOKEN_LIFETIME`: how many seconds `exp` may lie after `iat` in a token of a session, at most
    ///   [`MAX_TOKEN_LIFETIME`]; 120 by default.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());

        let issuer = var("CLERK_ISSUER").ok_or(ConfigError::new(
            "CLERK_ISSUER",
            "is not set; give it the Frontend API URL from Clerk's dashboard, https://….clerk.accounts.dev",
        ))?;
        let issuer = issuer.trim_end_matches('/').to_owned();
        let jwks = jwks_url(&issuer)?;
        let keys = match var("CLERK_JWT_KEY") {
            Some(pem) => KeySource::Pem(pem_keys(&pem).ok_or(ConfigError::new(
                "CLERK_JWT_KEY",
                "is not an RSA public key in PEM (-----BEGIN PUBLIC KEY-----) of at least 2048 bits; copy it from API keys in Clerk's dashboard",
            ))?),
            None => KeySource::Jwks(jwks),
        };

        let authorized_parties = var("CLERK_AUTHORIZED_PARTIES").unwrap_or_default();
        let authorized_parties: Vec<String> = authorized_parties
            .split(',')
            .map(str::trim)
            .filter(|party| !party.is_empty())
            .map(|party| origin(party).ok_or(ConfigError::new(
                "CLERK_AUTHORIZED_PARTIES",
                "holds something that is not an origin; write origins like https://app.example.com, separated by commas",
            )))
            .collect::<Result<_, _>>()?;

        let max_token_lifetime = match var("CLERK_MAX_TOKEN_LIFETIME") {
            Some(seconds) => lifetime(&seconds).ok_or(ConfigError::new(
                "CLERK_MAX_TOKEN_LIFETIME",
                "is not a whole number of seconds from 1 to 86400; leave it empty for 120",
            ))?,
            None => DEFAULT_TOKEN_LIFETIME,
        };

        Ok(Self { issuer, keys, authorized_parties, audience: var("CLERK_AUDIENCE"), max_token_lifetime })
    }
}

fn lifetime(seconds: &str) -> Option<Duration> {
    let lifetime = Duration::from_secs(seconds.parse().ok()?);
    Some(lifetime).filter(|lifetime| !lifetime.is_zero() && *lifetime <= MAX_TOKEN_LIFETIME)
}

fn jwks_url(issuer: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(&format!("{issuer}/.well-known/jwks.json"))
        .map_err(|_| ConfigError::new("CLERK_ISSUER", "is not a URL; write it like https://….clerk.accounts.dev"))?;
    // The keys decide who is believed, so they may not cross a network in the clear.
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        Ok(url)
    } else {
        Err(ConfigError::new("CLERK_ISSUER", "has to begin with https:// (http is for loopback addresses alone)"))
    }
}

/// An origin as `azp` spells it: kept as written, once it is known to have nothing behind the host.
fn origin(party: &str) -> Option<String> {
    let party = party.trim_end_matches('/');
    let url = Url::parse(party).ok()?;
    (url.has_host() && url.path().trim_end_matches('/').is_empty() && url.query().is_none() && url.fragment().is_none())
        .then(|| party.to_owned())
}
