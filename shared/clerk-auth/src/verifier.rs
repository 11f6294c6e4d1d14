use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use crate::{Config, Identity, Refusal, VerifyError, keys::Keys};

/// A larger token is none of Clerk's, whose limit is 4 KB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// A DynamoDB key holds 2048 bytes; Clerk's ids have some thirty.
const MAX_ID_BYTES: usize = 256;
/// How far the issuer's clock and ours may be apart. Clerk's own SDKs allow the same.
const LEEWAY: Duration = Duration::from_secs(5);

/// Verifies session tokens of one Clerk instance.
pub struct Verifier {
    issuer: String,
    keys: Keys,
    authorized_parties: Vec<String>,
    audience: Option<String>,
    signature_only: Validation,
}

impl Verifier {
    /// A verifier that accepts what `config` says. Makes no request yet.
    pub fn new(config: Config) -> Self {
        // jsonwebtoken checks the signature; the claims are checked below, by Clerk's rules and an explicit clock.
        let mut signature_only = Validation::new(Algorithm::RS256);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        Self {
            issuer: config.issuer,
            keys: Keys::new(config.keys),
            authorized_parties: config.authorized_parties,
            audience: config.audience,
            signature_only,
        }
    }

    /// Verifies `token` as of `now`: its form, its header, its signature, and only then its claims.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, VerifyError> {
        let header = UnverifiedHeader::of(token)?;
        header.check()?;
        let key = self.keys.find(header.kid.as_deref(), now).await?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.signature_only)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => Refusal::BadSignature,
                _ => Refusal::Malformed,
            })?
            .claims;
        Ok(self.check(claims, now)?)
    }

    fn check(&self, claims: Claims, now: SystemTime) -> Result<Identity, Refusal> {
        if claims.sub.is_empty() || claims.sub.len() > MAX_ID_BYTES {
            return Err(Refusal::Malformed);
        }
        if claims.sid.as_ref().is_some_and(|sid| sid.is_empty() || sid.len() > MAX_ID_BYTES) {
            return Err(Refusal::Malformed);
        }
        if claims.iss.strip_suffix('/').unwrap_or(&claims.iss) != self.issuer {
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
        if claims.exp <= now - leeway {
            return Err(Refusal::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|time| time > now + leeway) {
            return Err(Refusal::NotActiveYet);
        }
        if claims.sts.is_some_and(|status| status != "active") {
            return Err(Refusal::PendingSession);
        }

        Ok(Identity {
            user_id: claims.sub,
            session_id: claims.sid,
            issuer: self.issuer.clone(),
            email: claims.email,
            first_name: claims.first_name,
            last_name: claims.last_name,
        })
    }
}

/// A token's header, believed by nobody: it chooses the key, and what it asks for is refused or granted.
#[derive(Deserialize)]
struct UnverifiedHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
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
        serde_json::from_slice(&header).map_err(|_| Refusal::Malformed)
    }

    fn check(&self) -> Result<(), Refusal> {
        let supported = self.alg == "RS256"
            && self.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"))
            && self.crit.is_none();
        if supported { Ok(()) } else { Err(Refusal::UnsupportedHeader) }
    }
}

/// The claims this API reads. A token may carry more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    iss: String,
    sub: String,
    /// Seconds since the epoch, as are `nbf` and `iat`; RFC 7519 allows fractions.
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    azp: Option<String>,
    aud: Option<Audience>,
    sid: Option<String>,
    sts: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
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
