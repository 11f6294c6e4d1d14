//! Whatever text is sent as a token, it is refused without a signature. With one, it is accepted only if its claims are
//! acceptable: the input's first line is signed as the header, the rest as the claims.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{Config, Verifier};
use libfuzzer_sys::fuzz_target;

#[path = "../../../shared/clerk-auth/tests/model/mod.rs"]
mod model;

/// Another one each time, since only its signatures matter.
static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn signed(header: &[u8], claims: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fuzz_target!(|bytes: &[u8]| {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(KEY.public_key()).unwrap();
        let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref()));
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
    if let Ok(identity) = runtime.block_on(VERIFIER.verify(&signed(header, claims), now)) {
        model::assert_acceptable(&identity, header, claims);
    }
});
