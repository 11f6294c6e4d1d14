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
}

#[tokio::test]
async fn what_clerk_said_is_not_replaced_by_the_caller() {
    let ada = Person::sign_up("Ada");
    let contradicting = ada.put("/profile", &json!({ "firstName": "Eve" })).await;
    contradicting.is_problem(403, "claim_mismatch");
    assert!(contradicting.body["detail"].as_str().expect("a sentence").contains("firstName"));

    let put = ada.put("/profile", &json!({ "lastName": "Evil", "imageUrl": "https://img.example/eve" })).await;
    assert_eq!(put.status, 200);
    assert_eq!(
        (&put.body["firstName"], &put.body["lastName"], &put.body["imageUrl"]),
        (&json!("Ada"), &json!(null), &json!(null))
    );
    assert_eq!(ada.get("/profile").await.body, put.body);
}
