//! Any text is rejected as a token without a signature. With one, it is accepted only if its claims are acceptable: the
//! input's first line is signed as the header, the rest as the claims.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use clerk_auth::{Config, Verifier};
use libfuzzer_sys::fuzz_target;
use signing_key::SigningKey;

#[path = "../../../shared/clerk-auth/tests/model/mod.rs"]
mod model;

/// A new key each time, since only its signatures matter.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());

fuzz_target!(|bytes: &[u8]| {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let pem = KEY.public_key_pem().unwrap();
        let var = |name: &str| match name {
            "CLERK_ISSUER" => Some(model::ISSUER.to_owned()),
            "CLERK_JWT_KEY" => Some(pem.clone()),
            _ => None,
        };
        Verifier::new(Config::from_env(var).unwrap())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(model::NOW.into());
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(runtime.block_on(VERIFIER.verify(text, now)).is_err());
    }
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, claims) = bytes.split_at(line);
    let claims = claims.get(1..).unwrap_or_default();
    if let Ok(identity) = runtime.block_on(VERIFIER.verify(&KEY.sign_raw(header, claims).unwrap(), now)) {
        model::assert_acceptable(&identity, header, claims);
    }
});
