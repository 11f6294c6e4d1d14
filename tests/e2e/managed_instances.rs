//! Lambda Managed Instances: one environment that gets several events at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use reqwest::Client;
use serde_json::{Value, json};
use test_support::{Engine, Runtime, SigningKey, in_memory};
use tokio::{process::Command, sync::Barrier};

use crate::{
    events::event,
    sample::{Sample, items},
    stack::{now, program},
    standalone::{serve, tables},
};

const CONCURRENCY: usize = 16;
const ISSUER: &str = "https://test.clerk.accounts.dev";
const ACCESS_KEY_ID: &str = "AKIAFROMTHECONTAINER";
const CONTAINER_TOKEN: &str = "the environment's own";

/// Credentials behind a URL, for a function that outlives those in its environment.
async fn credentials(headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|token| token != CONTAINER_TOKEN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let credentials = json!({
        "AccessKeyId": ACCESS_KEY_ID, "SecretAccessKey": "secret", "Token": "token", "Expiration": "2999-01-01T00:00:00Z",
    });
    credentials.to_string().into_response()
}

/// DynamoDB that responds to queries once there is one for each event.
struct Gathering {
    all: Barrier,
    requests: Arc<AtomicUsize>,
    engine: Engine,
    http: Client,
}

async fn gather(State(gathering): State<Arc<Gathering>>, headers: HeaderMap, body: Bytes) -> Response {
    gathering.requests.fetch_add(1, Ordering::SeqCst);
    let signature = headers["authorization"].to_str().unwrap_or_default();
    if !signature.contains(&format!("Credential={ACCESS_KEY_ID}/")) {
        return (StatusCode::BAD_REQUEST, signature.to_owned()).into_response();
    }
    if headers["x-amz-target"].as_bytes().ends_with(b".Query") {
        gathering.all.wait().await;
    }
    let sent = gathering.http.post(gathering.engine.url()).headers(headers).body(body).send().await.expect("an answer");
    (sent.status(), sent.headers().clone(), sent.bytes().await.expect("a body")).into_response()
}

#[tokio::test]
async fn one_environment_handles_sixteen_requests_at_once() {
    let sample = Sample::first();
    let program = program(&sample.function);
    let key = SigningKey::generate().expect("a key");
    let token = key.session_token(ISSUER, "user_ada", "sess_1", now(), &json!({})).expect("a token");
    let (event, requests) = (event("GET", &sample.path, &token).to_string(), Arc::new(AtomicUsize::new(0)));
    let engine = in_memory().await.expect("an engine");
    let gathering =
        Gathering { all: Barrier::new(CONCURRENCY), requests: requests.clone(), engine, http: Client::new() };
    let container = Router::new().fallback(credentials);
    let dynamodb = Router::new().fallback(gather).with_state(Arc::new(gathering));

    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AWS_LAMBDA_MAX_CONCURRENCY", CONCURRENCY.to_string())
        .env("AWS_ENDPOINT_URL", serve(dynamodb).await)
        .envs([("AWS_LAMBDA_FUNCTION_NAME", sample.function.as_str()), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"), ("AWS_REGION", "us-east-1")])
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(container).await)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)
        .envs(tables(&sample.function))
        .env("CLERK_ISSUER", ISSUER)
        .env("CLERK_JWT_KEY", key.public_key_pem().expect("a key"));
    let function = Runtime::start(command).await;
    function.initialized().await;
    assert_eq!(requests.load(Ordering::SeqCst), 2, "two connections are open before the first event");

    for _ in 0..CONCURRENCY {
        function.send(event.as_str());
    }
    for _ in 0..CONCURRENCY {
        let response = function.response().await;
        assert_eq!(response["statusCode"], 200, "{response}");
        let page: Value = serde_json::from_str(response["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!((items(&page).len(), &page["cursor"]), (0, &Value::Null));
    }
}
