//! Errors name the setting that is missing or wrong.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use clerk_auth::Config;
use signing_key::SigningKey;

fn problem(settings: &[(&str, &str)]) -> Option<String> {
    let var =
        |name: &str| settings.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
    Config::from_env(var).err().map(|error| error.to_string())
}

#[test]
fn invalid_settings_are_named() {
    const ISSUER: (&str, &str) = ("CLERK_ISSUER", "https://clerk.example.com");
    const KEYS: &str = "CLERK_ISSUER is the URL of the keys";
    let cases: [(&[(&str, &str)], &str); 15] = [
        (&[], "CLERK_ISSUER is not set"),
        (&[("CLERK_ISSUER", "")], "CLERK_ISSUER is not set"),
        (&[("CLERK_ISSUER", "clerk.example.com")], "CLERK_ISSUER is not a URL"),
        (&[("CLERK_ISSUER", "http://clerk.example.com")], "CLERK_ISSUER must begin with https://"),
        (&[("CLERK_ISSUER", "ftp://localhost")], "CLERK_ISSUER must begin with https://"),
        (&[ISSUER, ("CLERK_JWT_KEY", "sk_test_123")], "CLERK_JWT_KEY is not an RSA public key"),
        (&[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "app")], "CLERK_AUTHORIZED_PARTIES has a value that is not an origin"),
        (
            &[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "https://a.example, https://b.example/path")],
            "CLERK_AUTHORIZED_PARTIES has a value that is not an origin",
        ),
        (
            &[ISSUER, ("CLERK_AUTHORIZED_PARTIES", "https://a.example?x=1")],
            "CLERK_AUTHORIZED_PARTIES has a value that is not an origin",
        ),
        (&[("CLERK_ISSUER", "https://clerk.example.com/.well-known/jwks.json")], KEYS),
        (&[("CLERK_ISSUER", "https://clerk.example.com/.well-known/openid-configuration")], KEYS),
        (&[("CLERK_ISSUER", "https://api.clerk.com/v1/jwks")], KEYS),
        (&[ISSUER, ("CLERK_MAX_TOKEN_LIFETIME", "0")], "CLERK_MAX_TOKEN_LIFETIME is not a whole number"),
        (&[ISSUER, ("CLERK_MAX_TOKEN_LIFETIME", "86401")], "CLERK_MAX_TOKEN_LIFETIME is not a whole number"),
        (&[ISSUER, ("CLERK_MAX_TOKEN_LIFETIME", "60s")], "CLERK_MAX_TOKEN_LIFETIME is not a whole number"),
    ];
    for (settings, expected) in cases {
        let problem = problem(settings).unwrap_or_default();
        assert!(problem.starts_with(expected), "{settings:?} gave {problem:?}");
    }
}

#[test]
fn common_spellings_of_settings_are_accepted() {
    let pem = SigningKey::generate().and_then(|key| key.public_key_pem()).expect("a key");
    let cases: [&[(&str, &str)]; 6] = [
        &[("CLERK_ISSUER", "https://clerk.example.com"), ("CLERK_MAX_TOKEN_LIFETIME", " 86400 ")],
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

#[test]
fn unmatchable_authorized_parties_are_rejected() {
    let problem = |parties| problem(&[("CLERK_ISSUER", "https://a.example"), ("CLERK_AUTHORIZED_PARTIES", parties)]);
    for parties in [
        ",",
        " , ,",
        "null",
        "app.example.com",
        "//app.example.com",
        "https://",
        "https://app.example.com/path",
        "https://app.example.com#top",
        "https://ada@app.example.com",
        "https://app.example.com:99999",
        "https://app.example.com https://b.example",
        "https://app.example.com; https://b.example",
        "ftp://app.example.com",
        "wss://app.example.com",
        "file:///app",
        "data:text/html,",
        "data://x",
        "about://blank",
        "mailto://x",
        "htps://app.example.com",
        "localhost://3000",
        "https://app.example.com.",
        "https://app..example.com",
    ] {
        let problem = problem(parties).unwrap_or_default();
        assert!(
            problem.starts_with("CLERK_AUTHORIZED_PARTIES has a value that is not an origin"),
            "{parties:?} gave {problem:?}"
        );
    }
    for wildcard in [
        "*",
        "https://*.vercel.app",
        "https://app.example.com,https://*",
        "https://app-*.example.com",
        "https://%2a.vercel.app",
        "https://＊.vercel.app",
    ] {
        let problem = problem(wildcard).unwrap_or_default();
        for part in ["has a wildcard", "anyone", "preview deployments"] {
            assert!(problem.contains(part), "{wildcard:?} gave {problem:?}");
        }
    }
    assert_eq!(problem("  "), None, "blank is unset");
}

/// The template accepts exactly the issuers with which the functions start.
#[test]
fn template_and_code_accept_the_same_issuers() {
    let template = include_str!("../../../template.yaml");
    let parameter = template.split_once("\n  ClerkIssuer:").expect("the parameter").1;
    let pattern = parameter.split_once("AllowedPattern: ").expect("a pattern").1.lines().next().expect("a line");
    let pattern = fancy_regex::Regex::new(pattern).expect("a pattern");
    for (issuer, good) in [
        ("https://clerk.example.com", true),
        ("https://clerk.example.com/", true),
        ("https://Clerk.Example.com", true),
        ("HTTPS://clerk.example.com", true),
        ("https://clerk.example.com:443", true),
        ("https://clerk.example.com:8443/", true),
        ("https://app.example.com/__clerk", true),
        ("https://app.example.com/api/__clerk/", true),
        ("https://great-name-7.clerk.accounts.dev", true),
        ("", false),
        ("clerk.example.com", false),
        ("http://clerk.example.com", false),
        ("https://", false),
        ("https:///clerk.example.com", false),
        ("https:/clerk.example.com", false),
        ("https:\\\\clerk.example.com", false),
        ("https://*.clerk.accounts.dev", false),
        ("https://clerk.example.com/.well-known/jwks.json", false),
        ("https://clerk.example.com/.well-known/openid-configuration", false),
        ("https://clerk.example.com?x=1", false),
        ("https://clerk.example.com/?x=1", false),
        ("https://clerk.example.com#top", false),
        ("https://clerk.example.com/a/../b", false),
        ("https://clerk.example.com/a//b", false),
        ("https://clerk.example.com/%41", false),
        ("https://clerk.example.com:port", false),
        ("https://clerk.example.com:", false),
        ("https://clerk.example.com:0443", false),
        ("https://user@clerk.example.com", false),
        ("https://user:pass@clerk.example.com", false),
        ("https://clerk.exam ple.com", false),
        ("https://clerk.exam\tple.com", false),
        ("https://münchen.example", false),
        ("pk_test_Y2xlcmsuZXhhbXBsZS5jb20k", false),
        ("https://clerk.example.com:65535", true),
        ("https://clerk.example.com/jwks/__clerk", true),
        ("https://xn--mnchen-3ya.example", true),
        ("https://clerk.example.com:65536", false),
        ("https://clerk.example.com:99999", false),
        ("https://api.clerk.com/v1/jwks", false),
        ("https://app.example.com/__clerk/jwks/", false),
        ("https://clerk.example.com.", false),
        ("https://.", false),
        ("https://a..b", false),
        ("https://clerk", false),
        ("https://1.2.3", false),
        ("https://10.0.0.1", false),
        ("https://256.256.256.256", false),
        ("https://[2001:db8::1]", false),
        ("https://a.example//b", false),
    ] {
        let problem = problem(&[("CLERK_ISSUER", issuer)]);
        assert_eq!(problem.is_none(), good, "the code for {issuer:?}: {problem:?}");
        assert_eq!(pattern.is_match(issuer).expect("it is decided"), good, "the template for {issuer:?}");
    }
}
