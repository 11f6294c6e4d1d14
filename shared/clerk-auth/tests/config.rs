//! Settings that are missing or wrong are named.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use clerk_auth::Config;
use local::clerk::SigningKey;

fn problem(settings: &[(&str, &str)]) -> Option<String> {
    let var =
        |name: &str| settings.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
    Config::from_env(var).err().map(|error| error.to_string())
}

#[test]
fn a_wrong_setting_is_named() {
    const ISSUER: (&str, &str) = ("CLERK_ISSUER", "https://clerk.example.com");
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[], "CLERK_ISSUER is not set"),
        (&[("CLERK_ISSUER", "")], "CLERK_ISSUER is not set"),
        (&[("CLERK_ISSUER", "clerk.example.com")], "CLERK_ISSUER is not a URL"),
        (&[("CLERK_ISSUER", "http://clerk.example.com")], "CLERK_ISSUER has to begin with https://"),
        (&[("CLERK_ISSUER", "ftp://localhost")], "CLERK_ISSUER has to begin with https://"),
        (&[ISSUER, ("CLERK_JWT_KEY", "sk_test_123")], "CLERK_JWT_KEY is not an RSA public key"),
        (&[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "app")], "CLERK_AUTHORIZED_PARTIES holds"),
        (
            &[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "https://a.example, https://b.example/path")],
            "CLERK_AUTHORIZED_PARTIES holds",
        ),
        (&[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "https://a.example?x=1")], "CLERK_AUTHORIZED_PARTIES holds"),
    ];
    for (settings, expected) in cases {
        let problem = problem(settings).unwrap_or_default();
        assert!(problem.starts_with(expected), "{settings:?} gave {problem:?}");
    }
}

#[test]
fn settings_as_people_write_them_are_taken() {
    let pem = SigningKey::generate().and_then(|key| key.public_key_pem()).expect("a key");
    let cases: [&[(&str, &str)]; 5] = [
        &[("CLERK_ISSUER", "https://clerk.example.com/")],
        &[("CLERK_ISSUER", "http://127.0.0.1:4500")],
        &[("CLERK_ISSUER", "http://localhost:4500")],
        &[("CLERK_ISSUER", "https://clerk.example.com"), ("CLERK_JWT_KEY", &pem)],
        &[("CLERK_ISSUER", "https://clerk.example.com"), ("CLERK_JWT_KEY", &pem.replace('\n', "\\n"))],
    ];
    for settings in cases {
        assert_eq!(problem(settings), None, "{settings:?}");
    }
}
