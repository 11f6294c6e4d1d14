//! AWS's services when they fail: responses that cannot be parsed, and credentials that are rejected.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use test_support::{Engine, in_memory};

use crate::{
    events::event,
    sample::Sample,
    standalone::{ISSUER, serve, signed_in, start},
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// A marker in place of a title, a name, an email address or a secret in a response.
const MARKER: &str = "whsec_C2FVsBQIhrscChlQIMV";

fn webhook_event() -> Value {
    let mut event = event("POST", "/", "");
    event["headers"] = json!({ "svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,c2lnbmF0dXJl" });
    event["body"] = "{}".into();
    event
}

/// A response that every request gets.
type Canned = Arc<Mutex<(StatusCode, String)>>;

async fn canned(State(canned): State<Canned>) -> Response {
    let (status, body) = canned.lock().expect("no test fails while it holds this").clone();
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

#[tokio::test]
async fn logs_hold_no_text_of_a_response() {
    let sample = Sample::first();
    let response = Canned::new(Mutex::new((StatusCode::OK, String::new())));
    let url = serve(Router::new().fallback(canned).with_state(Arc::clone(&response))).await;
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("CLERK_WEBHOOK_SIGNING_SECRET_ARN", "arn"),
    ];
    let container =
        [&variables[..], &[("AWS_ACCESS_KEY_ID", ""), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)]].concat();

    let item = json!({ "userId": { "S": MARKER }, "isActive": { "S": MARKER }, "version": { "S": MARKER } });
    let error = |kind: &str, message: &str| json!({ "__type": kind, "message": message }).to_string();
    let cut = |text: String| text[..text.len() - 4].to_owned();
    for (status, body) in [
        (
            200,
            json!({ "Items": [item], "Item": item, "Attributes": item, "Responses": { "UsersTable": [item] } })
                .to_string(),
        ),
        (
            200,
            cut(json!({ "Items": [item], "Responses": { "UsersTable": [item] }, "SecretString": MARKER }).to_string()),
        ),
        (200, json!({ "Responses": MARKER, "SecretString": { "value": MARKER } }).to_string()),
        (200, format!("<html>{MARKER}</html>")),
        (200, json!({ "Code": MARKER, "Message": MARKER, "AccessKeyId": MARKER, "Expiration": MARKER }).to_string()),
        (400, error("ValidationException", MARKER)),
        (400, error("AccessDeniedException", MARKER)),
        (400, error("ThrottlingException", MARKER)),
        (400, error("ExpiredTokenException", MARKER)),
        (400, error(MARKER, MARKER)),
        (400, cut(error("ConditionalCheckFailedException", MARKER))),
        (500, error("InternalServerError", MARKER)),
        (503, format!("<html>{MARKER}</html>")),
    ] {
        *response.lock().expect("no test fails while it holds this") =
            (StatusCode::from_u16(status).expect("a status"), body.clone());
        // Each function is started again, since it opens connections and reads the secret at its start.
        let resource = start(&sample.function, &variables).await;
        let without_credentials = start(&sample.function, &container).await;
        let webhook = start("clerk-webhook", &variables).await;
        let mut post = event("POST", &sample.path, &token);
        post["body"] = sample.create.to_string().into();
        let mut failed = 0;
        for (function, event) in [
            (&resource, event("GET", &sample.path, &token)),
            (&resource, post),
            (&without_credentials, event("GET", &sample.path, &token)),
            (&webhook, webhook_event()),
        ] {
            let (status, _, problem) = function.invoke(event).await;
            assert!(!problem.to_string().contains(MARKER), "{body}: {problem}");
            let log = function.log_until(|line| line["status"] == status).await;
            assert!(!log.iter().any(|line| line.contains(MARKER)), "{body}: {log:#?}");
            let has_cause = log.iter().any(|line| line.contains("\"cause\""));
            assert_eq!(status.as_u64().is_some_and(|status| status >= 500), has_cause, "{body}: {log:#?}");
            failed += usize::from(has_cause);
        }
        assert!(failed > 0, "{body} is good");
    }
}

/// Credentials that change each time they are fetched, and services that reject some of them.
struct Rotation {
    engine: Engine,
    http: reqwest::Client,
    fetched: AtomicUsize,
    /// The error code, and the number of the last credentials that are rejected with it.
    rejected: Mutex<(&'static str, usize)>,
}

impl Rotation {
    fn reject(&self, code: &'static str, up_to: usize) {
        *self.rejected.lock().expect("no test fails while it holds this") = (code, up_to);
    }
}

async fn credentials(State(rotation): State<Arc<Rotation>>) -> String {
    let number = rotation.fetched.fetch_add(1, Ordering::SeqCst) + 1;
    json!({
        "AccessKeyId": format!("AKIA{number}"), "SecretAccessKey": "secret", "Token": "token",
        "Expiration": "2999-01-01T00:00:00Z",
    })
    .to_string()
}

async fn service(State(rotation): State<Arc<Rotation>>, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers["authorization"].to_str().expect("text");
    let number = signature.split("AKIA").nth(1).and_then(|rest| rest.split('/').next()).expect("one of ours");
    let (code, up_to) = *rotation.rejected.lock().expect("no test fails while it holds this");
    if number.parse::<usize>().expect("a number") <= up_to {
        let error = json!({ "__type": format!("com.amazon.coral.service#{code}"), "message": "on purpose" });
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    if headers["x-amz-target"].as_bytes().ends_with(b".GetSecretValue") {
        return json!({ "SecretString": SECRET }).to_string().into_response();
    }
    let sent = rotation.http.post(rotation.engine.url()).headers(headers).body(body).send().await.expect("an answer");
    (sent.status(), sent.headers().clone(), sent.bytes().await.expect("a body")).into_response()
}

#[tokio::test]
async fn rejected_credentials_are_fetched_again() {
    let rotation = Arc::new(Rotation {
        engine: in_memory().await.expect("the engine starts"),
        http: reqwest::Client::new(),
        fetched: AtomicUsize::new(0),
        rejected: Mutex::new(("", 0)),
    });
    let container = serve(Router::new().fallback(credentials).with_state(Arc::clone(&rotation))).await;
    let aws = serve(Router::new().fallback(service).with_state(Arc::clone(&rotation))).await;
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container),
        ("AWS_ENDPOINT_URL", &aws),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("CLERK_WEBHOOK_SIGNING_SECRET_ARN", "arn"),
    ];
    let sample = Sample::first();
    let resource = start(&sample.function, &variables).await;
    for code in [
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ] {
        rotation.reject(code, rotation.fetched.load(Ordering::SeqCst));
        let (status, _, body) = resource.invoke(event("GET", &sample.path, &token)).await;
        assert_eq!(status, 200, "{code}: {body}");
        rotation.reject(code, usize::MAX);
        let (status, _, body) = resource.invoke(event("GET", &sample.path, &token)).await;
        assert_eq!((&status, &body["code"]), (&json!(503), &json!("unavailable")), "{code}");
    }
    // Other credentials do not add permissions, so this stays an internal error.
    rotation.reject("AccessDeniedException", usize::MAX);
    assert_eq!(resource.invoke(event("GET", &sample.path, &token)).await.0, 500);

    // The webhook's secret is read when the function starts.
    rotation.reject("ExpiredTokenException", rotation.fetched.load(Ordering::SeqCst) + 1);
    let webhook = start("clerk-webhook", &variables).await;
    let (_, _, problem) = webhook.invoke(webhook_event()).await;
    assert_eq!(problem["code"], "webhook_stale", "the secret is known: {problem}");
}

#[tokio::test]
async fn aws_ca_bundle_names_the_roots_for_aws_and_ssl_cert_file_does_not() {
    let engine = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let sample = Sample::first();
    let start_with = async |variable| {
        let variables =
            [("AWS_ENDPOINT_URL_DYNAMODB", engine.url()), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem), variable];
        start(&sample.function, &variables).await
    };
    let others = start_with(("SSL_CERT_FILE", "/nonexistent")).await;
    assert_eq!(others.invoke(event("GET", &sample.path, &token)).await.0, 200);
    let unreadable = start_with(("AWS_CA_BUNDLE", "/nonexistent")).await;
    assert_eq!(unreadable.invoke(event("GET", &sample.path, &token)).await.0, 503);
    let log = unreadable.log_until(|line| line["status"] == 503).await;
    assert!(log.iter().any(|line| line.contains("the roots of AWS_CA_BUNDLE")), "{log:#?}");
}
