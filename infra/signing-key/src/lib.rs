//! The key of a Clerk instance, which signs session tokens: for the development Clerk and for tests.

use anyhow::{Context, Result};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use pem::{EncodeConfig, LineEnding, Pem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Seconds that a session token is valid for, as with Clerk.
const TOKEN_LIFETIME: u64 = 60;

/// The authorized party of session tokens, unless `azp` names another: the front end in development.
pub const ORIGIN: &str = "http://localhost:3000";

/// An RSA key that signs tokens.
pub struct SigningKey {
    kid: String,
    pair: KeyPair,
    pkcs8: Vec<u8>,
}

/// The stored form of a [`SigningKey`].
#[derive(Deserialize, Serialize)]
pub struct StoredKey {
    kid: String,
    /// Base64 of PKCS #8.
    pkcs8: String,
}

impl SigningKey {
    /// A new key of 2048 bits.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("the RSA key cannot be generated")?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).context("the RSA key cannot be encoded")?;
        let kid = format!("ins_{}", uuid::Uuid::new_v4().simple());
        Ok(Self { kid, pkcs8: pkcs8.as_ref().to_vec(), pair })
    }

    /// The key that was stored.
    pub fn load(stored: &StoredKey) -> Result<Self> {
        let pkcs8 = BASE64_STANDARD.decode(&stored.pkcs8).context("the stored key is not base64")?;
        let pair = KeyPair::from_pkcs8(&pkcs8).context("the stored key is not an RSA key")?;
        Ok(Self { kid: stored.kid.clone(), pair, pkcs8 })
    }

    /// The form to store.
    pub fn stored(&self) -> StoredKey {
        StoredKey { kid: self.kid.clone(), pkcs8: BASE64_STANDARD.encode(&self.pkcs8) }
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a member of a JSON Web Key Set (RFC 7517).
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "use": "sig", "kty": "RSA", "alg": "RS256", "kid": self.kid,
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The public key in PEM (`BEGIN PUBLIC KEY`), as Clerk's dashboard shows it.
    pub fn public_key_pem(&self) -> Result<String> {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.pair.public_key()).context("the key cannot be encoded")?;
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        Ok(pem::encode_config(&Pem::new("PUBLIC KEY", der.as_ref()), config))
    }

    /// Signs any header and any claims with RS256, also invalid ones for tests.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        self.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs any header and claims, which need not be JSON.
    pub fn sign_raw(&self, header: &[u8], claims: &[u8]) -> Result<String> {
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .context("the token cannot be signed")?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A session token in Clerk's form, with `extra` claims. `now` is in seconds since the epoch.
    pub fn session_token(
        &self,
        issuer: &str,
        user_id: &str,
        session_id: &str,
        now: u64,
        extra: &Value,
    ) -> Result<String> {
        let header = json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": self.kid, "typ": "JWT" });
        let mut claims = json!({
            "azp": ORIGIN, "exp": now + TOKEN_LIFETIME, "fva": [0, -1], "iat": now, "iss": issuer,
            "jti": uuid::Uuid::new_v4().simple().to_string(), "nbf": now - 10, "sid": session_id, "sts": "active",
            "sub": user_id, "v": 2,
        });
        if let (Some(claims), Some(extra)) = (claims.as_object_mut(), extra.as_object()) {
            // Clerk omits claims that a template leaves empty.
            claims.extend(extra.clone().into_iter().filter(|(_, value)| !value.is_null()));
        }
        self.sign(&header, &claims)
    }
}
