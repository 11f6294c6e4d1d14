//! Tokens that are rejected, on every route of the OpenAPI document.

use base64::Engine;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    client::{Response, User, request},
    sample::{Sample, with_ids},
    stack::{file, stack},
};

/// The API's routes, with an id for each path parameter.
fn routes() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&file("docs/openapi.json")).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths");
    let routes = paths.iter().flat_map(|(route, operations)| {
        let methods = operations.as_object().expect("operations").keys();
        methods.map(|method| (method.to_uppercase().parse().expect("a method"), with_ids(route)))
    });
    let routes: Vec<_> = routes.collect();
    assert!(routes.contains(&(Method::GET, "/profile".to_owned())), "{routes:?}");
    routes
}

async fn every_route(code: &str, challenge: &str, signed: impl Fn(RequestBuilder) -> RequestBuilder) {
    for (method, path) in routes() {
        let response = Response::to(signed(request(method.clone(), &path)).json(&json!({}))).await;
        response.is_problem(401, code);
        assert!(response.header("www-authenticate").starts_with(challenge), "{method} {path}: {response:?}");
    }
}

#[tokio::test]
async fn requests_without_a_token_are_rejected() {
    every_route("token_missing", "Bearer", |request| request).await;
    every_route("token_missing", "Bearer", |request| request.header("authorization", "Basic YTpi")).await;
    every_route("token_missing", "Bearer", |request| request.header("authorization", "Bearer ")).await;
}

#[tokio::test]
async fn only_the_authorization_header_carries_a_token() {
    let token = User::sign_up("Ada").token();
    let list = Sample::first().path;
    for query in ["token", "access_token", "__session"] {
        let response = Response::to(request(Method::GET, &format!("{list}?{query}={token}"))).await;
        response.is_problem(401, "token_missing");
    }
    let cookie = request(Method::GET, &list).header("cookie", format!("__session={token}"));
    Response::to(cookie).await.is_problem(401, "token_missing");
    let lower_case = request(Method::GET, &list).header("authorization", format!("bearer {token}"));
    assert_eq!(Response::to(lower_case).await.status, 200);
}

#[tokio::test]
async fn forged_tokens_are_rejected() {
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("token_malformed", challenge, |request| request.bearer_auth("nonsense")).await;

    let token = User::sign_up("Ada").token();
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut letters: Vec<char> = signature.chars().collect();
    letters[0] = if letters[0] == 'A' { 'B' } else { 'A' };
    let forged = format!("{message}.{}", letters.into_iter().collect::<String>());
    every_route("token_bad_signature", challenge, |request| request.bearer_auth(&forged)).await;
}

/// A token is valid for a minute, but the session check rejects it once Clerk's webhook has arrived.
#[tokio::test]
async fn tokens_are_rejected_from_the_first_request_after_sign_out() {
    let ada = User::sign_up("Ada");
    let session = stack().local(&["sign-in", "--user", &ada.id]);
    let token = ada.token();
    assert!(token_session(&token).contains(&session), "the token is of the session");
    assert_eq!(ada.get("/profile").await.status, 200);
    stack().local(&["sign-out", "--session", &session]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("session_ended", challenge, |request| request.bearer_auth(&token)).await;
    let fresh = stack().local(&["token", "--user", &ada.id]);
    assert_eq!(Response::to(request(Method::GET, "/profile").bearer_auth(fresh)).await.status, 200);
}

fn token_session(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("three parts");
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    String::from_utf8(claims).expect("UTF-8")
}

#[tokio::test]
async fn banned_users_are_rejected_until_unbanned() {
    let ada = User::sign_up("Ada");
    let token = ada.token();
    stack().local(&["user", "ban", "--id", &ada.id]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("account_inactive", challenge, |request| request.bearer_auth(&token)).await;
    assert!(!stack().run(&["token", "--user", &ada.id]).status.success());
    stack().local(&["user", "unban", "--id", &ada.id]);
    let fresh = stack().local(&["token", "--user", &ada.id]);
    assert_eq!(Response::to(request(Method::GET, "/profile").bearer_auth(fresh)).await.body["isActive"], true);
}

#[tokio::test]
async fn deleted_users_are_rejected_and_get_no_more_tokens() {
    let ada = User::sign_up("Ada");
    let token = ada.token();
    stack().local(&["user", "delete", "--id", &ada.id]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("account_inactive", challenge, |request| request.bearer_auth(&token)).await;
    let output = stack().run(&["token", "--user", &ada.id]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "only a token goes to standard output");
}
