//! Where the keys that check a signature come from.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use reqwest::StatusCode;
use tokio::sync::RwLock;
use url::Url;

use crate::{Refusal, VerifyError, config::KeySource};

/// Fetched keys are asked for again after this time, so that a key that was withdrawn is forgotten.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// No two requests for the keys begin within this time, whatever key ids callers make up.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// A request for the keys, from the first byte to the last.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set of a hundred keys fits.
const MAX_KEY_SET_BYTES: usize = 64 * 1024;

/// The shortest modulus that is safe to rely on, 2048 bits (NIST SP 800-131A); the crypto library holds to it as well.
const MIN_MODULUS_BYTES: usize = 256;

/// RSA public keys in PEM, one after the other while they are being rotated. Environment pages and `.env` files often
/// hold line breaks as the two characters `\n`. None if there is no key, or anything else.
pub(crate) fn pem_keys(text: &str) -> Option<Vec<DecodingKey>> {
    let pems = pem::parse_many(text.replace("\\n", "\n")).ok().filter(|pems| !pems.is_empty())?;
    let key = |pem: &pem::Pem| {
        let key = DecodingKey::from_rsa_pem(pem::encode(pem).as_bytes()).ok()?;
        // The key's DER holds the modulus and little else.
        key.try_get_as_bytes().is_ok_and(|der| der.len() > MIN_MODULUS_BYTES).then_some(key)
    };
    pems.iter().map(key).collect()
}

pub(crate) enum Keys {
    Given(Vec<DecodingKey>),
    Published(Published),
}

impl Keys {
    pub(crate) fn new(source: KeySource) -> Self {
        match source {
            KeySource::Pem(keys) => Self::Given(keys),
            KeySource::Jwks(url) => Self::Published(Published { url, cache: RwLock::default() }),
        }
    }

    /// The keys that a token whose header names `kid` may be signed with. PEM names no key, so all that are given may.
    pub(crate) async fn find(&self, kid: Option<&str>, now: SystemTime) -> Result<Vec<DecodingKey>, VerifyError> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::Published(published) => Ok(vec![published.find(kid.ok_or(Refusal::UnknownKey)?, now).await?]),
        }
    }
}

/// The issuer's key set, fetched when first needed and kept.
///
/// One request is under way at a time: whoever needs a key that is not there waits for the write lock and looks again.
/// While the issuer is down, the keys at hand stay in use.
pub(crate) struct Published {
    url: Url,
    cache: RwLock<Cache>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<String, DecodingKey>,
    fetched: Option<SystemTime>,
    attempted: Option<SystemTime>,
}

impl Cache {
    fn fresh(&self, now: SystemTime) -> bool {
        within(self.fetched, FRESH_FOR, now)
    }
}

/// Whether `now` is less than `span` away from `since`. A clock that was set back counts as far away.
fn within(since: Option<SystemTime>, span: Duration, now: SystemTime) -> bool {
    since.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age < span))
}

impl Published {
    async fn find(&self, kid: &str, now: SystemTime) -> Result<DecodingKey, VerifyError> {
        {
            let cache = self.cache.read().await;
            if let Some(key) = cache.keys.get(kid).filter(|_| cache.fresh(now)) {
                return Ok(key.clone());
            }
        }
        let mut cache = self.cache.write().await;
        let known = cache.keys.contains_key(kid) && cache.fresh(now);
        if !known && !within(cache.attempted, COOL_DOWN, now) {
            cache.attempted = Some(now);
            match fetch(&self.url).await {
                Ok(keys) => {
                    cache.keys = keys;
                    cache.fetched = Some(now);
                }
                Err(error) => tracing::error!(%error, url = %self.url, "the issuer's keys could not be fetched"),
            }
        }
        match cache.keys.get(kid) {
            Some(key) => Ok(key.clone()),
            // An unknown id says something about the token only while the key set at hand is the issuer's present one.
            None if cache.fetched.is_some() && cache.fetched == cache.attempted => Err(Refusal::UnknownKey.into()),
            None => Err(VerifyError::KeysUnavailable),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the issuer answered {0}")]
    Status(StatusCode),
    #[error("the key set is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    #[error("the key set is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// RFC 7517, section 5. Values, not keys: one of a kind that is not known here must not spoil the rest.
#[derive(serde::Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

async fn fetch(url: &Url) -> Result<HashMap<String, DecodingKey>, FetchError> {
    // Built for each fetch: fetches are rare, and a connection that was kept through a freeze is dead.
    let client =
        reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
    let mut response = client.get(url.clone()).send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_KEY_SET_BYTES {
            return Err(FetchError::TooLarge);
        }
    }
    let set: KeySet = serde_json::from_slice(&body)?;
    Ok(set.keys.into_iter().filter_map(signing_key).collect())
}

/// The id and the key, if it is an RSA key for signatures.
fn signing_key(jwk: serde_json::Value) -> Option<(String, DecodingKey)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let rsa = match &jwk.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            BASE64_URL_SAFE_NO_PAD.decode(&parameters.n).is_ok_and(|modulus| modulus.len() >= MIN_MODULUS_BYTES)
        }
        _ => false,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id?, key)).filter(|_| signs && rsa)
}
