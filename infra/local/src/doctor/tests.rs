//! A healthy stack, of which each test breaks one thing.

use std::sync::Arc;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clerk_auth::WebhookVerifier;
use signing_key::SigningKey;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::{clerk::now_ms, dynamodb, template::Template};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ORIGIN: &str = "http://localhost:3000";

/// The responses of a stack.
#[derive(Clone)]
struct Responses {
    keys: Value,
    date: Option<&'static str>,
    profile: StatusCode,
    /// The origin whose pages may call the API.
    allowed_origin: &'static str,
    profile_with_token: StatusCode,
    chats: StatusCode,
    unsigned: StatusCode,
    /// The secret of the webhook function.
    secret: &'static str,
    live: StatusCode,
}

struct Fixture {
    responses: Responses,
    target: Target,
    template: Template,
    key: SigningKey,
    folder: TempDir,
}

async fn keys(State(responses): State<Arc<Responses>>) -> Response {
    let body = Json(json!({ "keys": responses.keys }));
    match responses.date {
        Some(date) => ([(header::DATE, date)], body).into_response(),
        None => body.into_response(),
    }
}

async fn profile(State(responses): State<Arc<Responses>>, headers: HeaderMap) -> StatusCode {
    if headers.contains_key(header::AUTHORIZATION) { responses.profile_with_token } else { responses.profile }
}

async fn chats(State(responses): State<Arc<Responses>>) -> StatusCode {
    responses.chats
}

async fn preflight(State(responses): State<Arc<Responses>>) -> Response {
    [(header::ACCESS_CONTROL_ALLOW_ORIGIN, responses.allowed_origin)].into_response()
}

async fn webhook(State(responses): State<Arc<Responses>>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("svix-id") {
        return responses.unsigned.into_response();
    }
    let verifier = WebhookVerifier::from_env(|name| match name {
        "CLERK_WEBHOOK_SIGNING_SECRET" => Some(responses.secret.to_owned()),
        _ => None,
    });
    match verifier.expect("a secret").verify(&headers, &body) {
        Ok(_) => ([("event-outcome", "ignored")], "{}").into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, Json(json!({ "code": "webhook_bad_signature" }))).into_response(),
    }
}

async fn live(State(responses): State<Arc<Responses>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|protocols| protocols.to_str().ok());
    if protocols.is_some_and(|protocols| protocols.contains("bearer.")) {
        return upgrade.protocols(["live.v1"]).on_upgrade(async |_| ());
    }
    responses.live.into_response()
}

impl Fixture {
    fn new() -> Self {
        let key = SigningKey::generate().expect("a key");
        let responses = Responses {
            keys: json!([key.jwk()]),
            date: None,
            profile: StatusCode::UNAUTHORIZED,
            allowed_origin: ORIGIN,
            profile_with_token: StatusCode::OK,
            chats: StatusCode::UNAUTHORIZED,
            unsigned: StatusCode::BAD_REQUEST,
            secret: SECRET,
            live: StatusCode::UNAUTHORIZED,
        };
        let pem = key.public_key_pem().expect("PEM");
        let settings = [("CLERK_AUTHORIZED_PARTIES", ORIGIN), ("CLERK_JWT_KEY", &pem)];
        let template = Template::load().expect("the template is valid");
        let target = Target {
            place: Place::Local,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            front_ends: vec![ORIGIN.to_owned()],
            api: String::new(),
            webhook: String::new(),
            live: String::new(),
            secret: Ok(SECRET.to_owned()),
            tables: template.tables.iter().map(|table| (table.clone(), Some(table.name.clone()))).collect(),
            functions: template.functions.clone(),
            database: client("http://127.0.0.1:1"),
        };
        Self { responses, target, template, key, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Serves the stack, and returns its checks.
    async fn examine(mut self, claims: Option<Value>) -> Vec<Check> {
        let responses = Arc::new(self.responses);
        let router = Router::new()
            .route("/.well-known/jwks.json", get(keys))
            .route("/profile", get(profile).options(preflight))
            .route("/chats", get(chats))
            .route("/webhook", post(webhook))
            .route("/live", get(live))
            .with_state(responses);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let database = format!("http://{}", listener.local_addr().expect("its address"));
        let engine = dynamodb::open(&self.folder.path().join("dynamodb.sqlite"), &self.template).expect("it opens");
        let serving = dynamodb::serve(listener, engine);
        let target = &mut self.target;
        target.settings.entry("CLERK_ISSUER".to_owned()).or_insert(url.clone());
        for (part, path) in [(&mut target.api, ""), (&mut target.webhook, "/webhook"), (&mut target.live, "/live")] {
            if part.is_empty() {
                *part = format!("{url}{path}");
            }
        }
        target.live = target.live.replacen("http", "ws", 1);
        target.database = client(&database);
        let token = claims.map(|claims| {
            self.key.session_token(&url, "user_ada", "sess_1", now_ms() / 1000, &claims).expect("signed")
        });
        let checks = target.examine(token.as_deref()).await.expect("checks");
        serving.abort();
        for Check { sentence, .. } in &checks {
            assert!(!sentence.contains(SECRET) && !sentence.contains("BEGIN"), "{sentence}");
            let signature = token.as_deref().and_then(|token| token.rsplit('.').next());
            assert!(signature.is_none_or(|signature| !sentence.contains(signature)), "{sentence}");
        }
        checks
    }
}

fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("id", "key", None, None, "test"))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .http_client(aws::http_client(None));
    Client::from_conf(config.build())
}

fn with_outcome(checks: &[Check], outcome: Outcome) -> Vec<&'static str> {
    checks.iter().filter(|check| check.outcome == outcome).map(|check| check.name).collect()
}

/// A change to a healthy stack.
type Break = fn(&mut Fixture);

#[tokio::test]
async fn a_healthy_stack_passes_all_checks() {
    let checks = Fixture::new().examine(Some(json!({}))).await;
    let failed: Vec<_> = checks.iter().filter(|check| check.outcome != Outcome::Passed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    report(&checks, true).expect("no check has failed");
}

#[tokio::test]
async fn each_broken_thing_fails_exactly_its_check() {
    let cases: [(&str, Break); 27] = [
        ("settings", |fixture| set(fixture, "CLERK_MAX_TOKEN_LIFETIME", "a minute")),
        ("settings", |fixture| set(fixture, "CLERK_AUTHORIZED_PARTIES", "app.example.com")),
        ("settings", |fixture| set(fixture, "CLERK_ISSUER", "clerk.example.com")),
        ("issuer", |fixture| set(fixture, "CLERK_ISSUER", "http://127.0.0.1:1")),
        ("issuer", |fixture| fixture.responses.keys = json!([])),
        ("issuer", |fixture| fixture.responses.keys = json!([{ "kty": "RSA", "n": "" }, { "kty": "RSA", "n": "AQ" }])),
        ("key", |fixture| fixture.responses.keys = json!([SigningKey::generate().expect("a key").jwk()])),
        ("clock", |fixture| fixture.responses.date = Some("Thu, 01 Jan 2026 00:00:00 GMT")),
        ("parties", |fixture| set(fixture, "CLERK_AUTHORIZED_PARTIES", "https://app.example.com")),
        ("parties", |fixture| fixture.target.front_ends.push("http://localhost:5173".to_owned())),
        ("api", |fixture| fixture.target.api = "http://127.0.0.1:1".to_owned()),
        ("api", |fixture| fixture.responses.profile = StatusCode::SERVICE_UNAVAILABLE),
        ("api", |fixture| fixture.responses.chats = StatusCode::INTERNAL_SERVER_ERROR),
        ("cors", |fixture| fixture.responses.allowed_origin = "https://app.example.com"),
        ("webhook", |fixture| fixture.responses.unsigned = StatusCode::INTERNAL_SERVER_ERROR),
        ("webhook", |fixture| fixture.target.webhook = "http://127.0.0.1:1".to_owned()),
        ("secret", |fixture| fixture.target.secret = Err("it is missing".to_owned())),
        ("secret", |fixture| fixture.target.secret = Ok("whsec_c2hvcnQ=".to_owned())),
        ("signature", |fixture| fixture.responses.secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ("live", |fixture| fixture.responses.live = StatusCode::BAD_GATEWAY),
        ("tables", |fixture| drop(fixture.template.tables.pop())),
        ("tables", |fixture| fixture.template.tables[0].stream_view_type = Some("OLD_IMAGE".to_owned())),
        ("tables", |fixture| {
            let expires = fixture.template.tables.iter_mut().find(|table| table.ttl_attribute.is_some());
            expires.expect("a table whose items expire").ttl_attribute = None;
        }),
        ("tables", |fixture| {
            let indexed = |table: &&mut template::Table| table.create["LocalSecondaryIndexes"].is_array();
            let indexed = fixture.template.tables.iter_mut().find(indexed).expect("a table with an index");
            indexed.create["LocalSecondaryIndexes"][0]["IndexName"] = "other".into();
        }),
        ("tables", |fixture| {
            fixture.target.tables[0].1 = None;
        }),
        ("tables", |fixture| {
            let chats = fixture.target.functions.iter_mut().find(|function| function.binary == "chats");
            chats.expect("a function").tables.insert("CHATS_TABLE".to_owned(), "UsersTable".to_owned());
        }),
        ("tables", |fixture| {
            let connect = fixture.target.functions.iter_mut().find(|function| function.binary == "live-connect");
            connect.expect("a function").tables.insert("CONNECTIONS_TABLE".to_owned(), "ChatsTable".to_owned());
        }),
    ];
    for (name, breaks) in cases {
        for claims in [None, Some(json!({}))] {
            let mut fixture = Fixture::new();
            breaks(&mut fixture);
            // As a stack whose tables are missing.
            if name == "tables" {
                fixture.responses.profile_with_token = StatusCode::INTERNAL_SERVER_ERROR;
            }
            let checks = fixture.examine(claims).await;
            assert_eq!(with_outcome(&checks, Outcome::Failed), [name], "{checks:?}");
            report(&checks, false).expect_err("a check has failed");
        }
    }
}

fn set(fixture: &mut Fixture, name: &str, value: &str) {
    fixture.target.settings.insert(name.to_owned(), value.to_owned());
}

#[tokio::test]
async fn a_token_is_verified_step_by_step() {
    let cases: [(&str, Value, Break); 9] = [
        ("token-issuer", json!({ "iss": "https://clerk.example.com" }), |_| ()),
        ("token-party", json!({ "azp": "http://localhost:5173" }), |_| ()),
        ("token-audience", json!({}), |fixture| set(fixture, "CLERK_AUDIENCE", "cubby")),
        ("token-time", json!({ "exp": 1 }), |_| ()),
        ("token-time", json!({ "nbf": 9_999_999_999_u64 }), |_| ()),
        ("token-type", json!({ "sub": "mch_1" }), |_| ()),
        ("token-session", json!({ "sts": "pending" }), |_| ()),
        ("token-session", json!({}), |fixture| fixture.responses.profile_with_token = StatusCode::UNAUTHORIZED),
        ("token-signature", json!({}), |fixture| {
            let other = SigningKey::generate().expect("a key");
            fixture.responses.keys = json!([fixture.key.jwk(), other.jwk()]);
            set(fixture, "CLERK_JWT_KEY", &other.public_key_pem().expect("PEM"));
        }),
    ];
    for (name, claims, breaks) in cases {
        let mut fixture = Fixture::new();
        breaks(&mut fixture);
        let checks = fixture.examine(Some(claims)).await;
        assert_eq!(with_outcome(&checks, Outcome::Failed), [name], "{checks:?}");
        let after = checks.iter().skip_while(|check| check.name != name).skip(1);
        assert!(after.clone().all(|check| check.outcome == Outcome::Skipped), "{checks:?}");
    }
}

#[tokio::test]
async fn values_that_are_compared_are_named() {
    let mut checks = Fixture::new().examine(Some(json!({ "azp": "http://localhost:5173" }))).await;
    checks.retain(|check| check.name == "token-party");
    let sentence = &checks.first().expect("the step").sentence;
    assert!(sentence.contains("azp=\"http://localhost:5173\""), "{sentence}");
}

#[test]
fn every_check_has_a_fix_of_its_own() {
    for name in NAMES {
        for place in [Place::Local, Place::Aws] {
            let mut fix = fix(name, place).to_owned();
            for known in
                ["ORIGINS", "DATA", "USER", "STACK", "Stage", "AlarmTopicArn", "WebhookSecretArn", "WebhookUrl"]
            {
                fix = fix.replace(&format!("<{known}>"), "known");
            }
            assert!(!fix.contains('<'), "{name}: {fix}");
            let shell = std::process::Command::new("bash").args(["-n", "-c", &fix]).output().expect("bash runs");
            assert!(!fix.is_empty() && shell.status.success(), "{name}: {fix}");
        }
    }
}
