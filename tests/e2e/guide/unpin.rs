//! The guide's handler that requires a permission. `guide.rs` adds this file to its copy of the workspace.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Response, User, request},
    stack::stack,
};

#[tokio::test]
async fn only_users_with_the_permission_unpin_notes() {
    let ada = User::sign_up("Ada");
    let organization = stack().local(&["organization", "create", "--name", "Acme", "--user", &ada.id]);
    stack().local(&["role", "--key", "org:admin", "--permissions", "org:notes:unpin"]);
    let note = ada.post("/notes", &json!({ "text": "Buy milk", "pinned": true })).await.body;
    let path = format!("/notes/{}/unpin", note["id"].as_str().expect("an id"));
    let problem = ada.post(&path, &Value::Null).await;
    problem.is_problem(403, "permission_missing");
    assert_eq!(problem.body["permission"], "org:notes:unpin");

    let token = stack().local(&["token", "--user", &ada.id, "--organization", &organization]);
    let unpinned = Response::to(request(Method::POST, &path).bearer_auth(token)).await;
    assert_eq!((unpinned.status, &unpinned.body["pinned"]), (200, &json!(false)), "{unpinned:?}");
}
