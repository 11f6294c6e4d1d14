//! The stack of `template.yaml`, deployed.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use test_support::{ORIGIN, SigningKey};

use crate::{
    aws::{Aws, workspace},
    seconds_now,
};

pub(crate) const NAME: &str = "deployed";
/// How long the stack may take to go.
const DELETE_TIMEOUT: Duration = Duration::from_mins(1);
const ISSUER: &str = "https://test.clerk.accounts.dev";
/// The instance that webhooks have to come from.
pub(crate) const INSTANCE: &str = "ins_test";

/// A deployed stack.
pub(crate) struct Stack<'a> {
    pub(crate) aws: &'a Aws,
    key: SigningKey,
    outputs: BTreeMap<String, String>,
    /// The names of the functions, by logical id.
    functions: BTreeMap<String, String>,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) body: Value,
}

impl<'a> Stack<'a> {
    /// Deploys as to production, with `more` parameters.
    pub(crate) fn deploy(aws: &'a Aws, template: &Path, more: &[&str]) -> Self {
        let key = SigningKey::generate().expect("a key");
        let (outputs, functions) = (BTreeMap::new(), BTreeMap::new());
        let mut stack = Self { aws, key, outputs, functions };
        stack.update(template, more);
        stack
    }

    /// Deploys over what is there.
    pub(crate) fn update(&mut self, template: &Path, more: &[&str]) {
        let pem = self.key.public_key_pem().expect("a key");
        let parameters = [
            "Stage=prod".to_owned(),
            format!("Architecture={}", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }),
            format!("ClerkIssuer={ISSUER}"),
            format!("ClerkJwtKey=\"{}\"", pem.trim().replace('\n', "\\n")),
            format!("ClerkAuthorizedParties={ORIGIN}"),
            format!("ClerkInstanceId={INSTANCE}"),
            format!("AllowedOrigins={ORIGIN},https://app.example.com"),
            "WebhookConcurrency=5".to_owned(),
            "AlarmEmail=alarms@example.com".to_owned(),
        ];
        let config = workspace().join("samconfig.toml");
        let [template, config] = [template, &config].map(|path| path.to_str().expect("a path in UTF-8"));
        let mut arguments = vec!["deploy", "--config-file", config, "--config-env", "prod"];
        arguments.extend(["--no-confirm-changeset", "--no-progressbar", "--stack-name", NAME]);
        arguments.extend(["--template-file", template, "--parameter-overrides"]);
        arguments.extend(parameters.iter().map(String::as_str).chain(more.iter().copied()));
        self.aws.sam_succeeds(&arguments);
        self.outputs = self.list("stack-outputs", ["OutputKey", "OutputValue"]);
        let resources = self.list("resources", ["LogicalResourceId", "PhysicalResourceId"]);
        self.functions = resources.into_iter().filter(|(logical, _)| logical.ends_with("Function")).collect();
    }

    /// Deletes the stack. (`sam delete` does not: it takes the address of a nested template in the emulator for none of S3.)
    pub(crate) async fn delete(&self) {
        self.aws.cloudformation("DeleteStack", NAME).await;
        // It is gone once it cannot be described any more.
        let list = || self.aws.sam(&["list", "stack-outputs", "--stack-name", NAME, "--output", "json"]);
        let deadline = Instant::now() + DELETE_TIMEOUT;
        while list().status.success() {
            assert!(Instant::now() < deadline, "the stack is still there");
        }
    }

    fn list(&self, what: &str, [key, value]: [&str; 2]) -> BTreeMap<String, String> {
        let listed = self.aws.sam_succeeds(&["list", what, "--stack-name", NAME, "--output", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let text = |item: &Value, member: &str| item[member].as_str().expect("a string").to_owned();
        listed.as_array().expect("a list").iter().map(|item| (text(item, key), text(item, value))).collect()
    }

    /// The name that a table was given.
    pub(crate) fn table(&self, logical_id: &str) -> &str {
        &self.outputs[&format!("{logical_id}Name")]
    }

    /// All that is in the tables.
    pub(crate) async fn items(&self) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let mut items = Vec::new();
        for table in ["ChatsTable", "UsersTable", "SessionsTable"] {
            let scan = self.aws.dynamodb().scan().table_name(self.table(table)).send().await;
            items.extend(scan.expect("the table is there").items.unwrap_or_default());
        }
        items
    }

    /// Puts Clerk's signing secret where the stack says; the one before it stays good.
    pub(crate) async fn put_secret(&self, secret: &str) {
        let secrets = self.aws.secrets_manager();
        let put = secrets.put_secret_value().secret_id(&self.outputs["WebhookSecretArn"]).secret_string(secret);
        put.send().await.expect("the secret is there");
    }

    /// Sends an event to the URL that the stack printed, signed as Clerk does, and gives the status of the answer.
    pub(crate) async fn deliver(&self, secret: &str, event: &Value) -> u16 {
        let body = event.to_string();
        let now = i64::try_from(seconds_now()).expect("soon");
        let signer = svix::webhooks::Webhook::new(secret).expect("a secret");
        let request = self
            .aws
            .post(&self.outputs["WebhookUrl"])
            .header("content-type", "application/json")
            .header("svix-id", "msg_1")
            .header("svix-timestamp", now)
            .header("svix-signature", signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8"));
        request.body(body).send().await.expect("the function answers").status().as_u16()
    }

    /// The same, until the function has read the secret, as Svix repeats it: a failure and a bad signature are remembered.
    pub(crate) async fn deliver_until_taken(&self, secret: &str, event: &Value) {
        let taken = async {
            while self.deliver(secret, event).await != 200 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), taken).await.expect("the function reads the secret again");
    }

    /// A session token of somebody.
    pub(crate) fn sign_in(&self, user_id: &str, session_id: &str) -> String {
        self.key.session_token(ISSUER, user_id, session_id, seconds_now(), &json!({})).expect("signed")
    }

    /// Calls the API: hands the function what API Gateway would.
    pub(crate) async fn call(&self, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Answer {
        let (answer, _) = self.aws.invoke(self.function_of(path), &event(token, method, path, body)).await;
        let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("no answer of HTTP: {answer}"));
        let body = answer["body"].as_str().unwrap_or_default();
        Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    fn function_of(&self, path: &str) -> &str {
        &self.functions[if path == "/profile" { "ProfileFunction" } else { "ChatsFunction" }]
    }

    /// The versions that are live, of chats, profile and clerk-webhook.
    pub(crate) async fn versions(&self) -> [String; 3] {
        let event = &event(None, "GET", "/", None);
        let version = async |logical: &str| self.aws.invoke(&self.functions[logical], event).await.1;
        [version("ChatsFunction").await, version("ProfileFunction").await, version("ClerkWebhookFunction").await]
    }
}

/// An event of API Gateway, in payload format 2.0: a sample with another request in it.
fn event(token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Value {
    let sample =
        std::fs::read_to_string(workspace().join("infra/events/get-profile.json")).expect("the sample is there");
    let mut event: Value = serde_json::from_str(&sample).expect("JSON");
    event["rawPath"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["requestContext"]["http"]["path"] = path.into();
    let headers = event["headers"].as_object_mut().expect("headers");
    headers.remove("authorization");
    if let Some(token) = token {
        headers.insert("authorization".to_owned(), format!("Bearer {token}").into());
    }
    if let Some(body) = body {
        headers.insert("content-type".to_owned(), "application/json".into());
        event["body"] = body.to_string().into();
    }
    event
}
