//! Functions without the local stack, started as Lambda starts them: with `AWS_LAMBDA_RUNTIME_API` and their variables.

use std::{collections::BTreeMap, process::Output, time::UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use axum::Router;
use clerk_auth::user_tag;
use local::template::Template;
use serde_json::{Value, json};
use test_support::{Engine, Runtime, SigningKey, TIMEOUT, in_memory};
use tokio::{net::TcpListener, process::Command, time::timeout};

use crate::{
    events::event,
    sample::Sample,
    stack::{now, program},
};

pub(crate) const ISSUER: &str = "https://clerk.example.com";
/// A port that no program listens on, so that connections fail at once.
pub(crate) const UNREACHABLE: &str = "http://127.0.0.1:1";

fn command(function: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program(function));
    command
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", function),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ])
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    command
}

/// Starts a function with these variables.
pub(crate) async fn start_with(function: &str, variables: &[(&str, &str)]) -> Runtime {
    Runtime::start(command(function, variables)).await
}

/// Starts a function with the tables that the template gives it, and with these variables.
pub(crate) async fn start(function: &str, variables: &[(&str, &str)]) -> Runtime {
    let tables = tables(function);
    let tables = tables.iter().map(|(name, table)| (name.as_str(), table.as_str()));
    start_with(function, &tables.chain(variables.iter().copied()).collect::<Vec<_>>()).await
}

/// The variables that hold the names of a function's tables.
pub(crate) fn tables(function: &str) -> BTreeMap<String, String> {
    let template = Template::load().expect("the template is valid");
    let declared = template.functions.into_iter().find(|declared| declared.binary == function);
    declared.unwrap_or_else(|| panic!("the template declares {function}")).tables
}

/// Serves a router on a free port, and returns its URL.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A key, and a token that it signed for a user that no webhook has reported.
pub(crate) fn signed_in(extra: &Value) -> (SigningKey, String) {
    let key = SigningKey::generate().expect("a key");
    let token = key.session_token(ISSUER, "user_ada", "sess_1", now(), extra).expect("signed");
    (key, token)
}

async fn profile(database: &Engine, key: &SigningKey) -> Runtime {
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", database.url()), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
    start("profile", &variables).await
}

#[tokio::test]
async fn a_profile_can_precede_clerks_webhook() {
    let database = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({ "email": "ada@example.com" }));
    let profile = profile(&database, &key).await;
    let patch = |body: Value| {
        let mut event = event("PATCH", "/profile", &token);
        event["body"] = body.to_string().into();
        event
    };
    let get = event("GET", "/profile", &token);

    let (status, _, body) = profile.invoke(get.clone()).await;
    assert_eq!((status, &body["code"]), (json!(404), &json!("not_found")));
    let (status, _, body) = profile.invoke(patch(json!({ "email": "other@example.com" }))).await;
    assert_eq!((status, &body["code"]), (json!(403), &json!("claim_mismatch")));
    let (status, _, body) = profile.invoke(patch(json!({ "firstName": "Ada" }))).await;
    assert_eq!(status, 201);
    assert_eq!((&body["email"], &body["firstName"]), (&json!("ada@example.com"), &json!("Ada")));
    let (status, _, changed) = profile.invoke(patch(json!({ "lastName": "Lovelace" }))).await;
    assert_eq!((status, &changed["firstName"], &changed["lastName"]), (json!(200), &json!("Ada"), &json!("Lovelace")));
    assert_eq!(profile.invoke(get).await.2, changed);
}

#[tokio::test]
async fn an_unreachable_database_is_503_within_the_functions_timeout() {
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", UNREACHABLE), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
    let sample = Sample::first();
    let function = start(&sample.function, &variables).await;
    let (status, headers, body) = function.invoke(event("GET", &sample.path, &token)).await;
    assert_eq!((status, &body["code"]), (json!(503), &json!("unavailable")));
    assert!(headers.contains_key("retry-after"), "{headers:?}");
    assert!(!body.to_string().contains("127.0.0.1"), "the cause is only for the log: {body}");
}

/// Lambda drops lines whose level is too low, or whose time it cannot read, and with them their metrics.
#[tokio::test]
async fn failures_are_metrics_of_their_version_at_every_log_level() {
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    for level in ["DEBUG", "WARN", "ERROR"] {
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", UNREACHABLE),
            ("CLERK_ISSUER", ISSUER),
            ("CLERK_JWT_KEY", &pem),
            ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
            ("LOG_LEVEL", level),
        ];
        let profile = start("profile", &variables).await;
        for (token, code, failures) in [("", "token_missing", Value::Null), (&token, "unavailable", json!(1))] {
            profile.invoke(event("GET", "/profile", token)).await;
            let log = profile.log_until(|line| line["code"] == code).await;
            let line: Value = serde_json::from_str(log.last().expect("a line")).expect("JSON");
            let time = line["timestamp"].as_str().expect("a time");
            assert!(DateTime::from_str(time, DateTimeFormat::DateTime).is_ok(), "RFC 3339: {line}");
            assert!(line["level"].is_string(), "{line}");
            assert_eq!((&line["Problems"], &line["Failures"]), (&json!(1), &failures), "{line}");
            let dimensions = line["_aws"]["CloudWatchMetrics"][0]["Dimensions"].as_array().expect("dimensions");
            let of_version = dimensions.contains(&json!(["function", "version"]));
            assert_eq!(of_version, !failures.is_null(), "{line}");
            assert!(!of_version || line["version"] == "7", "{line}");
        }
    }
}

#[tokio::test]
async fn impersonated_requests_are_logged_with_their_actor() {
    for (extra, actor) in
        [(json!({ "act": { "sub": "user_admin" } }), json!(user_tag("user_admin"))), (json!({}), Value::Null)]
    {
        let (key, token) = signed_in(&extra);
        let pem = key.public_key_pem().expect("it has a public half");
        let variables = [("AWS_ENDPOINT_URL_DYNAMODB", UNREACHABLE), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
        let profile = start("profile", &variables).await;
        profile.invoke(event("GET", "/profile", &token)).await;
        let log = profile.log_until(|_| true).await;
        let line: Value = serde_json::from_str(log.last().expect("a line")).expect("JSON");
        assert_eq!((&line["user"], &line["actor"]), (&json!(user_tag("user_ada")), &actor), "{line}");
    }
}

#[tokio::test]
async fn an_unreachable_issuer_is_503_and_not_401() {
    let (_, token) = signed_in(&json!({}));
    let sample = Sample::first();
    let function = start(&sample.function, &[("CLERK_ISSUER", UNREACHABLE)]).await;
    for _ in 0..2 {
        let (status, headers, body) = function.invoke(event("GET", &sample.path, &token)).await;
        assert_eq!((status, &body["code"]), (json!(503), &json!("unavailable")));
        assert!(headers.contains_key("retry-after") && !headers.contains_key("www-authenticate"), "{headers:?}");
    }
}

#[tokio::test]
async fn webhooks_that_cannot_be_verified_are_500_so_that_svix_retries() {
    for secret in ["", "no secret at all!"] {
        let webhook = start("clerk-webhook", &[("CLERK_WEBHOOK_SIGNING_SECRET", secret)]).await;
        let mut delivery = event("POST", "/", "");
        let (status, _, body) = webhook.invoke(delivery.clone()).await;
        assert_eq!((status, &body["code"]), (json!(400), &json!("webhook_headers_missing")), "{secret:?}");
        delivery["headers"] = json!({ "svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,AAAA" });
        let (status, _, body) = webhook.invoke(delivery).await;
        assert_eq!((status, &body["code"]), (json!(500), &json!("internal")), "{secret:?}");
        assert!(secret.is_empty() || !body.to_string().contains(secret));
    }
}

#[tokio::test]
async fn webhooks_that_cannot_be_stored_are_503_so_that_svix_retries() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", UNREACHABLE), ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)];
    let webhook = start("clerk-webhook", &variables).await;
    let body = json!({ "type": "user.created", "data": { "id": "user_ada" } }).to_string();
    let now = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
    let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
    let mut delivery = event("POST", "/", "");
    delivery["headers"] = json!({ "svix-id": "msg_1", "svix-timestamp": now.to_string(), "svix-signature": signature });
    delivery["body"] = body.into();
    let (status, headers, _) = webhook.invoke(delivery).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"), "{headers:?}");
}

/// Serves `secret` as Secrets Manager does, at every stage.
async fn secrets_manager(secret: &'static str) -> String {
    let response = move || async move { json!({ "ARN": "arn", "Name": "name", "SecretString": secret }).to_string() };
    serve(Router::new().fallback(response)).await
}

#[tokio::test]
async fn no_log_level_shows_secrets_or_personal_data() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const CREDENTIALS: [(&str, &str); 2] =
        [("AWS_SECRET_ACCESS_KEY", "marker-secret-key"), ("AWS_SESSION_TOKEN", "marker-session-token")];
    let everything = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,lambda_runtime=trace,\
                      aws_config=trace,aws_sdk_dynamodb=trace,aws_smithy_runtime=trace,aws_runtime=trace";
    let levels = [("LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace"), ("RUST_LOG", everything)];
    let database = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({ "email": "marker@example.com", "firstName": "marker-first-name" }));
    let pem = key.public_key_pem().expect("it has a public half");
    let secrets_manager = secrets_manager(SECRET).await;
    let sample = Sample::first();
    for level in levels {
        let mut variables = vec![
            level,
            ("AWS_ENDPOINT_URL_DYNAMODB", database.url()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets_manager),
            ("CLERK_ISSUER", ISSUER),
            ("CLERK_JWT_KEY", &pem),
            ("CLERK_WEBHOOK_SIGNING_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:webhook"),
        ];
        variables.extend(CREDENTIALS);
        let mut log = Vec::new();

        let resource = start(&sample.function, &variables).await;
        let mut create = event("POST", &sample.path, &token);
        create["body"] = sample.create.to_string().into();
        assert_eq!(resource.invoke(create).await.0, 201);
        let mut list = event("GET", &sample.path, &token);
        list["rawQueryString"] = "cursor=marker-cursor".into();
        assert_eq!(resource.invoke(list).await.0, 400);
        assert_eq!(resource.invoke(event("GET", &sample.path, &token)).await.0, 200);
        log.extend(resource.log_until(|line| line["method"] == "GET" && line["status"] == 200).await);

        let profile = start("profile", &variables).await;
        let mut patch = event("PATCH", "/profile", &token);
        patch["body"] = json!({ "lastName": "marker-last-name" }).to_string().into();
        assert!(matches!(profile.invoke(patch).await.0.as_u64(), Some(200 | 201)));
        log.extend(profile.log_until(|line| line["method"] == "PATCH").await);

        let webhook = start("clerk-webhook", &variables).await;
        let body = json!({ "type": "organization.created", "data": { "name": "marker organization" } }).to_string();
        let now = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
        let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
        let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
        let mut delivery = event("POST", "/", "");
        delivery["headers"] =
            json!({ "svix-id": "msg_1", "svix-timestamp": now.to_string(), "svix-signature": signature });
        delivery["body"] = body.into();
        assert_eq!(webhook.invoke(delivery).await.0, 200);
        log.extend(webhook.log_until(|line| line["status"] == 200).await);

        let log = log.join("\n");
        let markers = [token.as_str(), SECRET, SECRET.trim_start_matches("whsec_"), &signature, "marker"];
        for marker in markers.into_iter().chain(sample.texts()) {
            assert!(!log.contains(marker), "{level:?} logs {marker}:\n{log}");
        }
        // A function's own messages are logged at the configured level.
        let own = level.1 != everything;
        assert_eq!(log.contains("\"level\":\"DEBUG\""), own, "{level:?}:\n{log}");
    }
}

#[tokio::test]
async fn functions_do_not_start_without_a_required_variable() {
    let fails = async |function: &str, variables: &[(&str, &str)], expected: &str| {
        let run = command(function, variables).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1").output();
        let Output { status, stdout, .. } = timeout(TIMEOUT, run).await.expect("in time").expect("it runs");
        let log = String::from_utf8_lossy(&stdout);
        assert!(!status.success() && log.contains(expected), "{function} {variables:?} logged {log}");
        assert!(!log.contains("not a key"), "{log}");
    };
    for function in Template::load().expect("the template is valid").functions {
        let tables = function.tables.iter().map(|(name, table)| (name.as_str(), table.as_str()));
        let verifies_tokens = !function.has_url && function.binary != "live-notify";
        let required: Vec<_> = tables.chain(verifies_tokens.then_some(("CLERK_ISSUER", ISSUER))).collect();
        assert!(required.len() > 1, "{function:?}");
        for (missing, _) in &required {
            let expected = format!("{missing} is not set");
            let without: Vec<_> = required.iter().copied().filter(|(name, _)| name != missing).collect();
            fails(&function.binary, &without, &expected).await;
            fails(&function.binary, &[&without[..], &[(missing, "")]].concat(), &expected).await;
        }
        if verifies_tokens {
            let invalid = [&required[..], &[("CLERK_JWT_KEY", "not a key")]].concat();
            fails(&function.binary, &invalid, "CLERK_JWT_KEY is not").await;
        }
    }
}
