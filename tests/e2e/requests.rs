//! Requests that the API rejects whatever the resources are; `resource` has those of each resource.

use futures_util::future::join_all;
use reqwest::Method;

use crate::{
    client::{Response, User, request},
    stack::stack,
};

#[tokio::test]
async fn invalid_requests_are_rejected_with_the_reason() {
    let ada = User::sign_up("Ada");
    let before = ada.get("/profile").await.body;
    let cases = [
        (Method::PATCH, "/profile", "", 400, "invalid_json", "JSON"),
        (Method::PATCH, "/profile", "{\"email\":\"nonsense\"}", 422, "invalid_body", "ada@example.com"),
        (Method::PATCH, "/profile", "{\"imageUrl\":\"javascript:alert(1)\"}", 422, "invalid_body", "https://"),
        (Method::PATCH, "/profile", "{\"nickname\":\"A\"}", 422, "invalid_body", "nickname"),
        (Method::POST, "/profile", "{}", 405, "method_not_allowed", "Allow"),
        (Method::GET, "/", "", 404, "route_not_found", "path"),
        (Method::GET, "/unknown", "", 404, "route_not_found", "path"),
    ];
    for (method, path, body, status, code, reason) in cases {
        let request = ada.request(method.clone(), path).header("content-type", "application/json").body(body);
        let response = Response::to(request).await;
        response.is_problem(status, code);
        let detail = response.body["detail"].as_str().expect("a sentence");
        assert!(detail.contains(reason), "{method} {path} {body}: {detail:?} does not contain {reason:?}");
        assert!(detail.ends_with('.') && !detail.ends_with(".."), "{detail:?}");
    }
    assert_eq!(ada.get("/profile").await.body, before, "nothing was written");
}

#[tokio::test]
async fn the_profile_lists_its_methods() {
    let response = Response::to(request(Method::DELETE, "/profile")).await;
    response.is_problem(405, "method_not_allowed");
    let mut allow: Vec<&str> = response.header("allow").split(',').map(str::trim).collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "PATCH"]);
}

/// cargo-lambda stops for good when more than 100 requests of a function wait.
#[tokio::test]
async fn many_concurrent_requests_are_served() {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let requests = (0..400).map(|_| http.get(format!("{}/profile", stack().api())).send());
    for response in join_all(requests).await {
        assert_eq!(response.expect("a response").status(), 401);
    }
}
