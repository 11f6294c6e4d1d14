use api::Operation::{Create, Get, List};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::{
    client::{Response, User, request, send},
    sample::{Sample, items},
    stack::stack,
};

/// Checks that every operation is 401 with this code, and neither returns nor changes the item.
async fn rejects(sample: &Sample, item: &Response, code: &str, signed: impl Fn(RequestBuilder) -> RequestBuilder) {
    let path = item.header("location");
    let id = item.body["id"].as_str().expect("an id");
    let malformed = [
        (List, format!("{}?limit=0", sample.path)),
        (List, format!("{}?cursor=nonsense", sample.path)),
        (Get, sample.item("nonsense")),
    ];
    let malformed = malformed.into_iter().filter(|(operation, _)| sample.has(*operation));
    let malformed = malformed.map(|(_, path)| (reqwest::Method::GET, path, Value::Null));
    for (method, path, body) in sample.requests(path).into_iter().chain(malformed) {
        let response = send(signed(request(method, &path)), &body).await;
        response.is_problem(401, code);
        assert!(!response.body.to_string().contains(id), "{response:?}");
    }
}

/// Checks that a user still has exactly this item.
async fn is_unchanged(sample: &Sample, item: &Response, user: &User) {
    let token = stack().local(&["token", "--user", &user.id]);
    let list = Response::to(request(reqwest::Method::GET, &sample.path).bearer_auth(token)).await;
    assert_eq!((list.status, items(&list.body)), (200, &vec![item.body.clone()]), "{list:?}");
}

#[tokio::test]
async fn requests_without_a_token_are_401() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let item = ada.create(&sample).await;
        rejects(&sample, &item, "token_missing", |request| request).await;
        is_unchanged(&sample, &item, &ada).await;
    }
}

#[tokio::test]
async fn requests_of_an_ended_session_are_401() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let session = stack().local(&["sign-in", "--user", &ada.id]);
        let (item, token) = (ada.create(&sample).await, ada.token());
        stack().local(&["sign-out", "--session", &session]);
        rejects(&sample, &item, "session_ended", |request| request.bearer_auth(&token)).await;
        is_unchanged(&sample, &item, &ada).await;
    }
}

#[tokio::test]
async fn requests_of_a_banned_user_are_401_until_the_ban_is_lifted() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let (item, token) = (ada.create(&sample).await, ada.token());
        stack().local(&["user", "ban", "--id", &ada.id]);
        rejects(&sample, &item, "account_inactive", |request| request.bearer_auth(&token)).await;
        stack().local(&["user", "unban", "--id", &ada.id]);
        is_unchanged(&sample, &item, &ada).await;
    }
}

#[tokio::test]
async fn requests_of_a_deleted_user_are_401() {
    for sample in Sample::with(&[Create]) {
        let ada = User::sign_up("Ada");
        let (item, token) = (ada.create(&sample).await, ada.token());
        stack().local(&["user", "delete", "--id", &ada.id]);
        rejects(&sample, &item, "account_inactive", |request| request.bearer_auth(&token)).await;
    }
}
