//! If-Match (RFC 9110, section 13.1.1).

use api::Operation::{Create, Delete, Get, Update};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{client::User, sample::Sample};

/// The operations that take If-Match, with their bodies.
fn writes(sample: &Sample) -> impl Iterator<Item = (Method, &Value)> {
    let writes = [(Update, Method::PATCH, &sample.update), (Delete, Method::DELETE, &Value::Null)];
    writes.into_iter().filter(|(operation, ..)| sample.has(*operation)).map(|(_, method, body)| (method, body))
}

#[tokio::test]
async fn the_current_etag_and_an_asterisk_match() {
    for sample in Sample::with(&[Create]) {
        for if_match in ["\"1\"", "*", "\"7\", \"1\"", "\"foreign\",\"1\""] {
            for (method, body) in writes(&sample) {
                let ada = User::sign_up("Ada");
                let path = ada.create(&sample).await.header("location").to_owned();
                let response = ada.send_if_match(method.clone(), &path, if_match, body).await;
                let expected = if method == Method::PATCH { (200, "\"2\"") } else { (204, "") };
                assert_eq!((response.status, response.header("etag")), expected, "{method} {if_match}: {response:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_old_etag_is_412_with_the_current_version() {
    for sample in Sample::with(&[Create, Get, Update]) {
        let ada = User::sign_up("Ada");
        let path = ada.create(&sample).await.header("location").to_owned();
        let updated = ada.patch(&path, &sample.update).await;
        for (method, body) in writes(&sample) {
            let stale = ada.send_if_match(method, &path, "\"1\"", body).await;
            stale.is_problem(412, "version_mismatch");
            assert_eq!((&stale.body["version"], stale.header("etag")), (&json!(2), "\"2\""), "{stale:?}");
        }
        assert_eq!(ada.get(&path).await.body, updated.body, "nothing was written");
    }
}

#[tokio::test]
async fn weak_and_foreign_etags_match_nothing() {
    for sample in Sample::with(&[Create, Get]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for if_match in ["W/\"1\"", "\"\"", "\"foreign\"", "\"01\"", "\"+1\"", "\"2\"", "W/\"1\", \"2\""] {
            for (method, body) in writes(&sample) {
                let response = ada.send_if_match(method, created.header("location"), if_match, body).await;
                response.is_problem(412, "version_mismatch");
            }
        }
        assert_eq!(ada.get(created.header("location")).await.body, created.body, "nothing was written");
    }
}

#[tokio::test]
async fn malformed_etags_are_400() {
    for sample in Sample::with(&[Create, Get]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        let too_many = vec!["\"1\""; 101].join(",");
        for if_match in ["", "1", "\"1", "1\"", "w/\"1\"", "\"1\",", "\"1\" \"2\"", "*, \"1\"", &too_many] {
            for (method, body) in writes(&sample) {
                let response = ada.send_if_match(method, created.header("location"), if_match, body).await;
                response.is_problem(400, "invalid_if_match");
            }
        }
        assert_eq!(ada.get(created.header("location")).await.body, created.body, "nothing was written");
    }
}

#[tokio::test]
async fn missing_items_are_404_whatever_if_match_says() {
    for sample in Sample::all() {
        let (ada, path) = (User::sign_up("Ada"), sample.missing_item());
        for if_match in ["*", "\"1\"", "W/\"1\""] {
            for (method, body) in writes(&sample) {
                ada.send_if_match(method, &path, if_match, body).await.is_problem(404, "not_found");
            }
        }
    }
}
