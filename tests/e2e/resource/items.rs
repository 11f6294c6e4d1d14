use api::Operation::{Create, Delete, Get, List, Update};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::User,
    sample::{Sample, contains, items, new_id},
};

/// Checks that every operation on the item is 404.
async fn is_missing(user: &User, sample: &Sample, item: &str) {
    for (method, path, body) in sample.requests(item).into_iter().filter(|(_, path, _)| path == item) {
        user.send(method, &path, &body).await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn created_items_have_an_id_two_times_and_version_1() {
    for sample in Sample::with(&[Create]) {
        let created = User::sign_up("Ada").create(&sample).await;
        let item = &created.body;
        assert!(contains(item, &sample.create), "{item}");
        let id = Uuid::parse_str(item["id"].as_str().expect("an id")).expect("a UUID");
        assert_eq!((id.get_version_num(), &item["version"]), (7, &json!(1)), "{item}");
        assert_eq!(item["createdAt"], item["updatedAt"], "{item}");
        assert!(item["createdAt"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "milliseconds: {item}");
    }
}

#[tokio::test]
async fn created_items_are_returned_with_their_location_and_etag() {
    for sample in Sample::with(&[Create, Get]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        assert_eq!(created.header("location"), sample.item(created.body["id"].as_str().expect("an id")));
        assert_eq!(created.header("etag"), "\"1\"");
        assert_eq!(created.header("content-type"), "application/json");
        assert_eq!(created.header("cache-control"), "no-store");

        let read = ada.get(created.header("location")).await;
        assert_eq!((read.status, &read.body, read.header("etag")), (200, &created.body, "\"1\""));
        assert_eq!(read.header("content-type"), "application/json");
        assert_eq!(read.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn items_are_created_under_the_clients_id() {
    for sample in Sample::with(&[Create, Get]) {
        let (ada, id) = (User::sign_up("Ada"), new_id());
        let created = ada.post(&sample.path, &sample.create_with_id(&id)).await;
        assert_eq!((created.status, &created.body["id"]), (201, &json!(id)), "{created:?}");
        assert_eq!(ada.get(&sample.item(&id)).await.body, created.body);
    }
}

#[tokio::test]
async fn repeated_creations_with_an_id_return_the_item_as_it_is() {
    for sample in Sample::with(&[Create, List, Update]) {
        let (ada, id) = (User::sign_up("Ada"), new_id());
        let body = sample.create_with_id(&id);
        let created = ada.post(&sample.path, &body).await;
        let repeated = ada.post(&sample.path, &body).await;
        assert_eq!((repeated.status, &repeated.body, repeated.header("etag")), (200, &created.body, "\"1\""));

        let updated = ada.patch(&sample.item(&id), &sample.update).await;
        let repeated = ada.post(&sample.path, &body).await;
        assert_eq!((repeated.status, &repeated.body, repeated.header("etag")), (200, &updated.body, "\"2\""));
        assert_eq!(items(&ada.get(&sample.path).await.body), &[updated.body]);
    }
}

#[tokio::test]
async fn repeated_creations_without_an_id_create_another_item() {
    for sample in Sample::with(&[Create, List]) {
        let ada = User::sign_up("Ada");
        let (one, other) = (ada.create(&sample).await.body, ada.create(&sample).await.body);
        assert_ne!(one["id"], other["id"]);
        assert_eq!(items(&ada.get(&sample.path).await.body), &[other, one]);
    }
}

#[tokio::test]
async fn creating_something_else_under_an_id_in_use_is_409() {
    for sample in Sample::with(&[Create, List]) {
        let (ada, id) = (User::sign_up("Ada"), new_id());
        let created = ada.post(&sample.path, &sample.create_with_id(&id)).await;
        let mut other = sample.other.clone();
        other["id"] = json!(id);
        ada.post(&sample.path, &other).await.is_problem(409, "id_conflict");
        assert_eq!(items(&ada.get(&sample.path).await.body), &[created.body]);
    }
}

#[tokio::test]
async fn updates_are_visible_in_the_response_the_item_and_the_list() {
    for sample in Sample::with(&[Create, Get, List, Update]) {
        let ada = User::sign_up("Ada");
        let created = ada.create(&sample).await;
        assert!(!contains(&created.body, &sample.update), "the sample's update changes nothing");
        let path = created.header("location");
        let updated = ada.patch(path, &sample.update).await;
        assert_eq!((updated.status, updated.header("etag")), (200, "\"2\""), "{updated:?}");
        assert_eq!(updated.header("content-type"), "application/json");

        let mut expected = created.body.clone();
        let changes = sample.update.as_object().expect("a body is an object").clone();
        expected.as_object_mut().expect("an item is an object").extend(changes);
        expected["version"] = json!(2);
        expected["updatedAt"] = updated.body["updatedAt"].clone();
        assert_eq!(updated.body, expected, "only the update's members change");
        assert!(updated.body["updatedAt"].as_u64() >= created.body["updatedAt"].as_u64(), "{updated:?}");

        let read = ada.get(path).await;
        assert_eq!((&read.body, read.header("etag")), (&updated.body, "\"2\""));
        assert_eq!(items(&ada.get(&sample.path).await.body), &[updated.body]);
    }
}

#[tokio::test]
async fn deleted_items_are_gone() {
    for sample in Sample::with(&[Create, Delete, List]) {
        let ada = User::sign_up("Ada");
        let (kept, deleted) = (ada.create(&sample).await, ada.create(&sample).await);
        let path = deleted.header("location");
        let response = ada.delete(path).await;
        assert_eq!((response.status, &response.body), (204, &Value::Null));
        assert_eq!(items(&ada.get(&sample.path).await.body), &[kept.body]);
        is_missing(&ada, &sample, path).await;
    }
}

#[tokio::test]
async fn items_that_never_existed_are_404() {
    for sample in Sample::all() {
        let (ada, path) = (User::sign_up("Ada"), sample.missing_item());
        is_missing(&ada, &sample, &path).await;
    }
}

#[tokio::test]
async fn an_item_created_again_under_a_deleted_id_has_another_etag() {
    for sample in Sample::with(&[Create, Delete, Get]) {
        let (ada, id) = (User::sign_up("Ada"), new_id());
        let first = ada.post(&sample.path, &sample.create_with_id(&id)).await;
        assert_eq!(ada.delete(&sample.item(&id)).await.status, 204);
        let second = ada.post(&sample.path, &sample.create_with_id(&id)).await;
        assert_eq!(second.status, 201, "{second:?}");
        assert!(second.body["version"].as_u64() > first.body["version"].as_u64(), "{second:?}");
        assert_eq!(ada.get(&sample.item(&id)).await.header("etag"), second.header("etag"));
    }
}
