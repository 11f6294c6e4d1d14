//! Where the verifier gets the issuer's keys from, and how often it asks.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use clerk_auth::{Config, Refusal, Verifier, VerifyError};
use local::clerk::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// An issuer that answers what it is told to, and counts how often it is asked.
struct Issuer {
    url: String,
    published: Arc<Published>,
}

struct Published {
    answer: Mutex<(StatusCode, String)>,
    asked: AtomicUsize,
}

async fn answer(State(published): State<Arc<Published>>) -> (StatusCode, String) {
    published.asked.fetch_add(1, Ordering::SeqCst);
    published.answer.lock().expect("nobody failed while holding it").clone()
}

impl Issuer {
    async fn publishing(keys: Value) -> Self {
        let published = Published { answer: Mutex::default(), asked: AtomicUsize::new(0) };
        let published = Arc::new(published);
        let router = Router::new().route("/.well-known/jwks.json", get(answer)).with_state(Arc::clone(&published));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let issuer = Self { url, published };
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: Value) {
        self.answer(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    fn answer(&self, status: StatusCode, body: impl Into<String>) {
        *self.published.answer.lock().expect("nobody failed while holding it") = (status, body.into());
    }

    fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }

    fn verifier(&self) -> Verifier {
        let var = |name: &str| (name == "CLERK_ISSUER").then(|| self.url.clone());
        Verifier::new(Config::from_env(var).expect("the settings are right"))
    }

    fn token(&self, key: &SigningKey, now: u64) -> String {
        key.session_token(&self.url, "user_ada", "sess_1", now, &json!({})).expect("signed")
    }
}

fn key() -> SigningKey {
    SigningKey::generate().expect("a key")
}

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What becomes of a token signed with `key` at `now` seconds.
async fn outcome(issuer: &Issuer, verifier: &Verifier, key: &SigningKey, now: u64) -> Result<(), VerifyError> {
    verifier.verify(&issuer.token(key, now), at(now)).await.map(drop)
}

#[tokio::test]
async fn keys_are_fetched_once_however_many_wait() {
    let key = key();
    let issuer = Issuer::publishing(json!([key.jwk()])).await;
    let verifier = Arc::new(issuer.verifier());
    let token = issuer.token(&key, NOW);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (Arc::clone(&verifier), token.clone());
            tokio::spawn(async move { verifier.verify(&token, at(NOW)).await.is_ok() })
        })
        .collect();
    for accepted in waiting {
        assert!(accepted.await.expect("it ends"));
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_no_flood_of_fetches() {
    let (known, unknown) = (key(), key());
    let issuer = Issuer::publishing(json!([known.jwk()])).await;
    let verifier = issuer.verifier();
    for _ in 0..20 {
        let refused = outcome(&issuer, &verifier, &unknown, NOW).await;
        assert!(matches!(refused, Err(VerifyError::Refused(Refusal::UnknownKey))), "{refused:?}");
    }
    assert_eq!(issuer.asked(), 1);
    assert!(outcome(&issuer, &verifier, &known, NOW).await.is_ok());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_once_the_cool_down_is_over() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    issuer.publish(json!([new.jwk()]));
    assert!(outcome(&issuer, &verifier, &new, NOW + 9).await.is_err());
    assert!(outcome(&issuer, &verifier, &new, NOW + 10).await.is_ok());
    assert!(outcome(&issuer, &verifier, &old, NOW + 10).await.is_err(), "what is withdrawn is forgotten");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_within_the_hour() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    issuer.publish(json!([new.jwk()]));
    assert!(outcome(&issuer, &verifier, &old, NOW + 3599).await.is_ok());
    assert!(outcome(&issuer, &verifier, &old, NOW + 3600).await.is_err());
}

#[tokio::test]
async fn known_keys_stay_in_use_while_the_issuer_is_down() {
    let (known, unknown) = (key(), key());
    let issuer = Issuer::publishing(json!([known.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &known, NOW).await.is_ok());
    issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, "");
    let later = NOW + 2 * 3600;
    assert!(outcome(&issuer, &verifier, &known, later).await.is_ok());
    // Of a key that is not at hand nothing can be said: it may be one that was published meanwhile.
    assert!(matches!(outcome(&issuer, &verifier, &unknown, later).await, Err(VerifyError::KeysUnavailable)));
    assert_eq!(issuer.asked(), 2);
    issuer.publish(json!([unknown.jwk()]));
    assert!(outcome(&issuer, &verifier, &unknown, later + 10).await.is_ok(), "it recovers");
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_no_answer() {
    let key = key();
    let issuer = Issuer::publishing(json!([])).await;
    let mut bloated = json!({ "keys": [key.jwk()] });
    bloated["padding"] = "x".repeat(64 * 1024).into();
    for (status, body) in [
        (StatusCode::OK, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, "{}".to_owned()),
        (StatusCode::OK, bloated.to_string()),
        (StatusCode::NOT_FOUND, json!({ "keys": [key.jwk()] }).to_string()),
        (StatusCode::FOUND, json!({ "keys": [key.jwk()] }).to_string()),
    ] {
        issuer.answer(status, body.clone());
        let outcome = outcome(&issuer, &issuer.verifier(), &key, NOW).await;
        assert!(matches!(outcome, Err(VerifyError::KeysUnavailable)), "{status} {body:.40} gave {outcome:?}");
    }
}

#[tokio::test]
async fn keys_that_do_not_sign_are_passed_over() {
    let key = key();
    let with = |member: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[member] = value;
        jwk
    };
    let others = [
        json!("no key"),
        json!({ "kty": "EC", "crv": "P-256", "kid": key.kid(), "x": "AA", "y": "AA" }),
        json!({ "kty": "oct", "kid": key.kid(), "k": "AA" }),
        json!({ "kty": "something new", "kid": key.kid() }),
        with("use", json!("enc")),
        with("kid", Value::Null),
    ];
    for other in others {
        let issuer = Issuer::publishing(json!([other])).await;
        let refused = outcome(&issuer, &issuer.verifier(), &key, NOW).await;
        assert!(matches!(refused, Err(VerifyError::Refused(Refusal::UnknownKey))), "{other} gave {refused:?}");
        issuer.publish(json!([other, key.jwk()]));
        assert!(outcome(&issuer, &issuer.verifier(), &key, NOW).await.is_ok(), "{other} spoilt the rest");
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_is_refused_unless_the_key_was_given() {
    let key = key();
    let issuer = Issuer::publishing(json!([key.jwk()])).await;
    let claims = json!({ "iss": issuer.url, "sub": "user_ada", "sid": "sess_1", "exp": NOW + 60 });
    let token = key.sign(&json!({ "alg": "RS256" }), &claims).expect("signed");
    let refused = issuer.verifier().verify(&token, at(NOW)).await;
    assert!(matches!(refused, Err(VerifyError::Refused(Refusal::UnknownKey))));
}
