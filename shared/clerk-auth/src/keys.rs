//! The keys that verify a token's signature.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use reqwest::StatusCode;
use tokio::sync::watch;
use url::Url;

use crate::{
    config::is_loopback,
    token_error::{TokenError, VerifyError},
};

/// Keys are fetched again after this time, so that withdrawn keys expire.
const FRESH_FOR: Duration = Duration::from_hours(1);
/// At most one fetch begins within this time, whatever key ids clients invent. Longer than [`FETCH_TIMEOUT`].
const COOL_DOWN: Duration = Duration::from_secs(10);
/// The limit for a whole fetch, from connecting to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set of a hundred keys fits.
const MAX_KEY_SET_BYTES: usize = 64 * 1024;

/// The shortest secure modulus, 2048 bits (NIST SP 800-131A). The crypto library has the same limit.
const MIN_MODULUS_BYTES: usize = 256;

/// RSA public keys in PEM, one after the other while they are being rotated. Dashboards and `.env` files often have line
/// breaks as the two characters `\n`. None if there is no key, or anything else.
pub(crate) fn pem_keys(text: &str) -> Option<Vec<Arc<DecodingKey>>> {
    let pems = pem::parse_many(text.replace("\\n", "\n")).ok().filter(|pems| !pems.is_empty())?;
    let key = |pem: &pem::Pem| {
        let key = DecodingKey::from_rsa_pem(pem::encode(pem).as_bytes()).ok()?;
        // The key's DER contains the modulus and little else.
        key.try_get_as_bytes().is_ok_and(|der| der.len() > MIN_MODULUS_BYTES).then(|| Arc::new(key))
    };
    pems.iter().map(key).collect()
}

pub(crate) enum KeySource {
    /// Keys from the configuration: no request is made.
    Pem(Vec<Arc<DecodingKey>>),
    /// The issuer's published keys.
    Jwks(Url),
}

pub(crate) enum Keys {
    Given(Vec<Arc<DecodingKey>>),
    Published(Published),
}

impl Keys {
    pub(crate) fn new(source: KeySource) -> Self {
        match source {
            KeySource::Pem(keys) => Self::Given(keys),
            KeySource::Jwks(url) => Self::Published(Published { url, cache: Arc::default() }),
        }
    }

    /// The keys that a token whose header names `kid` may be signed with. PEM has no key ids, so all configured keys qualify.
    pub(crate) async fn find(&self, kid: Option<&str>, now: SystemTime) -> Result<Vec<Arc<DecodingKey>>, VerifyError> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::Published(published) => Ok(vec![published.find(kid.ok_or(TokenError::UnknownKey)?, now).await?]),
        }
    }
}

/// The issuer's key set, fetched when first needed and kept.
///
/// A fetch is a task of its own, so it survives the cancellation of the request that began it. One runs at a time. Known
/// keys are used without waiting, also while they are fetched again and while the issuer is down. Only requests without
/// a key wait: those before the first set arrives, and those whose key id is unknown.
pub(crate) struct Published {
    url: Url,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<String, Arc<DecodingKey>>,
    /// When the fetch of these keys began.
    fetched: Option<SystemTime>,
    attempt: Option<Attempt>,
}

struct Attempt {
    begun: SystemTime,
    /// Closed once the fetch is over.
    over: watch::Receiver<()>,
}

/// Whether `now` is less than `span` after `since`. False if the clock was set back before `since`.
fn within(since: Option<SystemTime>, span: Duration, now: SystemTime) -> bool {
    since.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age < span))
}

impl Published {
    async fn find(&self, kid: &str, now: SystemTime) -> Result<Arc<DecodingKey>, VerifyError> {
        let mut over = {
            let mut cache = lock(&self.cache);
            let fresh = within(cache.fetched, FRESH_FOR, now);
            match cache.keys.get(kid).cloned() {
                Some(key) if fresh => return Ok(key),
                Some(key) => {
                    // Lambda can freeze a fetch along with the environment, repeatedly where requests are rare. Waiting for
                    // the fetch after a frozen one keeps a withdrawn key from staying in use.
                    let frozen = cache.attempt.as_ref().is_some_and(|attempt| attempt.is_frozen(now));
                    let over = self.refresh(&mut cache, now);
                    if !frozen {
                        return Ok(key);
                    }
                    over
                }
                None => self.refresh(&mut cache, now),
            }
        };
        // It always fails, when the sender is dropped at the end of the fetch.
        let _ = over.changed().await;
        let cache = lock(&self.cache);
        match cache.keys.get(kid) {
            Some(key) => Ok(key.clone()),
            // Only a set whose fetch began after the token arrived proves that its key is not published.
            None if cache.fetched.is_some_and(|begun| begun >= now) && cache.is_current() => {
                Err(TokenError::UnknownKey.into())
            }
            None if cache.is_current() => Err(VerifyError::KeyUndecided),
            None => Err(VerifyError::KeysUnavailable),
        }
    }

    /// Begins a fetch, unless one began within the cool-down. Returns the end of the latest fetch.
    fn refresh(&self, cache: &mut Cache, now: SystemTime) -> watch::Receiver<()> {
        if let Some(attempt) = cache.attempt.as_ref().filter(|attempt| within(Some(attempt.begun), COOL_DOWN, now)) {
            return attempt.over.clone();
        }
        let (running, over) = watch::channel(());
        cache.attempt = Some(Attempt { begun: now, over: over.clone() });
        let (url, cache) = (self.url.clone(), Arc::clone(&self.cache));
        tokio::spawn(async move {
            let fetched = fetch(&url).await;
            let mut cache = lock(&cache);
            match fetched {
                // A frozen fetch can end after the one that replaced it.
                Ok(keys) if cache.attempt.as_ref().is_some_and(|latest| latest.begun == now) => {
                    cache.keys = keys;
                    cache.fetched = Some(now);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, %url, "the issuer's keys could not be fetched"),
            }
            drop(running);
        });
        over
    }
}

impl Cache {
    /// Whether the keys are those of the latest fetch.
    fn is_current(&self) -> bool {
        self.fetched.is_some() && self.fetched == self.attempt.as_ref().map(|attempt| attempt.begun)
    }
}

impl Attempt {
    /// Whether it is running for longer than a fetch can take.
    fn is_frozen(&self, now: SystemTime) -> bool {
        self.over.has_changed().is_ok() && !within(Some(self.begun), COOL_DOWN, now)
    }
}

/// Nothing panics while holding the lock, which is held only for a lookup.
fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the issuer returned {0}")]
    Status(StatusCode),
    #[error("the key set is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    #[error("the key set is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the key set has no RSA key for signatures")]
    NoKeys,
}

/// RFC 7517, section 5. Parsed as values, so that a key of an unknown type does not invalidate the others.
#[derive(serde::Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

async fn fetch(url: &Url) -> Result<HashMap<String, Arc<DecodingKey>>, FetchError> {
    // Built for each fetch: fetches are rare, and a pooled connection does not survive a freeze.
    let client = reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none());
    // A proxy cannot reach this machine's development instance.
    let client = if is_loopback(url) { client.no_proxy() } else { client };
    let mut response = client.build()?.get(url.clone()).send().await?;
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
    let keys: HashMap<_, _> = set.keys.into_iter().filter_map(signing_key).collect();
    // Every instance has keys, so an empty set is an error and must not replace the known keys.
    if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(keys) }
}

/// The id and the key, if it is an RSA key for signatures.
fn signing_key(jwk: serde_json::Value) -> Option<(String, Arc<DecodingKey>)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let rsa = match &jwk.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            BASE64_URL_SAFE_NO_PAD.decode(&parameters.n).is_ok_and(|modulus| modulus.len() >= MIN_MODULUS_BYTES)
        }
        _ => false,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id?, Arc::new(key))).filter(|_| signs && rsa)
}
