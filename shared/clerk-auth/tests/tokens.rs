//! What the verifier accepts and what it refuses, case by case.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clerk_auth::{Config, Identity, Refusal, Verifier, VerifyError};
use local::clerk::SigningKey;
use serde_json::{Value, json};

const ISSUER: &str = "https://clerk.example.com";
const PARTY: &str = "https://app.example.com";
/// Now, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;

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

/// `value` with the members of `changes` in place of its own; a null takes one away.
fn with(mut value: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    let members = value.as_object_mut().expect("an object");
    for (name, change) in changes {
        if change.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, change);
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

/// A verifier with `key` given as PEM and the settings that `extra` adds.
fn verifier(key: &SigningKey, extra: &[(&str, &str)]) -> Verifier {
    let pem = key.public_key_pem().expect("it has a public half");
    let settings = [("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
    let var = |name: &str| {
        let found = extra.iter().chain(&settings).find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Verifier::new(Config::from_env(var).expect("the settings are right"))
}

async fn outcome(verifier: &Verifier, token: &str) -> Result<Identity, Refusal> {
    verifier.verify(token, now()).await.map_err(|error| match error {
        VerifyError::Refused(refusal) => refusal,
        VerifyError::KeysUnavailable => panic!("the key was given"),
    })
}

#[tokio::test]
async fn a_session_token_becomes_an_identity() {
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
    use Refusal::{Expired, Malformed, NotActiveYet, PendingSession, WrongIssuer};
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let cases: Vec<(Value, Result<(), Refusal>)> = vec![
        (json!({}), Ok(())),
        // exp
        (json!({ "exp": NOW }), Ok(())),
        (json!({ "exp": NOW - 4 }), Ok(())),
        (json!({ "exp": 1_799_999_995.5 }), Ok(())),
        (json!({ "exp": NOW - 5 }), Err(Expired)),
        (json!({ "exp": 0 }), Err(Expired)),
        (json!({ "exp": -1 }), Err(Expired)),
        (json!({ "exp": null }), Err(Malformed)),
        (json!({ "exp": (NOW + 60).to_string() }), Err(Malformed)),
        // nbf, iat
        (json!({ "nbf": null, "iat": null }), Ok(())),
        (json!({ "nbf": NOW + 5 }), Ok(())),
        (json!({ "nbf": NOW + 6 }), Err(NotActiveYet)),
        (json!({ "nbf": "soon" }), Err(Malformed)),
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
        (json!({ "sub": 7 }), Err(Malformed)),
        (json!({ "sub": { "id": "user_ada" } }), Err(Malformed)),
        (json!({ "sub": "u".repeat(257) }), Err(Malformed)),
        (json!({ "sid": "" }), Err(Malformed)),
        // sts
        (json!({ "sts": null }), Ok(())),
        (json!({ "sts": "pending" }), Err(PendingSession)),
        (json!({ "sts": "something new" }), Err(PendingSession)),
        // azp and aud say nothing while nothing is configured
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
async fn authorized_parties_and_audience_are_asked_for_where_they_are_configured() {
    use Refusal::{WrongAudience, WrongParty};
    let key = new_key();
    let parties =
        verifier(&key, &[("CLERK_AUTHORIZED_PARTIES", "https://other.example.com, https://app.example.com/")]);
    let audience = verifier(&key, &[("CLERK_AUDIENCE", "chats")]);
    let cases: Vec<(&Verifier, Value, Result<(), Refusal>)> = vec![
        (&parties, json!({}), Ok(())),
        (&parties, json!({ "azp": "https://other.example.com" }), Ok(())),
        (&parties, json!({ "azp": null }), Err(WrongParty)),
        (&parties, json!({ "azp": "" }), Err(WrongParty)),
        (&parties, json!({ "azp": "https://app.example.com.evil.example" }), Err(WrongParty)),
        (&parties, json!({ "azp": "http://app.example.com" }), Err(WrongParty)),
        (&audience, json!({ "aud": "chats" }), Ok(())),
        (&audience, json!({ "aud": ["billing", "chats"] }), Ok(())),
        (&audience, json!({}), Err(WrongAudience)),
        (&audience, json!({ "aud": "" }), Err(WrongAudience)),
        (&audience, json!({ "aud": [] }), Err(WrongAudience)),
        (&audience, json!({ "aud": "chat" }), Err(WrongAudience)),
        (&audience, json!({ "aud": "chats-and-more" }), Err(WrongAudience)),
        (&audience, json!({ "aud": ["billing"] }), Err(WrongAudience)),
        (&audience, json!({ "aud": 1 }), Err(Refusal::Malformed)),
    ];
    for (verifier, change, expected) in cases {
        let token = sign(&key, &header(), &with(claims(), change.clone()));
        assert_eq!(outcome(verifier, &token).await.map(drop), expected, "{change}");
    }
}

#[tokio::test]
async fn headers_choose_nothing_but_the_key() {
    use Refusal::{Malformed, UnsupportedHeader};
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let foreign = new_key().jwk();
    let cases: Vec<(Value, Result<(), Refusal>)> = vec![
        (json!({ "typ": null }), Ok(())),
        (json!({ "typ": "jwt" }), Ok(())),
        (json!({ "typ": "at+jwt" }), Err(UnsupportedHeader)),
        (json!({ "alg": null }), Err(Malformed)),
        (json!({ "alg": "none" }), Err(UnsupportedHeader)),
        (json!({ "alg": "HS256" }), Err(UnsupportedHeader)),
        (json!({ "alg": "RS512" }), Err(UnsupportedHeader)),
        (json!({ "crit": ["exp"] }), Err(UnsupportedHeader)),
        // Keys and their addresses in a header are anyone's: the signature is checked with the configured key.
        (json!({ "jwk": foreign, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert" }), Ok(())),
        (json!({ "unheard": "of" }), Ok(())),
    ];
    for (change, expected) in cases {
        let token = sign(&key, &with(header(), change.clone()), &claims());
        assert_eq!(outcome(&verifier, &token).await.map(drop), expected, "{change}");
    }
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let key = new_key();
    let verifier = verifier(&key, &[]);
    let good = sign(&key, &header(), &claims());
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let other = sign(&new_key(), &header(), &claims());
    let somebody_else = sign(&key, &header(), &with(claims(), json!({ "sub": "user_eve" })));
    let (others_message, _) = somebody_else.rsplit_once('.').expect("three parts");
    // An expired token with a wrong signature is refused for its signature: claims are not looked at before.
    let expired = sign(&new_key(), &header(), &with(claims(), json!({ "exp": 1 })));
    for token in [other, format!("{others_message}.{signature}"), format!("{message}."), expired] {
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(Refusal::BadSignature), "{token}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_malformed() {
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
        assert_eq!(outcome(&verifier, &token).await.map(drop), Err(Refusal::Malformed), "{token:?}");
    }
}
