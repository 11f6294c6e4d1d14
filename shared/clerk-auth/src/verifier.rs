use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{Deserialize, Deserializer};

use crate::{
    Config, Identity, MAX_ID_BYTES, Refusal, VerifyError, config::normalize, keys::Keys, object::Object,
    organization::OrganizationClaims, present_text,
};

/// A larger token is none of Clerk's, whose limit is 4 KB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far the issuer's clock and ours may be apart. Clerk's own SDKs allow the same.
const LEEWAY: Duration = Duration::from_secs(5);

/// The values of the header `cat`, by which Clerk tells its kinds of tokens apart.
const CATEGORY_SESSION: &str = "cl_B7d4PD111AAA";
const CATEGORY_TEMPLATE: &str = "cl_B7d4PD222AAA";
/// What the subjects of machine tokens begin with.
const MACHINE_PREFIX: &str = "mch_";

/// Verifies session tokens of one Clerk instance.
///
/// It takes what that instance issues for people who use this API, and nothing else:
///
/// - Session tokens, which carry `sid`. They live for a minute, and signing out ends them. One that is valid for longer
///   than `CLERK_MAX_TOKEN_LIFETIME`, or does not say since when, is refused.
/// - Tokens made from a JWT template only where an audience is configured and matches. They carry no session, may live
///   for years and outlive the session they were made in; without an audience of its own, a token that was made for
///   any other service would open this one as well.
/// - Machine tokens never: they name no person, and all data here belongs to people.
pub struct Verifier {
    issuer: String,
    keys: Keys,
    authorized_parties: Vec<String>,
    audience: Option<String>,
    max_lifetime: Duration,
}

impl Verifier {
    /// A verifier that accepts what `config` says. Makes no request yet.
    pub fn new(config: Config) -> Self {
        Self {
            issuer: config.issuer,
            keys: Keys::new(config.keys),
            authorized_parties: config.authorized_parties,
            audience: config.audience,
            max_lifetime: config.max_token_lifetime,
        }
    }

    /// Verifies `token` as of `now`: its form, its header, its signature, and only then its claims.
    ///
    /// jsonwebtoken reads the header and checks the signature. Its `decode` would read header and claims once more, and
    /// check the claims by rules that are not Clerk's and a clock that no test can set.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, VerifyError> {
        let header = UnverifiedHeader::of(token)?;
        header.check()?;
        // What it holds besides has to be as the RFCs have it.
        jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        let keys = self.keys.find(header.kid.as_deref(), now).await?;
        let claims = Self::signed_claims(token, &keys)?;
        Ok(self.check(&header, claims, now)?)
    }

    /// The claims, if one of `keys` has signed them.
    fn signed_claims(token: &str, keys: &[DecodingKey]) -> Result<Claims, Refusal> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let mut signed = false;
        for key in keys {
            let verified = crypto::verify(signature, message.as_bytes(), key, Algorithm::RS256);
            signed |= verified.map_err(|_| Refusal::Malformed)?;
        }
        if !signed {
            return Err(Refusal::BadSignature);
        }
        let (_, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).map_err(|_| Refusal::Malformed)?;
        let Object(claims) = serde_json::from_slice(&claims).map_err(|_| Refusal::Malformed)?;
        Ok(claims)
    }

    fn check(&self, header: &UnverifiedHeader, claims: Claims, now: SystemTime) -> Result<Identity, Refusal> {
        let session = match header.cat.as_deref() {
            None | Some(CATEGORY_SESSION) => claims.sid.is_some(),
            Some(CATEGORY_TEMPLATE) => false,
            Some(_) => return Err(Refusal::WrongKind),
        };
        if claims.sub.starts_with(MACHINE_PREFIX) || (!session && self.audience.is_none()) {
            return Err(Refusal::WrongKind);
        }
        let actor = claims.act.map(|Object(Actor { sub })| sub);
        let ids = [Some(&claims.sub), claims.sid.as_ref(), actor.as_ref()];
        if ids.into_iter().flatten().any(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
            return Err(Refusal::Malformed);
        }
        if claims.iss != self.issuer && normalize(&claims.iss) != self.issuer {
            return Err(Refusal::WrongIssuer);
        }
        if !self.authorized_parties.is_empty() && !claims.azp.is_some_and(|azp| self.authorized_parties.contains(&azp))
        {
            return Err(Refusal::WrongParty);
        }
        if let Some(audience) = &self.audience
            && !claims.aud.is_some_and(|aud| aud.contains(audience))
        {
            return Err(Refusal::WrongAudience);
        }

        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = LEEWAY.as_secs_f64();
        // Whole seconds, as Clerk's own verifier counts: what has expired for Clerk has expired here.
        if claims.exp.trunc() <= now - leeway {
            return Err(Refusal::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|time| time > now + leeway) {
            return Err(Refusal::NotActiveYet);
        }
        // The end of a session is remembered for longer than this, and not for good.
        let lifetime = claims.iat.map_or(f64::INFINITY, |iat| claims.exp - iat);
        if claims.sid.is_some() && lifetime > self.max_lifetime.as_secs_f64() {
            return Err(Refusal::LifetimeTooLong);
        }
        if claims.sts.is_some_and(|status| status != "active") {
            return Err(Refusal::PendingSession);
        }

        Ok(Identity {
            user_id: claims.sub,
            session_id: claims.sid,
            issuer: self.issuer.clone(),
            issued_at: milliseconds(claims.iat),
            email: claims.email.and_then(present_text),
            first_name: claims.first_name.and_then(present_text),
            last_name: claims.last_name.and_then(present_text),
            actor,
            organization: claims.organization,
        })
    }
}

/// Seconds since the epoch as whole milliseconds.
fn milliseconds(seconds: Option<f64>) -> u64 {
    // A duration refuses what is negative or too large; neither gets past the checks of time.
    let since = Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// A token's header, believed by nobody: it chooses the key, and what it asks for is refused or granted.
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

impl UnverifiedHeader {
    fn of(token: &str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::Malformed);
        };
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| Refusal::Malformed)?;
        let Object(header) = serde_json::from_slice(&header).map_err(|_| Refusal::Malformed)?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Refusal> {
        let supported =
            self.alg == "RS256" && self.typ.as_deref().is_none_or(|typ| typ == "JWT") && self.crit.is_none();
        if supported { Ok(()) } else { Err(Refusal::UnsupportedHeader) }
    }
}

/// A member that may be missing but not null: null is no value of its type, and Clerk's own verifier says so too.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The claims this API reads. A token may carry more.
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
    /// Null where a template leaves it empty: nobody else acts as the user.
    act: Option<Object<Actor>>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    #[serde(flatten)]
    organization: OrganizationClaims,
}

/// The party that acts as the user (RFC 8693, section 4.1). Without its `sub` the session could not be traced to it, so
/// the token is refused.
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
