//! A database to test on, and identities and events made as they always are: by verifying what was signed.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    Client,
    config::{self, BehaviorVersion, Credentials, Region, retry::RetryConfig},
    types::AttributeValue,
};
use clerk_auth::{Config, Event, Identity, Verifier, WebhookVerifier};
use store::{Accounts, Authorized, Database};
use test_support::{Engine, SigningKey};

const ISSUER: &str = "https://clerk.example.com";

/// An engine with empty tables, gone when this is dropped.
pub(crate) struct Fixture {
    engine: Engine,
    pub(crate) client: Client,
    pub(crate) database: Database,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let engine = test_support::in_memory().await.expect("the engine starts");
        let (client, database) =
            (Client::from_conf(config(engine.url()).build()), Database::from(config(engine.url())));
        Self { engine, client, database }
    }
}

fn config(url: &str) -> config::Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .http_client(aws::http_client(None))
}

/// Puts a bare tombstone in place of a deleted user's item, as `operate erase` does.
pub(crate) async fn erase(fixture: &Fixture, user_id: &str) {
    let key = AttributeValue::S(user_id.to_owned());
    let read = fixture.client.get_item().table_name("UsersTable").key("userId", key.clone()).send();
    let item = read.await.expect("read").item.expect("there");
    let put = fixture.client.put_item().table_name("UsersTable").item("userId", key);
    let put = put.item("isActive", AttributeValue::Bool(false)).item("deletedAt", item["deletedAt"].clone());
    put.item("erasedAt", AttributeValue::N("1".to_owned())).send().await.expect("written");
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

impl Fixture {
    /// Writes an item as it is.
    pub(crate) async fn put(&self, table: &str, item: serde_json::Value) {
        let item = serde_dynamo::to_item(item).expect("an item");
        self.client.put_item().table_name(table).set_item(Some(item)).send().await.expect("written");
    }

    /// All items of a table, as they are stored.
    pub(crate) async fn items(&self, table: &str) -> Vec<serde_json::Value> {
        let scan = self.client.scan().table_name(table).send().await.expect("read");
        serde_dynamo::from_items(scan.items.unwrap_or_default()).expect("items")
    }

    /// How a client of this engine is configured.
    pub(crate) fn config(&self) -> config::Builder {
        config(self.engine.url())
    }

    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::new(&self.database, "UsersTable".to_owned(), "SessionsTable".to_owned())
    }

    /// A user who shows a fresh token, and whose account and session are good.
    pub(crate) async fn author(&self, user_id: &str) -> Authorized {
        self.accounts().authorize(identity(user_id).await).await.expect("nothing speaks against it")
    }
}

/// The identity of a user who shows a fresh token.
pub(crate) async fn identity(user_id: &str) -> Identity {
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    identity_at(user_id, now, serde_json::json!({})).await
}

/// The identity of a user who shows a token with `claims`, issued at `seconds` since the epoch.
pub(crate) async fn identity_at(user_id: &str, seconds: u64, claims: serde_json::Value) -> Identity {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("a key"));
    let pem = KEY.public_key_pem().expect("it has a public half");
    let var = |name: &str| match name {
        "CLERK_ISSUER" => Some(ISSUER.to_owned()),
        "CLERK_JWT_KEY" => Some(pem.clone()),
        _ => None,
    };
    let verifier = Verifier::new(Config::from_env(var).expect("the settings are right"));
    let token = KEY.session_token(ISSUER, user_id, "sess_1", seconds, &claims).expect("signed");
    verifier.verify(&token, UNIX_EPOCH + Duration::from_secs(seconds)).await.expect("accepted")
}

/// A database where nobody listens.
pub(crate) fn nowhere() -> Database {
    Database::from(config("http://127.0.0.1:1"))
}

/// The event in `body`, signed and sent as Clerk does it.
pub(crate) fn event(body: &serde_json::Value) -> Event {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let body = body.to_string();
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let signature = signer.sign("msg_1", i64::try_from(now).expect("soon"), body.as_bytes()).expect("UTF-8");
    let headers = [("svix-id", "msg_1".to_owned()), ("svix-timestamp", now.to_string()), ("svix-signature", signature)];
    let headers =
        headers.into_iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    let var = |name: &str| (name == "CLERK_WEBHOOK_SIGNING_SECRET").then(|| SECRET.to_owned());
    let verifier = WebhookVerifier::from_env(var).expect("a secret");
    verifier.verify(&headers.collect(), body.as_bytes()).expect("signed")
}
