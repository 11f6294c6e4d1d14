use serde_json::json;

use crate::{client::Person, stack::stack};

#[tokio::test]
async fn the_profile_follows_clerk() {
    let ada = Person::sign_up("Ada");
    let created = ada.get("/profile").await.body;
    assert_eq!((&created["firstName"], &created["lastName"]), (&json!("Ada"), &json!(null)));
    assert_eq!(created["isActive"], true);
    assert_eq!(created.as_object().expect("an object").len(), 8, "{created}");

    stack().local(&["user", "update", "--id", &ada.id, "--first-name", "Augusta", "--last-name", "Lovelace"]);
    let updated = ada.get("/profile").await.body;
    assert_eq!((&updated["firstName"], &updated["lastName"]), (&json!("Augusta"), &json!("Lovelace")));
    assert_eq!((&updated["email"], &updated["createdAt"]), (&json!(ada.email), &created["createdAt"]));
    assert!(updated["updatedAt"].as_u64() > created["updatedAt"].as_u64());

    // A token from before the deletion still shows what became of the profile.
    let token = ada.token();
    stack().local(&["user", "delete", "--id", &ada.id]);
    let request = crate::client::request(reqwest::Method::GET, "/profile").bearer_auth(token);
    let deleted = crate::client::Answer::to(request).await.body;
    assert_eq!((&deleted["isActive"], &deleted["lastName"]), (&json!(false), &json!("Lovelace")));
}

#[tokio::test]
async fn what_clerk_said_is_not_replaced_by_the_caller() {
    let ada = Person::sign_up("Ada");
    let before = ada.get("/profile").await.body;
    let put = ada.put("/profile", &json!({ "firstName": "Eve", "imageUrl": "https://img.example/eve" })).await;
    assert_eq!((put.status, &put.body), (200, &before));
}
