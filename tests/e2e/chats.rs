use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, Person};

fn titles(page: &Answer) -> Vec<&str> {
    let chats = page.body["chats"].as_array().expect("a page holds chats");
    chats.iter().map(|chat| chat["title"].as_str().expect("a chat has a title")).collect()
}

#[tokio::test]
async fn a_person_signs_up_creates_lists_pages_renames_and_deletes() {
    let ada = Person::sign_up("Ada");
    let profile = ada.get("/profile").await;
    assert_eq!(profile.status, 200, "the webhook has made the profile");
    assert_eq!((&profile.body["id"], &profile.body["email"]), (&json!(ada.id), &json!(ada.email)));

    let empty = ada.get("/chats").await;
    assert_eq!((empty.status, &empty.body), (200, &json!({ "chats": [], "cursor": null })));

    for title in ["one", "two", "three"] {
        ada.create_chat(title).await;
    }
    let all = ada.get("/chats").await;
    assert_eq!(titles(&all), ["three", "two", "one"], "newest first");
    assert_eq!(all.body["cursor"], Value::Null);

    let first = ada.get("/chats?limit=2").await;
    assert_eq!(titles(&first), ["three", "two"]);
    let cursor = first.body["cursor"].as_str().expect("there is more");
    let second = ada.get(&format!("/chats?limit=2&cursor={cursor}")).await;
    assert_eq!(titles(&second), ["one"]);
    assert_eq!(second.body["cursor"], Value::Null);

    let path = format!("/chats/{}", all.body["chats"][1]["id"].as_str().expect("an id"));
    let renamed = ada.patch(&path, &json!({ "title": "second" })).await;
    assert_eq!((renamed.status, &renamed.body["title"]), (200, &json!("second")));
    assert_eq!(titles(&ada.get("/chats").await), ["three", "second", "one"], "a renaming does not move it");

    let deleted = ada.delete(&path).await;
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
    assert_eq!(titles(&ada.get("/chats").await), ["three", "one"]);
    ada.get(&path).await.is_problem(404, "not_found");
    ada.delete(&path).await.is_problem(404, "not_found");
    ada.patch(&path, &json!({ "title": "gone" })).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_chat_is_answered_with_its_location_and_entity_tag() {
    let ada = Person::sign_up("Ada");
    let created = ada.post("/chats", &json!({ "title": "  plans " })).await;
    assert_eq!(created.status, 201);
    let chat = &created.body;
    assert_eq!((&chat["title"], &chat["version"]), (&json!("plans"), &json!(1)));
    assert_eq!(chat["createdAt"], chat["updatedAt"]);
    assert!(chat["createdAt"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "milliseconds: {chat}");
    assert_eq!(chat.as_object().expect("an object").len(), 5, "{chat}");
    let id = chat["id"].as_str().expect("an id");
    assert_eq!(Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
    assert_eq!(created.header("location"), format!("/chats/{id}"));
    assert_eq!(created.header("content-type"), "application/json");
    assert_eq!(created.header("cache-control"), "no-store");

    let read = ada.get(created.header("location")).await;
    assert_eq!((read.status, &read.body, read.header("etag")), (200, chat, "\"1\""));
}

#[tokio::test]
async fn a_chat_named_by_the_client_is_created_once() {
    let ada = Person::sign_up("Ada");
    let id = Uuid::now_v7().to_string();
    let body = json!({ "id": id, "title": "plans" });
    let first = ada.post("/chats", &body).await;
    assert_eq!((first.status, &first.body["id"]), (201, &json!(id)));
    let again = ada.post("/chats", &body).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    ada.post("/chats", &json!({ "id": id, "title": "other" })).await.is_problem(409, "id_conflict");
    assert_eq!(titles(&ada.get("/chats").await), ["plans"]);
}

#[tokio::test]
async fn a_renaming_can_demand_the_version_it_was_made_for() {
    let ada = Person::sign_up("Ada");
    let path = format!("/chats/{}", ada.create_chat("plans").await);
    let rename = async |title: &str, if_match: &str| {
        let body = json!({ "title": title });
        Answer::to(ada.request(Method::PATCH, &path).header("if-match", if_match).json(&body)).await
    };
    let renamed = rename("a", "\"1\"").await;
    assert_eq!((renamed.status, renamed.header("etag")), (200, "\"2\""));

    let stale = rename("b", "\"1\"").await;
    stale.is_problem(412, "version_mismatch");
    assert_eq!((&stale.body["version"], stale.header("etag")), (&json!(2), "\"2\""));
    rename("b", "W/\"2\"").await.is_problem(412, "version_mismatch");
    rename("b", "2").await.is_problem(400, "invalid_if_match");
    assert_eq!(rename("c", "*").await.status, 200);

    let stale = Answer::to(ada.request(Method::DELETE, &path).header("if-match", "\"2\"")).await;
    stale.is_problem(412, "version_mismatch");
    assert_eq!(ada.get(&path).await.body["title"], "c");
}
