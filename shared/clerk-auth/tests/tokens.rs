//! The tokens that the verifier accepts and rejects, case by case.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::Engine;
use clerk_auth::{Config, Identity, MalformedOrganization, TokenError, Verifier, VerifyError, user_tag};
use proptest::{
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};
use signing_key::SigningKey;

use model::ISSUER;

mod model;

const PARTY: &str = "https://app.example.com";
/// Now, in seconds since the epoch.
const NOW: u64 = model::NOW as u64;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": "ins_1", "cat": "cl_B7d4PD111AAA" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "user_ada", "sid": "sess_1", "azp": PARTY, "sts": "active", "v": 2,
        "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60,
    })
}

/// `value` with the members of `changes`. A null removes a member; the text `null` sets it to null.
fn with(mut value: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    let members = value.as_object_mut().expect("an object");
    for (name, change) in changes {
        if change.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, if change == "null" { Value::Null } else { change });
        }
    }
    value
}

fn new_key() -> SigningKey {
    SigningKey::generate().expect("a key")
}

fn sign(key: &SigningKey, header: &Value, claims: &Value) -> String {
    key.sign(header, claims).expect("signed")
}

/// A verifier with `key` configured as PEM and the settings in `extra`.
fn verifier(key: &SigningKey, extra: &[(&str, &str)]) -> Verifier {
    let pem = key.public_key_pem().expect("it has a public half");
    let settings = [("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
    let var = |name: &str| {
        let found = extra.iter().chain(&settings).find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Verifier::new(Config::from_env(var).expect("the settings are right"))
}

async fn outcome(verifier: &Verifier, token: &str) -> Result<Identity, TokenError> {
    verifier.verify(token, now()).await.map_err(|error| match error {
        VerifyError::Token(error) => error,
        VerifyError::KeysUnavailable | VerifyError::KeyUndecided => panic!("the key was given"),
    })
}

#[tokio::test]
async fn valid_session_token_yields_an_identity() {
    let key = new_key();
    let token = sign(
        &key,
        &header(),
        &with(claims(), json!({ "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace" })),
    );
    let identity = outcome(&verifier(&key, &[]), &token).await.expect("accepted");
    assert_eq!(identity.user_id(), "user_ada");
    assert_eq!(identity.session_id(), Some("sess_1"));
    assert_eq!(identity.issuer(), ISSUER);
    assert_eq!(identity.email(), Some("ada@example.com"));
    assert_eq!(identity.first_name(), Some("Ada"));
    assert_eq!(identity.last_name(), Some("Lovelace"));
    let shown = format!("{identity:?}");
    assert!(!shown.contains("ada@example.com") && !shown.contains("Lovelace"), "{shown} would put details into a log");
}

#[tokio::test]
async fn claims_are_checked_by_clerks_rules() {
    use TokenError::{Expired, Malformed, NotActiveYet, PendingSession, WrongIssuer};
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let cases: Vec<(Value, Result<(), TokenError>)> = vec![
        (json!({}), Ok(())),
        // exp
        (json!({ "exp": NOW }), Ok(())),
        (json!({ "exp": NOW - 4 }), Ok(())),
        (json!({ "exp": 1_799_999_996.5 }), Ok(())),
        (json!({ "exp": 1_799_999_995.5 }), Err(Expired)),
        (json!({ "exp": NOW - 5 }), Err(Expired)),
        (json!({ "exp": 0 }), Err(Expired)),
        (json!({ "exp": -1 }), Err(Expired)),
        (json!({ "exp": null }), Err(Malformed)),
        (json!({ "exp": "null" }), Err(Malformed)),
        (json!({ "exp": [NOW + 60] }), Err(Malformed)),
        (json!({ "exp": (NOW + 60).to_string() }), Err(Malformed)),
        // nbf, iat
        (json!({ "nbf": null }), Ok(())),
        (json!({ "nbf": NOW + 5 }), Ok(())),
        (json!({ "nbf": NOW + 6 }), Err(NotActiveYet)),
        (json!({ "nbf": "soon" }), Err(Malformed)),
        (json!({ "nbf": "null" }), Err(Malformed)),
        (json!({ "iat": "null" }), Err(Malformed)),
        (json!({ "iat": NOW + 5 }), Ok(())),
        (json!({ "iat": NOW + 6 }), Err(NotActiveYet)),
        (json!({ "iat": "now" }), Err(Malformed)),
        // iss
        (json!({ "iss": format!("{ISSUER}/") }), Ok(())),
        (json!({ "iss": null }), Err(Malformed)),
        (json!({ "iss": "" }), Err(WrongIssuer)),
        (json!({ "iss": "https://clerk.example.com.evil.example" }), Err(WrongIssuer)),
        (json!({ "iss": "https://clerk.example.co" }), Err(WrongIssuer)),
        (json!({ "iss": format!("{ISSUER}//") }), Err(WrongIssuer)),
        // sub, sid
        (json!({ "sub": null }), Err(Malformed)),
        (json!({ "sub": "" }), Err(Malformed)),
        (json!({ "sub": "null" }), Err(Malformed)),
        (json!({ "sub": 7 }), Err(Malformed)),
        (json!({ "sub": { "id": "user_ada" } }), Err(Malformed)),
        (json!({ "sub": "u".repeat(257) }), Err(Malformed)),
        (json!({ "sid": "" }), Err(Malformed)),
        // sts
        (json!({ "sts": null }), Ok(())),
        (json!({ "sts": "pending" }), Err(PendingSession)),
        (json!({ "sts": "something new" }), Err(PendingSession)),
        // azp and aud are ignored unless configured
        (json!({ "azp": null }), Ok(())),
        (json!({ "azp": "https://elsewhere.example" }), Ok(())),
        (json!({ "aud": "anyone" }), Ok(())),
    ];
    for (change, expected) in cases {
        let token = sign(&key, &header(), &with(claims(), change.clone()));
        assert_eq!(outcome(&verifier, &token).await.map(drop), expected, "{change}");
    }
}

#[tokio::test]
async fn configured_authorized_parties_and_audience_are_required() {
    use TokenError::{UnauthorizedParty, WrongAudience};
    let key = new_key();
    let parties =
        verifier(&key, &[("CLERK_AUTHORIZED_PARTIES", "https://other.example.com, https://app.example.com/")]);
    let audience = verifier(&key, &[("CLERK_AUDIENCE", "notes")]);
    let cases: Vec<(&Verifier, Value, Result<(), TokenError>)> = vec![
        (&parties, json!({}), Ok(())),
        (&parties, json!({ "azp": "https://other.example.com" }), Ok(())),
        (&parties, json!({ "azp": null }), Err(UnauthorizedParty)),
        (&parties, json!({ "azp": "" }), Err(UnauthorizedParty)),
        (&parties, json!({ "azp": "https://app.example.com.evil.example" }), Err(UnauthorizedParty)),
        (&parties, json!({ "azp": "http://app.example.com" }), Err(UnauthorizedParty)),
        (&audience, json!({ "aud": "notes" }), Ok(())),
        (&audience, json!({ "aud": ["billing", "notes"] }), Ok(())),
        (&audience, json!({}), Err(WrongAudience)),
        (&audience, json!({ "aud": "" }), Err(WrongAudience)),
        (&audience, json!({ "aud": [] }), Err(WrongAudience)),
        (&audience, json!({ "aud": "note" }), Err(WrongAudience)),
        (&audience, json!({ "aud": "notes-and-more" }), Err(WrongAudience)),
        (&audience, json!({ "aud": ["billing"] }), Err(WrongAudience)),
        (&audience, json!({ "aud": 1 }), Err(TokenError::Malformed)),
    ];
    for (verifier, change, expected) in cases {
        let token = sign(&key, &header(), &with(claims(), change.clone()));
        assert_eq!(outcome(verifier, &token).await.map(drop), expected, "{change}");
    }
}

#[tokio::test]
async fn issuer_and_parties_match_in_normalized_form() {
    let key = new_key();
    for party in [
        "https://App.Example.com",
        "https://app.example.com:443",
        "https://app.example.com:443/",
        "HTTPS://APP.EXAMPLE.COM/",
        "https://b.example, https://app.example.com",
    ] {
        let verifier = verifier(&key, &[("CLERK_AUTHORIZED_PARTIES", party)]);
        let accepted = outcome(&verifier, &sign(&key, &header(), &claims())).await.map(drop);
        assert_eq!(accepted, Ok(()), "{party}");
    }
    for (setting, azp) in [
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("chrome-extension://abcdefghijklmnop/", "chrome-extension://abcdefghijklmnop"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        let verifier = verifier(&key, &[("CLERK_AUTHORIZED_PARTIES", setting)]);
        let token = sign(&key, &header(), &with(claims(), json!({ "azp": azp })));
        assert_eq!(outcome(&verifier, &token).await.map(drop), Ok(()), "{setting}");
    }
    for (setting, iss, expected) in [
        ("https://Clerk.Example.com", ISSUER, Ok(())),
        ("https://clerk.example.com:443/", ISSUER, Ok(())),
        ("HTTPS://clerk.example.com//", ISSUER, Ok(())),
        (ISSUER, "https://CLERK.example.com:443/", Ok(())),
        ("https://app.example.com/__clerk/", "https://app.example.com/__clerk", Ok(())),
        ("https://app.example.com/__clerk", "https://app.example.com/__CLERK", Err(TokenError::WrongIssuer)),
        ("https://app.example.com/__clerk", "https://app.example.com", Err(TokenError::WrongIssuer)),
        ("https://clerk.example.com:8443", ISSUER, Err(TokenError::WrongIssuer)),
        (ISSUER, "https://clerk.example.com:80", Err(TokenError::WrongIssuer)),
        (ISSUER, "http://clerk.example.com", Err(TokenError::WrongIssuer)),
        (ISSUER, "https://user@clerk.example.com", Err(TokenError::WrongIssuer)),
        (ISSUER, "https://clerk.example.com?", Err(TokenError::WrongIssuer)),
        (ISSUER, "https://clerk.example.com#", Err(TokenError::WrongIssuer)),
        (ISSUER, " https://clerk.example.com", Err(TokenError::WrongIssuer)),
        (ISSUER, "https:\\\\clerk.example.com", Err(TokenError::WrongIssuer)),
        (ISSUER, "clerk.example.com", Err(TokenError::WrongIssuer)),
    ] {
        let verifier = verifier(&key, &[("CLERK_ISSUER", setting)]);
        let token = sign(&key, &header(), &with(claims(), json!({ "iss": iss })));
        assert_eq!(outcome(&verifier, &token).await.map(drop), expected, "{setting} {iss}");
    }
}

#[tokio::test]
async fn header_selects_only_the_key() {
    use TokenError::{Malformed, UnsupportedHeader};
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let foreign = new_key().jwk();
    let cases: Vec<(Value, Result<(), TokenError>)> = vec![
        (json!({ "typ": null }), Ok(())),
        (json!({ "typ": "jwt" }), Err(UnsupportedHeader)),
        (json!({ "typ": "null" }), Err(Malformed)),
        (json!({ "typ": 1 }), Err(Malformed)),
        (json!({ "typ": "at+jwt" }), Err(UnsupportedHeader)),
        (json!({ "alg": null }), Err(Malformed)),
        (json!({ "alg": "null" }), Err(Malformed)),
        (json!({ "alg": "none" }), Err(UnsupportedHeader)),
        (json!({ "alg": "HS256" }), Err(UnsupportedHeader)),
        (json!({ "alg": "RS512" }), Err(UnsupportedHeader)),
        (json!({ "crit": ["exp"] }), Err(UnsupportedHeader)),
        (json!({ "crit": [] }), Err(UnsupportedHeader)),
        (json!({ "kid": 1 }), Err(Malformed)),
        (json!({ "kid": null }), Ok(())),
        // Anyone can put keys and their URLs into a header: the signature is checked with the configured key.
        (json!({ "jwk": foreign, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert" }), Ok(())),
        (json!({ "unheard": "of" }), Ok(())),
    ];
    for (change, expected) in cases {
        let token = sign(&key, &with(header(), change.clone()), &claims());
        assert_eq!(outcome(&verifier, &token).await.map(drop), expected, "{change}");
    }
}

#[tokio::test]
async fn only_the_issuers_signature_is_accepted() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let good = sign(&key, &header(), &claims());
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let other = sign(&new_key(), &header(), &claims());
    let other_user = sign(&key, &header(), &with(claims(), json!({ "sub": "user_eve" })));
    let (others_message, _) = other_user.rsplit_once('.').expect("three parts");
    // An expired token with a wrong signature is rejected for its signature: claims are not read before.
    let expired = sign(&new_key(), &header(), &with(claims(), json!({ "exp": 1 })));
    for token in [other, format!("{others_message}.{signature}"), format!("{message}."), expired] {
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(TokenError::BadSignature), "{token}");
    }
}

#[tokio::test]
async fn tokens_that_are_not_utf8_are_malformed() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    // In members that are not read.
    let header = with(header(), json!({ "unheard": "?" })).to_string().into_bytes();
    let claims = with(claims(), json!({ "act": { "sub": "user_admin", "unheard": "?" } })).to_string().into_bytes();
    let damaged = |part: &[u8]| part.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect::<Vec<_>>();
    for (header, claims) in [(damaged(&header), claims.clone()), (header.clone(), damaged(&claims))] {
        let token = key.sign_raw(&header, &claims).expect("signed");
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(TokenError::Malformed));
    }
    let token = key.sign_raw(&header, &claims).expect("signed");
    assert_eq!(outcome(&verifier, &token).await.map(drop), Ok(()));
}

#[tokio::test]
async fn non_jwt_input_is_malformed() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let good = sign(&key, &header(), &claims());
    let too_long = sign(&key, &header(), &with(claims(), json!({ "padding": "x".repeat(8192) })));
    let cases = [
        String::new(),
        "garbage".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}.more"),
        format!("{good}="),
        format!("{good}\n"),
        format!("{good}!"),
        format!(" {good}"),
        good.replace('.', " "),
        "bnVsbA.bnVsbA.bnVsbA".to_owned(),
        too_long,
    ];
    for token in cases {
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(TokenError::Malformed), "{token:?}");
    }
}

#[tokio::test]
async fn machine_tokens_and_templates_without_audience_are_rejected() {
    use TokenError::{UnsupportedTokenType, WrongAudience};
    let key = new_key();
    let plain = verifier(&key, &[]);
    let audience = verifier(&key, &[("CLERK_AUDIENCE", "notes")]);
    let (session, template, machine) = ("cl_B7d4PD111AAA", "cl_B7d4PD222AAA", "cl_B7d4PD333AAA");
    let aud = || json!({ "aud": "notes" });
    let template_claims = || json!({ "sid": null, "sts": null, "azp": null, "aud": "notes" });
    let cases: Vec<(&Verifier, Value, Value, Result<(), TokenError>)> = vec![
        (&plain, json!({ "cat": session }), json!({}), Ok(())),
        (&plain, json!({ "cat": null }), json!({}), Ok(())),
        (&plain, json!({ "cat": null }), json!({ "sid": null }), Err(UnsupportedTokenType)),
        (&plain, json!({ "cat": session }), json!({ "sid": null }), Err(UnsupportedTokenType)),
        (&plain, json!({ "cat": template }), json!({}), Err(UnsupportedTokenType)),
        (&plain, json!({ "cat": template }), template_claims(), Err(UnsupportedTokenType)),
        (&plain, json!({ "cat": machine }), json!({}), Err(UnsupportedTokenType)),
        (&plain, json!({ "cat": "cl_of_a_kind_to_come" }), json!({}), Err(UnsupportedTokenType)),
        (&plain, json!({}), json!({ "sub": "mch_1" }), Err(UnsupportedTokenType)),
        (&audience, json!({ "cat": session }), aud(), Ok(())),
        (&audience, json!({ "cat": session }), json!({}), Err(WrongAudience)),
        (&audience, json!({ "cat": template }), template_claims(), Ok(())),
        (&audience, json!({ "cat": null }), template_claims(), Ok(())),
        (&audience, json!({ "cat": template }), json!({ "sid": null, "aud": "another" }), Err(WrongAudience)),
        (&audience, json!({ "cat": machine }), aud(), Err(UnsupportedTokenType)),
        (&audience, json!({}), json!({ "sub": "mch_1", "aud": "notes" }), Err(UnsupportedTokenType)),
    ];
    for (verifier, header_change, change, expected) in cases {
        let token = sign(&key, &with(header(), header_change.clone()), &with(claims(), change.clone()));
        assert_eq!(outcome(verifier, &token).await.map(drop), expected, "{header_change} {change}");
    }
}

#[tokio::test]
async fn two_pem_keys_are_accepted_during_rotation() {
    let (old, new, foreign) = (new_key(), new_key(), new_key());
    let pem = |key: &SigningKey| key.public_key_pem().expect("it has a public half");
    let both = format!("{}\n{}", pem(&old), pem(&new));
    for both in [both.clone(), both.replace('\n', "\\n"), both.replace('\n', "\r\n")] {
        let verifier = verifier(&foreign, &[("CLERK_JWT_KEY", &both)]);
        for key in [&old, &new] {
            assert!(outcome(&verifier, &sign(key, &header(), &claims())).await.is_ok());
        }
        let rejected = outcome(&verifier, &sign(&foreign, &header(), &claims())).await.map(drop);
        assert_eq!(rejected, Err(TokenError::BadSignature));
    }
}

#[tokio::test]
async fn organization_claims_are_parsed_on_demand_and_fail_closed() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let good = json!({ "id": "org_1", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3" });
    let token = sign(&key, &header(), &with(claims(), json!({ "o": good, "fea": "o:billing" })));
    let identity = outcome(&verifier, &token).await.expect("accepted");
    let organization = identity.organization().expect("readable").expect("there is one");
    assert_eq!((organization.id(), organization.role()), ("org_1", Some("org:admin")));
    assert_eq!(organization.permissions(), ["org:billing:read", "org:billing:manage"]);

    let none = outcome(&verifier, &sign(&key, &header(), &claims())).await.expect("accepted");
    assert_eq!(none.organization(), Ok(None));

    for malformed in [
        json!({ "o": { "id": "org_1", "per": "read", "fpm": "-1" } }),
        json!({ "o": { "id": "org_1", "per": { "read": true }, "fpm": "1" }, "fea": "o:billing" }),
        json!({ "o": { "id": 1 } }),
        json!({ "o": { "per": "read", "fpm": "1" } }),
        json!({ "o": "org_1" }),
        json!({ "o": good, "fea": ["o:billing"] }),
        json!({ "org_id": ["org_1"] }),
        json!({ "org_id": "org_1", "org_permissions": "all" }),
        json!({ "org_id": "org_1", "org_role": 1 }),
    ] {
        let token = sign(&key, &header(), &with(claims(), malformed.clone()));
        let identity = outcome(&verifier, &token).await.expect("accepted");
        assert_eq!(identity.organization(), Err(MalformedOrganization), "{malformed}");
    }
}

#[tokio::test]
async fn session_token_lifetime_is_limited() {
    use TokenError::{Expired, LifetimeTooLong, UnsupportedTokenType};
    let key = new_key();
    let default = verifier(&key, &[]);
    let hour = verifier(&key, &[("CLERK_MAX_TOKEN_LIFETIME", "3600")]);
    let audience = verifier(&key, &[("CLERK_AUDIENCE", "notes")]);
    let year = NOW + 365 * 24 * 3600;
    let cases: Vec<(&Verifier, Value, Result<(), TokenError>)> = vec![
        (&default, json!({ "iat": NOW, "exp": NOW + 120 }), Ok(())),
        (&default, json!({ "iat": NOW, "exp": NOW + 121 }), Err(LifetimeTooLong)),
        (&default, json!({ "iat": NOW - 100, "exp": NOW + 21 }), Err(LifetimeTooLong)),
        (&default, json!({ "exp": year }), Err(LifetimeTooLong)),
        (&default, json!({ "iat": 0 }), Err(LifetimeTooLong)),
        (&default, json!({ "iat": -1e300, "exp": 1e300 }), Err(LifetimeTooLong)),
        (&default, json!({ "iat": NOW - 7200, "exp": NOW - 60 }), Err(Expired)),
        // Without iat, its age is unknown.
        (&default, json!({ "iat": null }), Err(LifetimeTooLong)),
        (&default, json!({ "iat": null, "nbf": null }), Err(LifetimeTooLong)),
        (&hour, json!({ "exp": NOW + 3600 }), Ok(())),
        (&hour, json!({ "exp": NOW + 3601 }), Err(LifetimeTooLong)),
        (&hour, json!({ "iat": null }), Err(LifetimeTooLong)),
        // A token of a JWT template has no session that could end.
        (&audience, json!({ "sid": null, "aud": "notes", "exp": year }), Ok(())),
        (&audience, json!({ "sid": null, "aud": "notes", "exp": year, "iat": null }), Ok(())),
        (&audience, json!({ "aud": "notes", "exp": year }), Err(LifetimeTooLong)),
        (&default, json!({ "sid": null, "exp": year }), Err(UnsupportedTokenType)),
    ];
    for (verifier, change, expected) in cases {
        let token = sign(&key, &header(), &with(claims(), change.clone()));
        assert_eq!(outcome(verifier, &token).await.map(drop), expected, "{change}");
    }
    // Also in the category of JWT templates.
    let template = with(header(), json!({ "cat": "cl_B7d4PD222AAA" }));
    let token = sign(&key, &template, &with(claims(), json!({ "aud": "notes", "exp": year })));
    assert_eq!(outcome(&audience, &token).await.map(drop), Err(LifetimeTooLong));
}

#[tokio::test]
async fn impersonated_sessions_have_a_tag_of_their_actor() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let actor = async |act: Value| {
        let token = sign(&key, &header(), &with(claims(), json!({ "act": act })));
        outcome(&verifier, &token).await.map(|identity| identity.actor_tag())
    };
    assert_eq!(actor(Value::Null).await, Ok(None));
    assert_eq!(actor(json!("null")).await, Ok(None), "a template leaves it empty");
    let tag = user_tag("user_admin");
    assert_eq!(actor(json!({ "sub": "user_admin" })).await, Ok(Some(tag.clone())));
    let nested = json!({ "iss": "https://dashboard.clerk.com", "sub": "user_admin", "act": { "sub": "user_eve" } });
    assert_eq!(actor(nested).await, Ok(Some(tag)));
    for untraceable in [
        json!("user_admin"),
        json!(7),
        json!(true),
        json!([]),
        json!(["user_admin"]),
        json!({}),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": ["user_admin"] }),
        json!({ "sub": "u".repeat(257) }),
    ] {
        assert_eq!(actor(untraceable.clone()).await, Err(TokenError::Malformed), "{untraceable}");
    }
}

#[tokio::test]
async fn blank_profile_claims_count_as_missing() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    for blank in ["", " ", "\t\n", "\u{a0}\u{2003}"] {
        let changes = json!({ "email": blank, "firstName": blank, "lastName": blank });
        let identity = outcome(&verifier, &sign(&key, &header(), &with(claims(), changes))).await.expect("accepted");
        let details = [identity.email(), identity.first_name(), identity.last_name()];
        assert_eq!(details, [None; 3], "{blank:?}");
    }
    let changes = json!({ "email": " ada@example.com\n", "firstName": "Ada King " });
    let identity = outcome(&verifier, &sign(&key, &header(), &with(claims(), changes))).await.expect("accepted");
    assert_eq!((identity.email(), identity.first_name()), (Some("ada@example.com"), Some("Ada King")));
}

/// Claims and headers as text, since no JSON value can hold them.
#[tokio::test]
async fn ambiguous_json_is_malformed() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let claims = |extra: &str| {
        format!(r#"{{"iss":"{ISSUER}","sub":"user_ada","sid":"s","iat":{NOW},"exp":{},{extra}}}"#, NOW + 60)
    };
    let header = |extra: &str| format!(r#"{{"alg":"RS256","typ":"JWT",{extra}}}"#);
    let raw = |header: &str, claims: &str| key.sign_raw(header.as_bytes(), claims.as_bytes()).expect("signed");
    let fine = raw(&header(r#""kid":"a""#), &claims(r#""v":2"#));
    assert!(outcome(&verifier, &fine).await.is_ok());

    let deep = format!(r#""x":{}{}"#, "[".repeat(1000), "]".repeat(1000));
    for extra in [
        r#""sub":"user_eve""#,
        r#""exp":1"#,
        r#""exp":1e400"#,
        r#""nbf":1e400"#,
        &deep,
        r#""sid":"\ud800""#,
        "\"x\":\"\u{0}\"",
        r#""x":NaN"#,
        r#""x":1,"#,
    ] {
        let token = raw(&header(r#""kid":"a""#), &claims(extra));
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(TokenError::Malformed), "{extra:.40}");
    }
    for extra in [r#""alg":"none""#, r#""alg":"RS256""#, r#""kid":"b","kid":"a""#, &deep] {
        let token = raw(&header(extra), &claims(r#""v":2"#));
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(TokenError::Malformed), "{extra:.40}");
    }
    for (header, claims) in [
        (r#"["RS256","JWT","a",null,null]"#.to_owned(), claims(r#""v":2"#)),
        (header(r#""kid":"a""#), format!(r#"["{ISSUER}","user_ada",{}]"#, NOW + 60)),
    ] {
        assert_eq!(outcome(&verifier, &raw(&header, &claims)).await.map(drop), Err(TokenError::Malformed), "{header}");
    }
    // Unusual but unambiguous subjects are accepted.
    for subject in ["üser_\u{1f469}\u{200d}\u{1f680}", "user_\u{0}", "user_\u{202e}"] {
        let token = sign(&key, &self::header(), &with(self::claims(), json!({ "sub": subject })));
        assert_eq!(outcome(&verifier, &token).await.expect("accepted").user_id(), subject);
    }
}

/// A token signed with the public key as an HMAC secret, which a naive verifier accepts.
#[tokio::test]
async fn hs256_with_the_public_key_is_rejected() {
    let key = new_key();
    let pem = key.public_key_pem().expect("it has a public half");
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let secret = jsonwebtoken::EncodingKey::from_secret(pem.as_bytes());
    let token = jsonwebtoken::encode(&header, &claims(), &secret).expect("signed");
    assert_eq!(outcome(&verifier(&key, &[]), &token).await.map(drop), Err(TokenError::UnsupportedHeader));
}

/// Whether `token` is accepted, for tests that make thousands.
fn accepted(verifier: &Verifier, token: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(verifier.verify(token, now())).is_ok()
}

#[test]
fn tokens_with_a_flipped_bit_are_rejected() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let token = sign(&key, &header(), &claims());
    assert!(accepted(&verifier, &token));
    for position in 0..token.len() {
        for bit in 0..8 {
            let mut bytes = token.clone().into_bytes();
            bytes[position] ^= 1 << bit;
            // Headers are ASCII, so other bytes do not arrive.
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(!accepted(&verifier, &flipped), "bit {bit} of {position}");
        }
    }
}

#[test]
fn tokens_with_a_changed_member_are_rejected() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let token = sign(&key, &header(), &claims());
    let signature = token.rsplit_once('.').expect("three parts").1;
    let encode = |part: &Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let values = [json!(null), json!(0), json!(""), json!("user_eve"), json!(NOW + 3600), json!([]), json!({})];
    let changed = |part: Value| -> Vec<Value> {
        let members: Vec<String> = part.as_object().expect("an object").keys().cloned().collect();
        let added = ["jwk", "role", "org_id"].map(str::to_owned);
        let replaced = |name: &String| {
            let mut parts: Vec<Value> = values.iter().map(|value| with(part.clone(), json!({ name: value }))).collect();
            parts.retain(|changed| *changed != part);
            parts
        };
        members.iter().chain(&added).flat_map(replaced).collect()
    };
    for header in changed(header()) {
        assert!(!accepted(&verifier, &format!("{}.{}.{signature}", encode(&header), encode(&claims()))), "{header}");
    }
    for claims in changed(claims()) {
        assert!(!accepted(&verifier, &format!("{}.{}.{signature}", encode(&header()), encode(&claims))), "{claims}");
    }
}

proptest! {
    #[test]
    fn tokens_with_a_replaced_part_are_rejected(start in 0..900_usize, length in 0..40_usize, piece in "[A-Za-z0-9_.=-]{0,40}") {
        static TOKEN: LazyLock<(Verifier, String)> = LazyLock::new(|| {
            let key = new_key();
            (verifier(&key, &[]), sign(&key, &header(), &claims()))
        });
        let (verifier, token) = &*TOKEN;
        let start = start.min(token.len());
        let end = (start + length).min(token.len());
        let altered = format!("{}{piece}{}", &token[..start], &token[end..]);
        prop_assert_eq!(accepted(verifier, &altered), altered == *token);
    }
}

/// A header or claims that differ from valid ones in members and in bytes.
fn mangled(good: &Value) -> impl Strategy<Value = Vec<u8>> + use<> {
    let Value::Object(good) = good else { panic!("{good} is no object") };
    let good: Vec<String> = good.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    let names = [
        "alg",
        "typ",
        "kid",
        "cat",
        "crit",
        "iss",
        "sub",
        "sid",
        "azp",
        "aud",
        "sts",
        "exp",
        "nbf",
        "iat",
        "act",
        "o",
        "fea",
        "org_id",
        "org_permissions",
        "email",
        "firstName",
        "more",
    ];
    let values = [
        "null",
        "true",
        "\"\"",
        "\" \"",
        "\"user_eve\"",
        "\"mch_1\"",
        "\"RS256\"",
        "\"none\"",
        "\"JWT\"",
        "\"active\"",
        "[]",
        "{}",
        "[\"exp\"]",
        "0",
        "-1",
        "1.5",
        "1e400",
        "1800000000",
        "1800000005",
        "1800000006.5",
        "1800000120",
        "1800000121",
        "1799999995",
        "1799999880",
        "4000000000",
        "\"https://CLERK.example.com:443/\"",
        "\"https://clerk.example.co\"",
        "\"cl_B7d4PD222AAA\"",
        "{\"sub\":\"user_admin\"}",
        "{\"sub\":\"\"}",
        "{\"id\":\"org_1\",\"per\":\"read\",\"fpm\":\"1\"}",
        "{\"id\":7}",
        "\"o:billing\"",
        "\"\\ud83d\"",
        "\" Ada \"",
    ];
    let member = (select(names.to_vec()), select(values.to_vec()).prop_map(str::to_owned));
    let splice = (any::<Index>(), 0..3_usize, prop::collection::vec(any::<u8>(), 0..3));
    let members = prop::collection::vec((any::<Index>(), any::<bool>(), member), 0..4);
    (members, prop::option::weighted(0.1, splice)).prop_map(move |(changes, splice)| {
        let mut members = good.clone();
        for (place, instead, (name, value)) in changes {
            let written = format!("\"{name}\":{value}");
            let same = members.iter().position(|member| member.starts_with(&format!("\"{name}\":")));
            match same.filter(|_| instead) {
                Some(same) => members[same] = written,
                None => members.insert(place.index(members.len() + 1), written),
            }
        }
        let mut text = format!("{{{}}}", members.join(",")).into_bytes();
        if let Some((place, length, bytes)) = splice {
            let start = place.index(text.len());
            text.splice(start..(start + length).min(text.len()), bytes);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The same property as in the fuzz target `token`.
    #[test]
    fn signed_tokens_are_accepted_only_if_their_claims_are_acceptable(
        header in mangled(&header()),
        claims in mangled(&with(claims(), json!({
            "act": { "sub": "user_admin" }, "email": "ada@example.com", "fea": "o:billing",
            "o": { "id": "org_1", "per": "read", "fpm": "1" },
        }))),
    ) {
        static KEY: LazyLock<(SigningKey, Verifier)> = LazyLock::new(|| {
            let key = new_key();
            let verifier = verifier(&key, &[]);
            (key, verifier)
        });
        let (key, verifier) = &*KEY;
        let token = key.sign_raw(&header, &claims).expect("signed");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        if let Ok(identity) = runtime.block_on(verifier.verify(&token, now())) {
            model::assert_acceptable(&identity, &header, &claims);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One verifier for all requests, and a new one for each, which remembers nothing.
    #[test]
    fn remembered_tokens_change_no_decision(requests in prop::collection::vec((any::<Index>(), 0..600_u64), 1..40)) {
        static TOKENS: LazyLock<(SigningKey, Vec<String>)> = LazyLock::new(|| {
            let (key, other) = (new_key(), new_key());
            let changes = [
                json!({}),
                json!({ "sub": "user_eve", "email": "eve@example.com", "o": { "id": "org_1" } }),
                json!({ "iat": NOW + 20, "nbf": NOW + 20, "exp": NOW + 80 }),
                json!({ "iat": null }),
                json!({ "exp": NOW + 30, "sts": "pending" }),
            ];
            let mut tokens: Vec<String> =
                changes.into_iter().map(|changes| sign(&key, &header(), &with(claims(), changes))).collect();
            tokens.push(sign(&other, &header(), &claims()));
            // The claims of one token with the signature of another.
            let (message, _) = tokens[0].rsplit_once('.').expect("three parts");
            let (_, signature) = tokens[1].rsplit_once('.').expect("three parts");
            tokens.push(format!("{message}.{signature}"));
            (key, tokens)
        });
        let (key, tokens) = &*TOKENS;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let one = verifier(key, &[]);
        for (token, quarter_seconds) in requests {
            let token = token.get(tokens);
            let at = now() + Duration::from_secs(quarter_seconds) / 4 - Duration::from_secs(30);
            let decide = |verifier: &Verifier| {
                let identity = runtime.block_on(verifier.verify(token, at))?;
                let organization = identity.organization();
                Ok::<_, VerifyError>((format!("{identity:?}"), identity.email().map(str::to_owned), organization))
            };
            prop_assert_eq!(decide(&one), decide(&verifier(key, &[])));
        }
    }
}
