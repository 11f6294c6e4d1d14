use std::{borrow::Cow, fmt, time::Duration};

use url::Url;

use crate::keys::{KeySource, pem_keys};

/// The longest lifetime of a session token that can be configured. The end of a session must be stored for longer than
/// that, from its receipt.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// Clerk's tokens for browsers live for 60 s.
const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_mins(2);

/// A setting that is missing or invalid. `Display` names the variable and says what to do. It never shows the value.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    variable: Cow<'static, str>,
    problem: Cow<'static, str>,
}

impl ConfigError {
    /// `problem` continues a sentence that begins with the variable's name.
    pub fn new(variable: impl Into<Cow<'static, str>>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { variable: variable.into(), problem: problem.into() }
    }
}

/// The configuration of a [`Verifier`](crate::Verifier).
pub struct Config {
    pub(crate) issuer: String,
    pub(crate) keys: KeySource,
    pub(crate) authorized_parties: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) max_token_lifetime: Duration,
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
    /// Reads the settings through `var`, which looks up an environment variable. An empty variable counts as unset.
    ///
    /// - `CLERK_ISSUER`, required: Clerk's Frontend API URL.
    /// - `CLERK_JWT_KEY`: the instance's public key in PEM, or several while it is being rotated; line breaks may be
    ///   written `\n`. Without it the keys are fetched from the issuer.
    /// - `CLERK_AUTHORIZED_PARTIES`: comma-separated origins that `azp` must be one of. They may be written in any form:
    ///   browsers serialize origins, so `azp` is compared with the serialized form.
    /// - `CLERK_AUDIENCE`: what `aud` must contain.
    /// - `CLERK_MAX_TOKEN_LIFETIME`: how many seconds `exp` may lie after `iat` in a token of a session, at most
    ///   [`MAX_TOKEN_LIFETIME`]; 120 by default.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());

        let issuer = var("CLERK_ISSUER").ok_or(ConfigError::new(
            "CLERK_ISSUER",
            "is not set. Set it to the Frontend API URL from Clerk's dashboard, https://….clerk.accounts.dev",
        ))?;
        let (issuer, jwks) = parse_issuer(&issuer).map_err(|problem| ConfigError::new("CLERK_ISSUER", problem))?;
        let keys = match var("CLERK_JWT_KEY") {
            Some(pem) => KeySource::Pem(pem_keys(&pem).ok_or(ConfigError::new(
                "CLERK_JWT_KEY",
                "is not an RSA public key in PEM (-----BEGIN PUBLIC KEY-----) of at least 2048 bits. Copy it from API keys in Clerk's dashboard",
            ))?),
            None => KeySource::Jwks(jwks),
        };

        let authorized_parties = match var("CLERK_AUTHORIZED_PARTIES") {
            Some(parties) => {
                origins(&parties).map_err(|problem| ConfigError::new("CLERK_AUTHORIZED_PARTIES", problem))?
            }
            None => Vec::new(),
        };
        let max_token_lifetime = match var("CLERK_MAX_TOKEN_LIFETIME") {
            Some(seconds) => lifetime(&seconds).ok_or(ConfigError::new(
                "CLERK_MAX_TOKEN_LIFETIME",
                "is not a whole number of seconds from 1 to 86400. Leave it empty for 120",
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

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The issuer in the form that `iss` is compared with, and the URL of its keys.
///
/// The template's parameter `ClerkIssuer` has the same rule as a pattern, except for loopback hosts.
fn parse_issuer(text: &str) -> Result<(String, Url), &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL. Write it like https://….clerk.accounts.dev")?;
    // The keys decide which tokens are trusted, so they must not cross a network unencrypted.
    let loopback = is_loopback(&url);
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err("must begin with https:// (http only for loopback hosts)");
    }
    if url.path().contains("/.well-known") || url.path().trim_end_matches('/').ends_with("/jwks") {
        return Err("is the URL of the keys. Write the Frontend API URL, which ends before /.well-known");
    }
    let consists_of = |text: &str, others: &str| {
        !text.is_empty()
            && text.chars().all(|character| character.is_ascii_alphanumeric() || others.contains(character))
    };
    let host = loopback
        || url.domain().is_some_and(|name| name.contains('.') && name.split('.').all(|label| consists_of(label, "-")));
    let path = url.path().trim_end_matches('/');
    let issuer = format!("{}{path}", url.origin().ascii_serialization());
    let path = path.is_empty() || path.split('/').skip(1).all(|segment| consists_of(segment, "-_"));
    // Clerk writes a host and perhaps a path into `iss`. A URL that the parser had to correct has something else.
    if !host || !path || normalize(text.trim_end_matches('/')) != issuer {
        return Err(
            "has more than a host and a path of letters, digits, - and _. Copy the Frontend API URL from Clerk's dashboard",
        );
    }
    let keys = Url::parse(&format!("{issuer}/.well-known/jwks.json")).map_err(|_| "is not a URL")?;
    Ok((issuer, keys))
}

/// A URL with its scheme and host in lower case, without the scheme's default port and without a slash at its end
/// (RFC 3986, section 6.2.2 and 6.2.3).
pub(crate) fn normalize(url: &str) -> String {
    let url = url.strip_suffix('/').unwrap_or(url);
    let host = url.find("://").map_or(0, |colon| colon + 3);
    let (authority, path) =
        url.split_at(url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |end| host + end));
    let authority = authority.to_ascii_lowercase();
    let port = if authority.starts_with("https://") { ":443" } else { ":80" };
    format!("{}{path}", authority.strip_suffix(port).unwrap_or(&authority))
}

/// Serialized origins (RFC 6454, section 6.1), as browsers send them and Clerk writes them into `azp`.
fn origins(text: &str) -> Result<Vec<String>, &'static str> {
    let parties = text.split(',').map(str::trim).filter(|party| !party.is_empty());
    let origins: Option<Vec<String>> = parties.map(origin).collect();
    // Also after serialization, since a host can contain one as `%2a`.
    if text.contains('*') || origins.iter().flatten().any(|origin| origin.contains('*')) {
        return Err(
            "has a wildcard, which is unsafe: anyone can get a name below a shared domain such as vercel.app. List each \
             origin, and give preview deployments a stack of their own with Clerk's development instance",
        );
    }
    origins
        .filter(|origins| !origins.is_empty())
        .ok_or("has a value that is not an origin. Write origins like https://app.example.com, separated by commas")
}

/// Schemes of the pages within browser extensions and applications.
const APPLICATIONS: [&str; 6] =
    ["capacitor", "chrome-extension", "ionic", "moz-extension", "safari-web-extension", "tauri"];

fn origin(party: &str) -> Option<String> {
    let url = Url::parse(party).ok()?;
    let bare = url.has_host() && matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let named = url.host_str().is_some_and(|host| host.split('.').all(|label| !label.is_empty()));
    let origin = match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        scheme if APPLICATIONS.contains(&scheme) => url.as_str().trim_end_matches('/').to_owned(),
        _ => return None,
    };
    (bare && anonymous && named).then_some(origin)
}
