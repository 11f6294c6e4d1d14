use api::Operation::{Create, Delete, Get, List, Update};
use reqwest::Method;
use serde_json::json;

use crate::{
    client::User,
    sample::{Sample, items, new_id, with},
};

#[tokio::test]
async fn another_users_item_is_like_one_that_does_not_exist() {
    for sample in Sample::with(&[Create, Get]) {
        let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
        let created = ada.create(&sample).await;
        let attempts = async |path: &str| {
            let mut responses = vec![eve.get(path).await];
            if sample.has(Update) {
                responses.push(eve.patch(path, &sample.update).await);
                responses.push(eve.send_if_match(Method::PATCH, path, "\"1\"", &sample.update).await);
            }
            if sample.has(Delete) {
                responses.push(eve.delete(path).await);
                responses.push(eve.send_if_match(Method::DELETE, path, "*", &json!(null)).await);
            }
            responses
        };
        let missing = attempts(&sample.missing_item()).await;
        for (others, missing) in attempts(created.header("location")).await.iter().zip(missing) {
            others.is_problem(404, "not_found");
            assert_eq!(others.body, missing.body);
        }
        assert_eq!(ada.get(created.header("location")).await.body, created.body, "nothing was written");
    }
}

#[tokio::test]
async fn another_users_items_are_in_no_list() {
    for sample in Sample::with(&[Create, List]) {
        let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
        for _ in 0..2 {
            ada.create(&sample).await;
        }
        let first = ada.get(&format!("{}?limit=1", sample.path)).await;
        let cursor = format!("cursor={}", first.body["cursor"].as_str().expect("another page follows"));
        let queries = ["userId", "user", "sub"].map(|parameter| format!("{parameter}={}", ada.id));
        let own = eve.get(&sample.path).await;
        assert_eq!((own.status, items(&own.body).len()), (200, 0), "{own:?}");
        for query in queries.iter().chain([&cursor]) {
            assert_eq!(eve.get(&format!("{}?{query}", sample.path)).await.body, own.body, "{query}");
        }
    }
}

#[tokio::test]
async fn an_id_names_a_different_item_for_each_user() {
    for sample in Sample::with(&[Create, Get, List]) {
        let (ada, eve, id) = (User::sign_up("Ada"), User::sign_up("Eve"), new_id());
        let adas = ada.post(&sample.path, &sample.create_with_id(&id)).await;
        let eves = eve.post(&sample.path, &with(&sample.other, "id", json!(id))).await;
        assert_eq!((adas.status, eves.status), (201, 201), "{eves:?}");
        assert_eq!(eve.get(&sample.item(&id)).await.body, eves.body);
        if sample.has(Delete) {
            assert_eq!(eve.delete(&sample.item(&id)).await.status, 204);
        }
        assert_eq!(items(&ada.get(&sample.path).await.body), &[adas.body]);
    }
}

#[tokio::test]
async fn bodies_cannot_name_another_user() {
    for sample in Sample::with(&[Create, List]) {
        let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
        let body = with(&sample.create, "userId", json!(ada.id));
        eve.post(&sample.path, &body).await.is_problem(422, "invalid_body");
        assert_eq!(items(&ada.get(&sample.path).await.body).len(), 0);
    }
}
