//! The example of `docs/adding-a-resource.md`: it runs, and the document shows it as it is.

use local::{clerk::SigningKey, dynamodb::in_memory_with, template::Template};
use serde_json::{Value, json};

use crate::{
    by_hand::{ISSUER, Runtime},
    events::event,
    stack::file,
};

/// What the document shows, and where it belongs in a real resource.
const FILES: [(&str, &str); 4] = [
    ("tests/notes/template.yaml", "template.yaml"),
    ("tests/notes/notes.rs", "shared/store/src/notes.rs"),
    ("tests/notes/routes.rs", "functions/notes/src/routes.rs"),
    ("tests/notes/main.rs", "functions/notes/src/main.rs"),
];

#[test]
fn the_document_shows_the_very_code() {
    let document = file("docs/adding-a-resource.md");
    let mut sum = 0;
    for (example, place) in FILES {
        let code = file(example);
        let lines = code.lines().count();
        sum += lines;
        assert!(document.contains(&code), "{example} has changed: paste it into docs/adding-a-resource.md");
        assert!(document.contains(&format!("`{place}`, {lines} lines")), "{example} has {lines} lines now");
    }
    assert!(document.contains(&format!("{sum} lines in all")), "there are {sum} lines now");
}

#[tokio::test]
async fn the_example_serves_each_person_their_own_notes() {
    // The fragment where the document has it put.
    let whole = file("template.yaml").replacen("Resources:\n", &format!("Resources:\n{}\n", file(FILES[0].0)), 1);
    let template = Template::parse(&whole).expect("the fragment fits");
    let database = in_memory_with(&template).await.expect("the engine starts");
    let key = SigningKey::generate().expect("a key");
    let pem = key.public_key_pem().expect("it has a public half");
    let function = template.functions.iter().find(|function| function.binary == "notes").expect("it is declared");
    let mut variables: Vec<_> = function.tables.iter().map(|(name, table)| (name.as_str(), table.as_str())).collect();
    variables.extend([
        ("AWS_ENDPOINT_URL_DYNAMODB", database.url()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
    ]);
    let notes = Runtime::start("notes", &variables).await;
    let call = |user: &str, method: &str, path: &str, body: Value| {
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let token = key.session_token(ISSUER, user, "sess_1", now, &json!({})).expect("signed");
        let mut event = event(method, path, &token);
        event["body"] = json!(body.to_string());
        notes.invoke(event)
    };

    let (status, _, created) = call("user_ada", "POST", "/notes", json!({ "text": "Call Charles" })).await;
    assert_eq!((status, &created["text"]), (json!(201), &json!("Call Charles")));
    let (_, _, listed) = call("user_ada", "GET", "/notes", Value::Null).await;
    assert_eq!(listed, json!([created]));
    let (_, _, others) = call("user_eve", "GET", "/notes", Value::Null).await;
    assert_eq!(others, json!([]));

    let path = format!("/notes/{}", created["id"].as_str().expect("an id"));
    let (status, _, problem) = call("user_eve", "DELETE", &path, Value::Null).await;
    assert_eq!((status, &problem["code"]), (json!(404), &json!("not_found")));
    let (status, _, problem) = call("user_ada", "POST", "/notes", json!({ "text": "" })).await;
    assert_eq!((status, &problem["code"]), (json!(422), &json!("invalid_body")));
    assert_eq!(call("user_ada", "DELETE", &path, Value::Null).await.0, 204);

    let mut unsigned = event("GET", "/notes", "");
    unsigned["headers"] = json!({});
    let (status, _, problem) = notes.invoke(unsigned).await;
    assert_eq!((status, &problem["code"]), (json!(401), &json!("token_missing")));
}
