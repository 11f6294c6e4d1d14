//! `local reconcile` against the real webhook function with `CLERK_INSTANCE_ID` set, on profiles that were damaged.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response},
};
use local::clerk::{Clerk, ORIGIN};
use serde_json::Value;
use test_support::{Runtime, in_memory};
use tokio::{net::TcpListener, process::Command, sync::OnceCell};

use crate::{
    events::event,
    faults,
    stack::program,
    standalone::{serve, start},
};

/// The function's URL: passes requests to the function as events.
async fn function_url(
    State(function): State<Arc<OnceCell<Runtime>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut request = event("POST", "/", "");
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").into()));
    request["headers"] = Value::Object(headers.collect());
    request["body"] = String::from_utf8(body.into()).expect("UTF-8").into();
    let function = function.get().expect("the function runs");
    let (status, headers, body) = function.invoke(request).await;
    let mut response = Response::builder().status(u16::try_from(status.as_u64().expect("a status")).expect("a status"));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.to_string().into()).expect("an answer")
}

struct Damaged {
    clerk: u16,
    folder: tempfile::TempDir,
    webhook: String,
    client: Client,
}

impl Damaged {
    async fn local(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(program("local"));
        command.args(arguments).env("CLERK_PORT", self.clerk.to_string()).env("LOCAL_DATA", self.folder.path());
        let output = command.output().await.expect("it runs");
        let printed = String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned();
        (output.status.success(), format!("{printed}{}", String::from_utf8_lossy(&output.stderr)))
    }

    async fn reconcile(&self) -> String {
        let (success, printed) = self.local(&["reconcile", "--webhook-url", &self.webhook]).await;
        assert!(success, "{printed}");
        printed
    }

    async fn item(&self, user: &str) -> Option<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S(user.to_owned());
        self.client.get_item().table_name("UsersTable").key("userId", key).send().await.expect("read").item
    }

    async fn first_name(&self, user: &str) -> Option<String> {
        self.item(user).await?.get("firstName")?.as_s().ok().cloned()
    }
}

#[tokio::test]
async fn reconciling_repairs_damaged_profiles_with_an_instance_id() {
    let engine = in_memory().await.expect("the engine starts");
    let function = Arc::new(OnceCell::new());
    let webhook = serve(Router::new().fallback(function_url).with_state(Arc::clone(&function))).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = format!("http://127.0.0.1:{port}");
    let clerk =
        Clerk::load(folder.path(), issuer.clone(), vec![ORIGIN.to_owned()], webhook.clone()).expect("it starts");
    clerk.serve(listener);
    let request = reqwest::Client::new().get(format!("{issuer}/v1/instance")).bearer_auth(&clerk.secrets().secret_key);
    let instance: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", engine.url()),
        ("CLERK_INSTANCE_ID", instance["id"].as_str().expect("an id")),
        ("CLERK_WEBHOOK_SIGNING_SECRET", &clerk.secrets().webhook_secret),
    ];
    assert!(function.set(start("clerk-webhook", &variables).await).is_ok());
    let damaged = Damaged { clerk: port, folder, webhook, client: faults::client(&engine) };

    for (user, name) in [("user_ada", "Ada"), ("user_bob", "Bob"), ("user_eve", "Eve")] {
        let email = format!("{user}@example.com");
        let (success, printed) =
            damaged.local(&["user", "create", "--id", user, "--email", &email, "--first-name", name]).await;
        assert!(success && printed.contains("user.created delivered"), "{printed}");
        assert_eq!(damaged.first_name(user).await.as_deref(), Some(name));
    }
    assert_eq!(damaged.reconcile().await, "users: 3, changed: 0, already current: 3, failed: 0");

    // One profile is lost, another one overwritten.
    let delete = damaged.client.delete_item().table_name("UsersTable");
    delete.key("userId", AttributeValue::S("user_ada".to_owned())).send().await.expect("deleted");
    let mut item = damaged.item("user_bob").await.expect("it is there");
    item.insert("firstName".to_owned(), AttributeValue::S("damaged".to_owned()));
    damaged.client.put_item().table_name("UsersTable").set_item(Some(item)).send().await.expect("written");
    assert_eq!(damaged.reconcile().await, "users: 3, changed: 2, already current: 1, failed: 0");
    assert_eq!(damaged.first_name("user_ada").await.as_deref(), Some("Ada"));
    assert_eq!(damaged.first_name("user_bob").await.as_deref(), Some("Bob"));
    assert_eq!(damaged.reconcile().await, "users: 3, changed: 0, already current: 3, failed: 0");
}
