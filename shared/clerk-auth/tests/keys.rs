//! How the verifier fetches the issuer's keys.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clerk_auth::{Config, TokenError, Verifier, VerifyError};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use signing_key::SigningKey;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};

/// An issuer with a configurable response, which counts requests.
struct Issuer {
    url: String,
    published: Arc<Published>,
}

/// The largest number of concurrent responses.
const ANSWERS: usize = 100;

struct Published {
    answer: Mutex<(StatusCode, String)>,
    requests: AtomicUsize,
    /// Permits to respond. A test that takes all of them keeps requests waiting.
    answers: Semaphore,
}

async fn answer(published: Arc<Published>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    assert_eq!(request.uri(), "/.well-known/jwks.json");
    published.requests.fetch_add(1, Ordering::SeqCst);
    let _allowed = published.answers.acquire().await.expect("it is never closed");
    let (status, body) = published.answer.lock().expect("not poisoned").clone();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}

impl Issuer {
    async fn publishing(keys: Value) -> Self {
        let published =
            Published { answer: Mutex::default(), requests: AtomicUsize::new(0), answers: Semaphore::new(ANSWERS) };
        let published = Arc::new(published);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let issuer = Self { url, published: Arc::clone(&published) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let published = Arc::clone(&published);
                let service = service_fn(move |request| answer(Arc::clone(&published), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: Value) {
        self.answer(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    fn answer(&self, status: StatusCode, body: impl Into<String>) {
        *self.published.answer.lock().expect("not poisoned") = (status, body.into());
    }

    fn requests(&self) -> usize {
        self.published.requests.load(Ordering::SeqCst)
    }

    /// Waits until it has received `times` requests.
    async fn wait_for_requests(&self, times: usize) {
        let requests = async {
            while self.requests() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), requests).await.expect("the requests arrive");
    }

    /// Delays responses until the permits are dropped.
    fn silent(&self) -> SemaphorePermit<'_> {
        let all = u32::try_from(ANSWERS).expect("a small number");
        self.published.answers.try_acquire_many(all).expect("no response is pending")
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

/// Whether a token signed with `key` is accepted at `now` seconds.
async fn outcome(issuer: &Issuer, verifier: &Verifier, key: &SigningKey, now: u64) -> Result<(), VerifyError> {
    verifier.verify(&issuer.token(key, now), at(now)).await.map(drop)
}

/// The same, in a task of its own.
fn spawn(issuer: &Issuer, verifier: &Arc<Verifier>, key: &SigningKey, now: u64) -> JoinHandle<Result<(), VerifyError>> {
    let (verifier, token) = (Arc::clone(verifier), issuer.token(key, now));
    tokio::spawn(async move { verifier.verify(&token, at(now)).await.map(drop) })
}

/// An outcome that does not wait for the issuer, which does not respond.
async fn at_once<T>(outcome: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(1), outcome).await.expect("it waits for nothing")
}

#[tokio::test]
async fn concurrent_requests_share_one_fetch() {
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
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn unknown_kids_do_not_refetch_keys() {
    let (known, unknown) = (key(), key());
    let issuer = Issuer::publishing(json!([known.jwk()])).await;
    let verifier = issuer.verifier();
    let rejected = outcome(&issuer, &verifier, &unknown, NOW).await;
    assert!(matches!(rejected, Err(VerifyError::Token(TokenError::UnknownKey))), "{rejected:?}");
    for second in 1..10 {
        let undecided = outcome(&issuer, &verifier, &unknown, NOW + second).await;
        assert!(matches!(undecided, Err(VerifyError::KeyUndecided)), "{undecided:?}");
    }
    assert_eq!(issuer.requests(), 1);
    assert!(outcome(&issuer, &verifier, &known, NOW).await.is_ok());
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn rotated_keys_are_fetched_after_the_cool_down() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    issuer.publish(json!([new.jwk()]));
    // The key may be valid, but is not known yet.
    let undecided = outcome(&issuer, &verifier, &new, NOW + 9).await;
    assert!(matches!(undecided, Err(VerifyError::KeyUndecided)), "{undecided:?}");
    assert!(outcome(&issuer, &verifier, &new, NOW + 10).await.is_ok());
    assert!(outcome(&issuer, &verifier, &old, NOW + 10).await.is_err(), "a withdrawn key is forgotten");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn withdrawn_keys_expire_with_the_next_fetch() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    issuer.publish(json!([new.jwk()]));
    assert!(outcome(&issuer, &verifier, &old, NOW + 3599).await.is_ok());
    assert_eq!(issuer.requests(), 1);

    let silent = issuer.silent();
    assert!(at_once(outcome(&issuer, &verifier, &old, NOW + 3600)).await.is_ok(), "stale keys stay in use");
    issuer.wait_for_requests(2).await;
    assert!(at_once(outcome(&issuer, &verifier, &old, NOW + 3601)).await.is_ok());
    drop(silent);
    // The token's key is unknown, so it waits for the fetch.
    assert!(outcome(&issuer, &verifier, &new, NOW + 3601).await.is_ok());
    assert!(outcome(&issuer, &verifier, &old, NOW + 3601).await.is_err());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn remembered_tokens_expire_with_their_key() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = issuer.verifier();
    let fetched = NOW + 3590;
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    let token = issuer.token(&old, fetched);
    let verify = async |now| verifier.verify(&token, at(now)).await.map(drop);
    assert_eq!(verify(fetched).await, Ok(()));
    // Another key has the same id.
    let mut jwk = new.jwk();
    jwk["kid"] = old.jwk()["kid"].clone();
    issuer.publish(json!([jwk]));
    assert_eq!(verify(NOW + 3601).await, Ok(()), "stale keys stay in use");
    issuer.wait_for_requests(2).await;
    // The token of an unknown key waits for the fetch.
    assert!(outcome(&issuer, &verifier, &new, NOW + 3602).await.is_err());
    assert_eq!(verify(NOW + 3603).await, Err(TokenError::BadSignature.into()));
    // A key that is published again is a new one, with which the token is verified again.
    issuer.publish(json!([old.jwk()]));
    assert!(outcome(&issuer, &verifier, &key(), NOW + 3620).await.is_err());
    assert_eq!(verify(NOW + 3621).await, Ok(()));
}

#[tokio::test]
async fn unknown_kids_do_not_delay_known_keys() {
    let (known, unknown) = (key(), key());
    let issuer = Issuer::publishing(json!([known.jwk()])).await;
    let verifier = Arc::new(issuer.verifier());
    assert!(outcome(&issuer, &verifier, &known, NOW).await.is_ok());
    let silent = issuer.silent();
    let waiting: Vec<_> = (0..3).map(|second| spawn(&issuer, &verifier, &unknown, NOW + 3595 + second)).collect();
    issuer.wait_for_requests(2).await;
    assert!(at_once(outcome(&issuer, &verifier, &known, NOW + 3598)).await.is_ok());
    assert!(at_once(outcome(&issuer, &verifier, &known, NOW + 3600)).await.is_ok(), "also once the keys are stale");
    drop(silent);
    let mut outcomes = Vec::new();
    for waiting in waiting {
        outcomes.push(waiting.await.expect("it ends"));
    }
    // The fetch had begun before the others arrived.
    assert!(
        matches!(
            outcomes[..],
            [
                Err(VerifyError::Token(TokenError::UnknownKey)),
                Err(VerifyError::KeyUndecided),
                Err(VerifyError::KeyUndecided)
            ]
        ),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn fetch_survives_cancellation_of_its_request() {
    let key = key();
    let issuer = Issuer::publishing(json!([key.jwk()])).await;
    let verifier = Arc::new(issuer.verifier());
    let silent = issuer.silent();
    let first = spawn(&issuer, &verifier, &key, NOW);
    issuer.wait_for_requests(1).await;
    first.abort();
    assert!(first.await.expect_err("it was cancelled").is_cancelled());
    drop(silent);
    assert!(outcome(&issuer, &verifier, &key, NOW).await.is_ok());
    assert_eq!(issuer.requests(), 1);
}

/// Lambda freezes the environment between requests, and a fetch with it.
#[tokio::test]
async fn requests_wait_for_the_fetch_after_a_frozen_one() {
    let (old, new) = (key(), key());
    let issuer = Issuer::publishing(json!([old.jwk()])).await;
    let verifier = Arc::new(issuer.verifier());
    assert!(outcome(&issuer, &verifier, &old, NOW).await.is_ok());
    issuer.publish(json!([new.jwk()]));
    let silent = issuer.silent();
    assert!(at_once(outcome(&issuer, &verifier, &old, NOW + 3600)).await.is_ok());
    issuer.wait_for_requests(2).await;
    let later = spawn(&issuer, &verifier, &old, NOW + 7200);
    issuer.wait_for_requests(3).await;
    drop(silent);
    let rejected = later.await.expect("it ends");
    assert!(matches!(rejected, Err(VerifyError::Token(TokenError::UnknownKey))), "{rejected:?}");
}

#[tokio::test]
async fn clock_set_back_changes_nothing() {
    let (known, unknown) = (key(), key());
    let issuer = Issuer::publishing(json!([known.jwk()])).await;
    let verifier = issuer.verifier();
    assert!(outcome(&issuer, &verifier, &known, NOW).await.is_ok());
    issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, "");
    for second in 0..10 {
        let undecided = outcome(&issuer, &verifier, &unknown, NOW - 7200 + second).await;
        assert!(matches!(undecided, Err(VerifyError::KeysUnavailable)), "{undecided:?}");
        assert!(outcome(&issuer, &verifier, &known, NOW - 7200 + second).await.is_ok());
    }
    assert_eq!(issuer.requests(), 2);
    issuer.publish(json!([unknown.jwk()]));
    assert!(outcome(&issuer, &verifier, &unknown, NOW - 7190).await.is_ok());
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
    // An unknown key is undecided: it may have been published since.
    assert!(matches!(outcome(&issuer, &verifier, &unknown, later).await, Err(VerifyError::KeysUnavailable)));
    assert_eq!(issuer.requests(), 2);
    issuer.publish(json!([unknown.jwk()]));
    assert!(outcome(&issuer, &verifier, &unknown, later + 10).await.is_ok(), "it recovers");
}

#[tokio::test]
async fn unusable_key_sets_do_not_evict_keys() {
    let key = key();
    let issuer = Issuer::publishing(json!([])).await;
    let unusable = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": key.kid(), "x": "AA", "y": "AA" }, 7] });
    let broken = json!({ "keys": [{ "kty": "RSA", "kid": key.kid(), "n": "!", "e": "AQAB" }] });
    let other = self::key();
    let mut bloated = json!({ "keys": [key.jwk()] });
    bloated["padding"] = "x".repeat(64 * 1024).into();
    for (status, body) in [
        (StatusCode::OK, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, "{}".to_owned()),
        (StatusCode::OK, json!({ "keys": [] }).to_string()),
        (StatusCode::OK, unusable.to_string()),
        (StatusCode::OK, broken.to_string()),
        (StatusCode::OK, bloated.to_string()),
        (StatusCode::NOT_FOUND, json!({ "keys": [key.jwk()] }).to_string()),
        (StatusCode::FOUND, json!({ "keys": [key.jwk()] }).to_string()),
    ] {
        issuer.answer(status, body.clone());
        let first = outcome(&issuer, &issuer.verifier(), &key, NOW).await;
        assert!(matches!(first, Err(VerifyError::KeysUnavailable)), "{status} {body:.40} gave {first:?}");

        let verifier = issuer.verifier();
        issuer.publish(json!([key.jwk()]));
        assert!(outcome(&issuer, &verifier, &key, NOW).await.is_ok());
        issuer.answer(status, body.clone());
        let unknown = outcome(&issuer, &verifier, &other, NOW + 3600).await;
        assert!(matches!(unknown, Err(VerifyError::KeysUnavailable)), "{status} {body:.40} gave {unknown:?}");
        assert!(outcome(&issuer, &verifier, &key, NOW + 3601).await.is_ok(), "{status} {body:.40} evicted the key");
    }
}

#[tokio::test]
async fn non_signing_keys_are_ignored() {
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
        let rejected = outcome(&issuer, &issuer.verifier(), &key, NOW).await;
        assert!(matches!(rejected, Err(VerifyError::KeysUnavailable)), "{other} gave {rejected:?}");
        issuer.publish(json!([other, key.jwk()]));
        assert!(outcome(&issuer, &issuer.verifier(), &key, NOW).await.is_ok(), "{other} spoils the rest");
    }
}

#[tokio::test]
async fn token_without_kid_is_rejected_unless_keys_are_configured() {
    let key = key();
    let issuer = Issuer::publishing(json!([key.jwk()])).await;
    let claims = json!({ "iss": issuer.url, "sub": "user_ada", "sid": "sess_1", "exp": NOW + 60 });
    let token = key.sign(&json!({ "alg": "RS256" }), &claims).expect("signed");
    let rejected = issuer.verifier().verify(&token, at(NOW)).await;
    assert!(matches!(rejected, Err(VerifyError::Token(TokenError::UnknownKey))));
}
