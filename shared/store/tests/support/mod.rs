//! A database for tests, and identities and events, which are verified as in production.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    Client,
    config::{self, BehaviorVersion, Credentials, Region, retry::RetryConfig},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection,
        ProjectionType, ScalarAttributeType,
    },
};
use clerk_auth::{Config, Event, Identity, Verifier, WebhookVerifier};
use serde::{Deserialize, Serialize};
use store::{Accounts, Database, Profile, ProfileUpdate, ReadSession, Resource, Table, WriteSession};
use test_support::{Engine, SigningKey};

const ISSUER: &str = "https://clerk.example.com";

/// An engine with empty tables, which stops when this is dropped.
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
        create_notes_table(&client).await;
        Self { engine, client, database }
    }
}

/// The resource of these tests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Note {
    pub(crate) text: String,
    /// Added by a later release, with a default.
    #[serde(default)]
    pub(crate) pinned: bool,
    /// Its name is one of DynamoDB's reserved words.
    pub(crate) date: Option<u64>,
    /// It was renamed: items keep the attribute `shade`.
    pub(crate) color: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct NoteUpdate {
    pub(crate) text: Option<String>,
    pub(crate) date: Option<Option<u64>>,
    pub(crate) color: Option<Option<String>>,
}

impl Resource for Note {
    const NAME: &str = "note";
    const PLURAL: &str = "notes";
    type Update = NoteUpdate;

    fn attribute(member: &'static str) -> &'static str {
        if member == "color" { "shade" } else { member }
    }
}

pub(crate) fn note(text: &str) -> Note {
    Note { text: text.to_owned(), pinned: false, date: None, color: None }
}

/// A change of the text.
pub(crate) fn change(text: &str) -> NoteUpdate {
    NoteUpdate { text: Some(text.to_owned()), ..NoteUpdate::default() }
}

/// A table of these tests, with a name that no resource of the project has.
pub(crate) fn notes(database: &Database) -> Table<Note> {
    Table::new(database, "TestNotesTable".to_owned()).expect("a resource")
}

/// User-supplied values.
pub(crate) fn details(members: &serde_json::Value) -> ProfileUpdate {
    let text = |member: &str| members[member].as_str().map(str::to_owned);
    ProfileUpdate {
        email: text("email"),
        first_name: text("firstName"),
        last_name: text("lastName"),
        image_url: text("imageUrl"),
    }
}

async fn create_notes_table(client: &Client) {
    let attribute = |name: &str| {
        let kind = ScalarAttributeType::S;
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("complete")
    };
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("complete");
    let newest = LocalSecondaryIndex::builder()
        .index_name("newest")
        .key_schema(key("userId", KeyType::Hash))
        .key_schema(key("listPosition", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    let create = client
        .create_table()
        .table_name("TestNotesTable")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("userId", KeyType::Hash))
        .key_schema(key("noteId", KeyType::Range))
        .local_secondary_indexes(newest.build().expect("complete"));
    let names = ["userId", "noteId", "listPosition"];
    names
        .into_iter()
        .fold(create, |create, name| create.attribute_definitions(attribute(name)))
        .send()
        .await
        .expect("made");
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

    /// All stored items of a table.
    pub(crate) async fn items(&self, table: &str) -> Vec<serde_json::Value> {
        let scan = self.client.scan().table_name(table).send().await.expect("read");
        serde_dynamo::from_items(scan.items.unwrap_or_default()).expect("items")
    }

    /// The profile of a user, without a session check.
    pub(crate) async fn profile(&self, user_id: &str) -> Option<Profile> {
        let read = self.client.get_item().table_name("UsersTable").key("userId", AttributeValue::S(user_id.to_owned()));
        let item = read.consistent_read(true).send().await.expect("read").item;
        item.map(|item| Profile::try_from(item).expect("a profile"))
    }

    /// The configuration of a client of this engine.
    pub(crate) fn config(&self) -> config::Builder {
        config(self.engine.url())
    }

    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::new(&self.database, "UsersTable".to_owned(), "SessionsTable".to_owned())
    }

    /// A session of a user, to write with.
    pub(crate) async fn write_session(&self, user_id: &str) -> WriteSession {
        self.accounts().write_session(identity(user_id).await).await.expect("the session is valid")
    }

    /// A session of a user, to read with.
    pub(crate) async fn read_session(&self, user_id: &str) -> ReadSession {
        self.accounts().read_session(identity(user_id).await)
    }
}

/// The identity in a fresh token.
pub(crate) async fn identity(user_id: &str) -> Identity {
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    identity_at(user_id, now, serde_json::json!({})).await
}

/// The identity in a token with `claims`, issued at `seconds` since the epoch.
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

/// A database that refuses connections.
pub(crate) fn unreachable_database() -> Database {
    Database::from(config("http://127.0.0.1:1"))
}

/// The event in `body`, signed as Clerk signs it.
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
