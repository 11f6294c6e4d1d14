use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use lru::LruCache;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{
    config::{Config, normalize},
    identity::Identity,
    keys::Keys,
    object::Object,
    organization::OrganizationClaims,
    token_error::{TokenError, VerifyError},
    values::{is_valid_id, present_text},
};

/// Larger than any token of Clerk's, whose limit is 4 KB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The tolerated difference between the issuer's clock and ours, the same as in Clerk's SDKs.
const LEEWAY: Duration = Duration::from_secs(5);

/// The number of tokens whose signature is remembered, most recently used. A token and its claims take some 2 KB.
const VERIFIED_TOKENS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Values of the header `cat`, which names the type of a Clerk token.
const CATEGORY_SESSION: &str = "cl_B7d4PD111AAA";
const CATEGORY_TEMPLATE: &str = "cl_B7d4PD222AAA";
/// The prefix of the subjects of machine tokens.
const MACHINE_PREFIX: &str = "mch_";

/// Verifies session tokens of one Clerk instance.
///
/// It accepts only the tokens that the instance issues for users of this API:
///
/// - Session tokens, which have `sid`. They are valid for a minute, and signing out ends them. One that is valid for
///   longer than `CLERK_MAX_TOKEN_LIFETIME`, or has no `iat`, is rejected.
/// - Tokens of a JWT template only if an audience is configured and matches. They have no session, may be valid for
///   years and outlive the session they were issued in. Without an audience, a token that was issued for any other
///   service would be accepted here as well.
/// - Never machine tokens: they identify no user, and all data here belongs to users.
///
/// A browser sends the same token for up to a minute. So the signatures of accepted tokens are remembered, by the whole
/// token and as long as the key that made them is valid. The claims and their times are checked for each request.
pub struct Verifier {
    issuer: String,
    keys: Keys,
    authorized_parties: Vec<String>,
    audience: Option<String>,
    max_lifetime: Duration,
    verified: Mutex<LruCache<Box<str>, Arc<SignedToken>>>,
}

/// What a signature was verified for.
struct SignedToken {
    header: UnverifiedHeader,
    claims: Claims,
    /// The key that made the signature.
    key: Arc<DecodingKey>,
}

impl Verifier {
    /// A verifier with these settings. Makes no request yet.
    pub fn new(config: Config) -> Self {
        Self {
            issuer: config.issuer,
            keys: Keys::new(config.keys),
            authorized_parties: config.authorized_parties,
            audience: config.audience,
            max_lifetime: config.max_token_lifetime,
            verified: Mutex::new(LruCache::new(VERIFIED_TOKENS)),
        }
    }

    /// Verifies `token` as of `now`: its form, its header, its signature, and only then its claims.
    ///
    /// jsonwebtoken parses the header and verifies the signature. Its `decode` would parse header and claims again, and
    /// validate the claims by rules that differ from Clerk's and by a clock that tests cannot set.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, VerifyError> {
        if let Some(verified) = self.verified(token) {
            let keys = self.keys.find(verified.header.kid.as_deref(), now).await?;
            if keys.iter().any(|key| Arc::ptr_eq(key, &verified.key)) {
                return Ok(self.check(&verified, now)?);
            }
        }
        let header = UnverifiedHeader::of(token)?;
        header.check()?;
        // The other members of the header must have the types that the RFCs require.
        jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let keys = self.keys.find(header.kid.as_deref(), now).await?;
        let (claims, key) = Self::signed_claims(token, keys)?;
        let signed = SignedToken { header, claims, key };
        let identity = self.check(&signed, now)?;
        self.lock_verified().put(token.into(), Arc::new(signed));
        Ok(identity)
    }

    fn verified(&self, token: &str) -> Option<Arc<SignedToken>> {
        self.lock_verified().get(token).map(Arc::clone)
    }

    /// Nothing panics while holding the lock, which is held only for an operation of the map.
    fn lock_verified(&self) -> MutexGuard<'_, LruCache<Box<str>, Arc<SignedToken>>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claims, and the one of `keys` that has signed them.
    fn signed_claims(token: &str, keys: Vec<Arc<DecodingKey>>) -> Result<(Claims, Arc<DecodingKey>), TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let mut signer = None;
        for key in keys {
            let verified = crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256);
            if verified.map_err(|_| TokenError::Malformed)? {
                signer = Some(key);
            }
        }
        let signer = signer.ok_or(TokenError::BadSignature)?;
        let (_, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        Ok((decoded(claims)?, signer))
    }

    fn check(&self, token: &SignedToken, now: SystemTime) -> Result<Identity, TokenError> {
        let SignedToken { header, claims, key: _ } = token;
        let session = match header.cat.as_deref() {
            None | Some(CATEGORY_SESSION) => claims.sid.is_some(),
            Some(CATEGORY_TEMPLATE) => false,
            Some(_) => return Err(TokenError::UnsupportedTokenType),
        };
        if claims.sub.starts_with(MACHINE_PREFIX) || (!session && self.audience.is_none()) {
            return Err(TokenError::UnsupportedTokenType);
        }
        let actor = claims.act.as_ref().map(|Object(Actor { sub })| sub);
        let ids = [Some(&claims.sub), claims.sid.as_ref(), actor];
        if !ids.into_iter().flatten().all(|id| is_valid_id(id)) {
            return Err(TokenError::Malformed);
        }
        if claims.iss != self.issuer && normalize(&claims.iss) != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !self.authorized_parties.is_empty()
            && !claims.azp.as_ref().is_some_and(|azp| self.authorized_parties.contains(azp))
        {
            return Err(TokenError::UnauthorizedParty);
        }
        if let Some(audience) = &self.audience
            && !claims.aud.as_ref().is_some_and(|aud| aud.contains(audience))
        {
            return Err(TokenError::WrongAudience);
        }

        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        // In whole seconds like Clerk's verifier: a token that has expired for Clerk has expired here.
        if claims.exp.trunc() <= now - leeway {
            return Err(TokenError::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|time| time > now + leeway) {
            return Err(TokenError::NotActiveYet);
        }
        // The end of a session is stored for longer than this, but not forever.
        let lifetime = claims.iat.map_or(f64::INFINITY, |iat| claims.exp - iat);
        if claims.sid.is_some() && lifetime > self.max_lifetime.as_secs_f64() {
            return Err(TokenError::LifetimeTooLong);
        }
        if claims.sts.as_ref().is_some_and(|status| status != "active") {
            return Err(TokenError::PendingSession);
        }

        Ok(Identity {
            user_id: claims.sub.clone(),
            session_id: claims.sid.clone(),
            issuer: self.issuer.clone(),
            issued_at: milliseconds(claims.iat),
            email: claims.email.clone().and_then(present_text),
            first_name: claims.first_name.clone().and_then(present_text),
            last_name: claims.last_name.clone().and_then(present_text),
            actor: actor.cloned(),
            organization: claims.organization.clone(),
        })
    }
}

/// Seconds since the epoch as whole milliseconds.
fn milliseconds(seconds: Option<f64>) -> u64 {
    // Negative and too large values have been rejected before.
    let since = Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// A token's header, which is not trusted: it only selects the key.
#[derive(Deserialize)]
struct UnverifiedHeader {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    cat: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<serde::de::IgnoredAny>,
}

/// The JSON object of a header or of claims. All of it must be UTF-8 (RFC 7519, section 7.2), also members that are not
/// read, in which `serde_json` does not check it.
fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let part = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    let part = str::from_utf8(&part).map_err(|_| TokenError::Malformed)?;
    let Object(part) = serde_json::from_str(part).map_err(|_| TokenError::Malformed)?;
    Ok(part)
}

impl UnverifiedHeader {
    fn of(token: &str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Malformed);
        };
        decoded(header)
    }

    fn check(&self) -> Result<(), TokenError> {
        let supported =
            self.alg == "RS256" && self.typ.as_deref().is_none_or(|typ| typ == "JWT") && self.crit.is_none();
        if supported { Ok(()) } else { Err(TokenError::UnsupportedHeader) }
    }
}

/// A member that may be missing but not null: null is not a value of its type, in Clerk's verifier as well.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The claims that this API reads. A token may have more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    iss: String,
    sub: String,
    /// Seconds since the epoch, as are `nbf` and `iat`; RFC 7519 allows fractions.
    exp: f64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    azp: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    sid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    sts: Option<String>,
    /// Null if a template leaves it empty: the session is not impersonated.
    act: Option<Object<Actor>>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    #[serde(flatten)]
    organization: OrganizationClaims,
}

/// The party that acts as the user (RFC 8693, section 4.1). Without its `sub` the session could not be traced to it, so
/// the token is rejected.
#[derive(Deserialize)]
struct Actor {
    sub: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}
