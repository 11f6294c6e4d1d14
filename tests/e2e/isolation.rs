use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Person};

#[tokio::test]
async fn another_persons_data_is_invisible_and_cannot_be_changed() {
    let (ada, eve) = (Person::sign_up("Ada"), Person::sign_up("Eve"));
    let id = ada.create_chat("Ada's plans").await;
    ada.create_chat("more of Ada's").await;
    let path = format!("/chats/{id}");
    let before = ada.get("/chats").await.body;
    let profile_before = ada.get("/profile").await.body;

    // What does not exist, and what is Ada's, get the same answer to the letter.
    let nowhere = "/chats/01890a5d-ac96-774b-bcce-b302099a8057";
    let attempts = async |path: &str| {
        let rename = json!({ "title": "mine" });
        let conditional = eve.request(Method::PATCH, path).header("if-match", "\"1\"").json(&rename);
        [eve.get(path).await, eve.patch(path, &rename).await, Answer::to(conditional).await, eve.delete(path).await]
    };
    for (hers, nobodys) in attempts(&path).await.iter().zip(attempts(nowhere).await) {
        hers.is_problem(404, "not_found");
        assert_eq!(hers.body, nobodys.body);
    }

    assert_eq!(eve.get("/chats").await.body["chats"], json!([]));
    let cursor = ada.get("/chats?limit=1").await.body["cursor"].as_str().expect("there is more").to_owned();
    assert_eq!(eve.get(&format!("/chats?cursor={cursor}")).await.body["chats"], json!([]), "a cursor opens nothing");
    for query in ["userId", "user", "sub"] {
        assert_eq!(eve.get(&format!("/chats?{query}={}", ada.id)).await.body["chats"], json!([]));
    }
    eve.post("/chats", &json!({ "title": "x", "userId": ada.id })).await.is_problem(422, "invalid_body");
    eve.put("/profile", &json!({ "id": ada.id, "firstName": "Eve" })).await.is_problem(422, "invalid_body");

    // The same id in Eve's own partition is another chat.
    assert_eq!(eve.post("/chats", &json!({ "id": id, "title": "Eve's" })).await.status, 201);
    assert_eq!(eve.delete(&path).await.status, 204);

    assert_eq!(eve.get("/profile").await.body["id"], json!(eve.id));
    assert_eq!(ada.get("/chats").await.body, before);
    assert_eq!(ada.get("/profile").await.body, profile_before);
}
