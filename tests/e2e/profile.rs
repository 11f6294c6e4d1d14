use serde_json::json;

use crate::{client::User, stack::stack};

#[tokio::test]
async fn webhooks_create_and_update_the_profile() {
    let ada = User::sign_up("Ada");
    let created = ada.get("/profile").await.body;
    assert_eq!((&created["id"], &created["email"]), (&json!(ada.id), &json!(ada.email)));
    assert_eq!((&created["firstName"], &created["lastName"]), (&json!("Ada"), &json!(null)));
    assert_eq!(created["isActive"], true);
    assert_eq!(created.as_object().expect("an object").len(), 8, "{created}");

    stack().local(&["user", "update", "--id", &ada.id, "--first-name", "Augusta", "--last-name", "Lovelace"]);
    let updated = ada.get("/profile").await.body;
    assert_eq!((&updated["firstName"], &updated["lastName"]), (&json!("Augusta"), &json!("Lovelace")));
    assert_eq!((&updated["email"], &updated["createdAt"]), (&json!(ada.email), &created["createdAt"]));
    assert!(updated["updatedAt"].as_u64() > created["updatedAt"].as_u64());
}

#[tokio::test]
async fn users_cannot_overwrite_clerks_values() {
    let ada = User::sign_up("Ada");
    let contradicting = ada.patch("/profile", &json!({ "firstName": "Eve" })).await;
    contradicting.is_problem(403, "claim_mismatch");
    assert!(contradicting.body["detail"].as_str().expect("a sentence").contains("firstName"));

    let updated = ada.patch("/profile", &json!({ "lastName": "Evil", "imageUrl": "https://img.example/eve" })).await;
    assert_eq!(updated.status, 200);
    assert_eq!(
        (&updated.body["firstName"], &updated.body["lastName"], &updated.body["imageUrl"]),
        (&json!("Ada"), &json!(null), &json!(null))
    );
    assert_eq!(ada.get("/profile").await.body, updated.body);
}

#[tokio::test]
async fn users_see_and_change_only_their_own_profile() {
    let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
    let before = ada.get("/profile").await.body;
    eve.patch("/profile", &json!({ "id": ada.id, "lastName": "Evil" })).await.is_problem(422, "invalid_body");
    eve.patch("/profile", &json!({ "userId": ada.id, "lastName": "Evil" })).await.is_problem(422, "invalid_body");
    for path in ["/profile".to_owned(), format!("/profile?id={0}&userId={0}&sub={0}", ada.id)] {
        assert_eq!(eve.get(&path).await.body["id"], json!(eve.id));
        assert_eq!(eve.patch(&path, &json!({ "lastName": null })).await.body["id"], json!(eve.id));
    }
    assert_eq!(ada.get("/profile").await.body, before);
}
