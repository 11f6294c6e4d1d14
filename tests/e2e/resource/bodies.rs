use api::Operation::{Create, List, Update};
use reqwest::Method;
use serde_json::{Value, json};

use super::document::required_members;
use crate::{
    client::{Response, User},
    sample::{Sample, items, with},
};

/// The operations that take a body, with one.
fn writes<'a>(sample: &'a Sample, item: &'a str) -> Vec<(Method, &'a str, &'a Value)> {
    let create = (Method::POST, &*sample.path, &sample.create);
    let update = sample.has(Update).then_some((Method::PATCH, item, &sample.update));
    [create].into_iter().chain(update).collect()
}

async fn send(user: &User, method: &Method, path: &str, content_type: &str, body: String) -> Response {
    Response::to(user.request(method.clone(), path).header("content-type", content_type).body(body)).await
}

/// Checks that a body is rejected, with a sentence about this member.
#[track_caller]
fn rejects(response: &Response, member: &str) {
    response.is_problem(422, "invalid_body");
    let detail = response.body["detail"].as_str().expect("a sentence");
    assert!(detail.contains(member) && detail.ends_with('.') && !detail.ends_with(".."), "{member}: {detail:?}");
}

/// JSON values of other types than that of `value`. The type of a member that is null is unknown.
fn other_types(value: &Value) -> Vec<Value> {
    if value.is_null() {
        return Vec::new();
    }
    let all = [json!(true), json!(7), json!("text"), json!([[]]), json!({ "unexpected": {} })];
    let is_other = |other: &Value| std::mem::discriminant(other) != std::mem::discriminant(value);
    all.into_iter().filter(is_other).collect()
}

#[tokio::test]
async fn bodies_of_more_than_16_kib_are_413() {
    const MAX: usize = 16 * 1024;
    for sample in Sample::with(&[Create]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            let padded = |length: usize| format!("{body:<length$}", body = body.to_string());
            send(&ada, &method, path, "application/json", padded(MAX + 1)).await.is_problem(413, "body_too_large");
            let largest = send(&ada, &method, path, "application/json", padded(MAX)).await;
            assert!(matches!(largest.status, 200 | 201), "{largest:?}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_not_declared_as_json_are_415() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
                let response = send(&ada, &method, path, other, body.to_string()).await;
                response.is_problem(415, "unsupported_media_type");
            }
        }
        assert_eq!(
            items(&ada.get(&sample.path).await.body),
            std::slice::from_ref(&created.body),
            "nothing was written"
        );
        for (method, path, body) in writes(&sample, created.header("location")) {
            for json in ["application/json; charset=utf-8", "Application/JSON"] {
                let response = send(&ada, &method, path, json, body.to_string()).await;
                assert!(matches!(response.status, 200 | 201), "{response:?}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_are_400() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            for invalid in ["", " ", "{", "{]", "nonsense", &format!("{body} more")] {
                let response = send(&ada, &method, path, "application/json", invalid.to_owned()).await;
                response.is_problem(400, "invalid_json");
            }
        }
        let half_a_character = "{\"id\":\"\\ud800\"}".to_owned();
        let response = send(&ada, &Method::POST, &sample.path, "application/json", half_a_character).await;
        response.is_problem(400, "invalid_json");
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body], "nothing was written");
    }
}

#[tokio::test]
async fn bodies_that_are_not_objects_are_422() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            let values: Vec<_> = body.as_object().expect("a body is an object").values().cloned().collect();
            for other in [json!(null), json!(true), json!(7), json!("text"), json!([]), json!(values), json!([body])] {
                let response = send(&ada, &method, path, "application/json", other.to_string()).await;
                rejects(&response, "object");
            }
        }
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body], "nothing was written");
    }
}

#[tokio::test]
async fn unknown_members_are_422() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            for member in ["unexpected", "version", "createdAt", "updatedAt", "userId", "listPosition"] {
                rejects(&ada.send(method.clone(), path, &with(body, member, json!(1))).await, member);
            }
        }
        if sample.has(Update) {
            let with_id = with(&sample.update, "id", created.body["id"].clone());
            rejects(&ada.patch(created.header("location"), &with_id).await, "id");
        }
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body], "nothing was written");
    }
}

#[tokio::test]
async fn required_members_that_are_missing_or_null_are_422() {
    for sample in Sample::with(&[Create]) {
        let ada = User::sign_up("Ada");
        let required = required_members(&sample);
        for member in sample.create.as_object().expect("a body is an object").keys() {
            let mut body = sample.create.clone();
            body.as_object_mut().expect("a body is an object").remove(member);
            let response = ada.post(&sample.path, &body).await;
            if required.contains(member) {
                rejects(&response, member);
                rejects(&ada.post(&sample.path, &with(&sample.create, member, Value::Null)).await, member);
            } else {
                assert_eq!(response.status, 201, "{member} is optional: {response:?}");
            }
        }
    }
}

#[tokio::test]
async fn members_of_another_type_are_422() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            for (member, value) in body.as_object().expect("a body is an object") {
                for other in other_types(value) {
                    rejects(&ada.send(method.clone(), path, &with(body, member, other)).await, member);
                }
            }
        }
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body], "nothing was written");
    }
}

#[tokio::test]
async fn duplicate_members_are_422() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        for (method, path, body) in writes(&sample, created.header("location")) {
            for (member, value) in body.as_object().expect("a body is an object") {
                let twice = body.to_string().replacen('{', &format!("{{{}:{value},", json!(member)), 1);
                let response = send(&ada, &method, path, "application/json", twice).await;
                rejects(&response, member);
            }
        }
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body], "nothing was written");
    }
}

#[tokio::test]
async fn ids_in_bodies_that_are_not_uuidv7_are_422() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        for id in ["", "nonsense", "67e55044-10b1-426f-9247-bb680e5fe0c8", "01890a5dac96774bbcceb302099a8057"] {
            rejects(&ada.post(&sample.path, &with(&sample.create, "id", json!(id))).await, "UUIDv7");
        }
        assert_eq!(items(&ada.get(&sample.path).await.body).len(), 0);
    }
}
