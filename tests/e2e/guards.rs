//! The stack's listeners serve programs on the developer's machine and pages of the front end, and no other page.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::json;
use test_support::ORIGIN as APP;

use crate::{
    client::{Response, User},
    sample::Sample,
    stack::{program, stack},
};

fn http() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client")
}

/// The credentials of the stack's database, as AWS's tools read them.
pub(crate) fn access_key() -> String {
    let file = fs::read_to_string(stack().data().join("aws-credentials")).expect("the stack has written it");
    let key = file.lines().find_map(|line| line.strip_prefix("aws_access_key_id = "));
    key.expect("it has an access key").to_owned()
}

/// Lists the database's tables, signed with a key.
fn list_tables(key: &str) -> RequestBuilder {
    database("ListTables", key).body("{}")
}

/// A request to the database, signed with a key.
pub(crate) fn database(operation: &str, key: &str) -> RequestBuilder {
    let request = http().post(stack().database()).header("content-type", "application/x-amz-json-1.0");
    signed(request.header("x-amz-target", format!("DynamoDB_20120810.{operation}")), key)
}

/// A request that is signed with a key. The stack does not verify the signature.
pub(crate) fn signed(request: RequestBuilder, key: &str) -> RequestBuilder {
    let scope = format!("{key}/20260101/us-east-1/dynamodb/aws4_request");
    let signed = "SignedHeaders=host;x-amz-date;x-amz-target, Signature=00";
    request
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, {signed}"))
}

/// A preflight for a request with these headers, from the front end.
fn preflight(path: &str, method: &str, headers: &str) -> RequestBuilder {
    http()
        .request(Method::OPTIONS, format!("{}{path}", stack().api()))
        .header("origin", APP)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers)
}

fn cors(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut cors: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
        .filter(|(name, _)| name.starts_with("access-control-"))
        .collect();
    cors.sort_unstable();
    cors
}

#[tokio::test]
async fn every_listener_rejects_rebound_hosts_and_pages_of_other_origins() {
    let ada = User::sign_up("Ada");
    let requests = || {
        [
            ada.request(Method::GET, &Sample::first().path),
            http().post(stack().webhook()),
            http().get(format!("{}/.well-known/jwks.json", stack().clerk())),
            list_tables(&access_key()),
            http().get(stack().live().replacen("ws", "http", 1)),
            signed(http().get(stack().connections("unknown")), &access_key()),
        ]
    };
    let headers = [
        ("host", "evil.example"),
        ("host", "evil.example:9000"),
        ("host", "localhost"),
        ("origin", "null"),
        ("origin", "http://127.0.0.2:5999"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for (name, value) in headers {
        for request in requests() {
            let answer = Response::to(request.header(name, value)).await;
            assert_eq!(answer.status, 403, "{name}: {value}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{answer:?}");
            assert!(cors(&answer.headers).is_empty(), "{answer:?}");
        }
    }
    for request in requests() {
        assert_ne!(Response::to(request).await.status, 403);
    }
}

#[tokio::test]
async fn the_api_port_reaches_only_the_functions() {
    let api = stack().api();
    let Sample { function, path: list, .. } = Sample::first();
    for (method, path) in [
        (Method::GET, format!("/.rt/{function}/2018-06-01/runtime/invocation/next")),
        (Method::POST, format!("/.rt/{function}/2018-06-01/runtime/init/error")),
        (Method::POST, format!("/2015-03-31/functions/{function}/invocations")),
        (Method::POST, format!("/2015-03-31/functions/{function}/response-streaming-invocations")),
        (Method::GET, format!("/lambda-url/{function}")),
        (Method::GET, format!("/lambda-url/{function}{list}")),
        (Method::GET, format!("{list}/lambda-url/{function}")),
        (Method::GET, format!("//.rt/{function}/2018-06-01/runtime/invocation/next")),
        (Method::GET, format!("/%2e%2e/.rt/{function}/2018-06-01/runtime/invocation/next")),
    ] {
        let answer = Response::to(http().request(method.clone(), format!("{api}{path}")).body("{}")).await;
        answer.is_problem(404, "route_not_found");
    }
}

#[tokio::test]
async fn the_database_requires_its_access_key() {
    let answer = Response::to(list_tables(&access_key())).await;
    let tables = answer.body["TableNames"].as_array().expect("the tables' names");
    assert!(answer.status == 200 && tables.contains(&json!("UsersTable")), "{answer:?}");
    let keyless = list_tables("local");
    let other = http().post(stack().database()).header("authorization", format!("Bearer {}", access_key())).body("{}");
    for rejected in [list_tables(""), keyless, list_tables(&access_key()[1..]), other, http().get(stack().database())] {
        let answer = Response::to(rejected).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.body["__type"], "com.amazon.coral.service#UnrecognizedClientException");
        assert!(!answer.body.to_string().contains(&access_key()), "{answer:?}");
    }
    let operate = stack().command(&program("operate")).args(["erase", "--dry-run"]).env_remove("STACK").output();
    let output = operate.expect("operate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let preflight = http().request(Method::OPTIONS, stack().database()).header("origin", APP);
    let answer = Response::to(preflight.header("access-control-request-method", "POST")).await;
    assert_eq!((answer.status, cors(&answer.headers)), (403, vec![]), "{answer:?}");
}

#[tokio::test]
async fn the_front_end_gets_the_headers_that_api_gateway_adds() {
    let (ada, sample) = (User::sign_up("Ada"), Sample::first());
    let answer = Response::to(ada.request(Method::GET, &sample.path).header("origin", APP)).await;
    let exposed = ("access-control-expose-headers", "apigw-requestid,etag,location,retry-after,www-authenticate");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(cors(&answer.headers), [("access-control-allow-origin", APP), exposed]);
    assert_eq!(answer.header("vary"), "origin");

    for path in [&sample.path, &sample.missing_item(), "/profile", "/unknown"] {
        let answer = Response::to(preflight(path, "PATCH", "authorization,content-type,if-match")).await;
        let expected = [
            ("access-control-allow-headers", "authorization,content-type,if-match"),
            ("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE"),
            ("access-control-allow-origin", APP),
            ("access-control-max-age", "3600"),
        ];
        assert_eq!((answer.status, cors(&answer.headers)), (204, expected.to_vec()), "{path}: {answer:?}");
    }
    let url = http().post(stack().webhook()).header("origin", APP);
    assert!(cors(&Response::to(url).await.headers).is_empty(), "a function URL without CORS has no such headers");
}

#[test]
fn only_the_owner_reads_the_stacks_data() {
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let data = stack().data();
    assert_eq!(mode(data), 0o700);
    let names = ["aws-credentials", "clerk-secrets.json", "clerk-state.json"];
    User::sign_up("Ada");
    for name in names.into_iter().chain(["dynamodb.sqlite", "dynamodb.sqlite-shm", "dynamodb.sqlite-wal"]) {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}
