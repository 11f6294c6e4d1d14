//! A database to test on, and identities made as they always are: by verifying a token.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use clerk_auth::{Config, Identity, Verifier};
use local::{clerk::SigningKey, dynamodb::InMemory};
use store::Database;

const ISSUER: &str = "https://clerk.example.com";

/// An engine with empty tables, gone when this is dropped.
pub(crate) struct Fixture {
    _engine: InMemory,
    pub(crate) database: Database,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let engine = local::dynamodb::in_memory().await.expect("the engine starts");
        let database = database(engine.url());
        Self { _engine: engine, database }
    }
}

fn database(url: &str) -> Database {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Database::from(Client::from_conf(config))
}

/// The identity of a user who shows a fresh token.
#[allow(dead_code, reason = "not every test file is about a person who calls")]
pub(crate) async fn identity(user_id: &str) -> Identity {
    let key = SigningKey::generate().expect("a key");
    let pem = key.public_key_pem().expect("it has a public half");
    let var = |name: &str| match name {
        "CLERK_ISSUER" => Some(ISSUER.to_owned()),
        "CLERK_JWT_KEY" => Some(pem.clone()),
        _ => None,
    };
    let verifier = Verifier::new(Config::from_env(var).expect("the settings are right"));
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let token = key.session_token(ISSUER, user_id, "sess_1", seconds, &serde_json::json!({})).expect("signed");
    verifier.verify(&token, now).await.expect("accepted")
}

/// A database where nobody listens.
#[allow(dead_code, reason = "not every test file is about outages")]
pub(crate) fn nowhere() -> Database {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    database(&format!("http://{}", listener.local_addr().expect("its address")))
}
