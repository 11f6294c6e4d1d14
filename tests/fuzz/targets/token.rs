//! Whatever text is sent as a token, it is refused: no key that could sign one is known here.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use clerk_auth::{Config, Verifier};
use libfuzzer_sys::fuzz_target;

/// The public half of a key whose private half was thrown away.
const KEY: &str = include_str!("../key.pem");

fuzz_target!(|text: &str| {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let var = |name: &str| match name {
            "CLERK_ISSUER" => Some("https://clerk.example.com".to_owned()),
            "CLERK_JWT_KEY" => Some(KEY.to_owned()),
            _ => None,
        };
        Verifier::new(Config::from_env(var).unwrap())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    assert!(runtime.block_on(VERIFIER.verify(text, now)).is_err());
});
