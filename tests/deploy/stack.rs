//! The stack of `template.yaml`, deployed.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use test_support::{ORIGIN, SigningKey};

pub(crate) use crate::aws::workspace;
use crate::{aws::Aws, sample::Sample, seconds_now};

pub(crate) const NAME: &str = "deployed";
/// The timeout for the stack's deletion.
const DELETE_TIMEOUT: Duration = Duration::from_mins(1);
const ISSUER: &str = "https://test.clerk.accounts.dev";
/// The table whose rows are worthless once the connections are closed.
pub(crate) const CONNECTIONS_TABLE: &str = "LiveConnectionsTable";
/// The instance that webhooks must come from.
pub(crate) const INSTANCE: &str = "ins_test";

/// A deployed stack.
pub(crate) struct Stack<'a> {
    pub(crate) aws: &'a Aws,
    key: SigningKey,
    pub(crate) outputs: BTreeMap<String, String>,
    /// The names of the functions, by logical id.
    pub(crate) functions: BTreeMap<String, String>,
    /// The names of the tables, by logical id, which begins with that of the nested stack.
    tables: BTreeMap<String, String>,
}

/// A response of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) body: Value,
}

impl<'a> Stack<'a> {
    /// Deploys in the stage prod, with `more` parameters.
    pub(crate) async fn deploy(aws: &'a Aws, template: &Path, more: &[&str]) -> Self {
        let key = SigningKey::generate().expect("a key");
        let [outputs, functions, tables] = [const { BTreeMap::new() }; 3];
        let mut stack = Self { aws, key, outputs, functions, tables };
        stack.update(template, more).await;
        stack
    }

    /// Updates the stack, with all parameters.
    pub(crate) async fn update(&mut self, template: &Path, more: &[&str]) {
        let pem = self.key.public_key_pem().expect("a key");
        let parameters = [
            "Stage=prod".to_owned(),
            format!("Architecture={}", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }),
            format!("ClerkIssuer={ISSUER}"),
            format!("ClerkJwtKey=\"{}\"", pem.trim().replace('\n', "\\n")),
            format!("ClerkAuthorizedParties={ORIGIN}"),
            format!("AllowedOrigins={ORIGIN},https://app.example.com"),
            "WebhookConcurrency=5".to_owned(),
            "AlarmEmail=alarms@example.com".to_owned(),
        ];
        let parameters: Vec<_> = parameters.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.set(template, &parameters).await.unwrap_or_else(|error| panic!("{error}"));
        self.find().await;
    }

    /// Deploys with `parameters`, and with the others as they are. An error is what the SAM CLI prints.
    pub(crate) async fn set(&self, template: &Path, parameters: &[&str]) -> Result<(), String> {
        let config = workspace().join("samconfig.toml");
        let [template, config] = [template, &config].map(|path| path.to_str().expect("a path in UTF-8"));
        let mut arguments = vec!["deploy", "--config-file", config, "--config-env", "prod"];
        arguments.extend(["--no-confirm-changeset", "--no-progressbar", "--stack-name", NAME]);
        arguments.extend(["--template-file", template, "--parameter-overrides"]);
        arguments.extend(parameters);
        self.aws.sam(&arguments).await
    }

    /// Finds the outputs and the functions, and the tables by the outputs of nested stacks.
    pub(crate) async fn find(&mut self) {
        let described = self.aws.cloudformation().describe_stacks().stack_name(NAME).send().await.expect("described");
        let outputs = described.stacks().iter().flat_map(aws_sdk_cloudformation::types::Stack::outputs);
        let text = |text: Option<&str>| text.expect("it is there").to_owned();
        self.outputs = outputs.map(|output| (text(output.output_key()), text(output.output_value()))).collect();
        self.functions.clear();
        self.tables.clear();
        let mut stacks = vec![(String::new(), NAME.to_owned())];
        while let Some((prefix, stack)) = stacks.pop() {
            let described = self.aws.cloudformation().describe_stacks().stack_name(&stack).send().await;
            for described in described.expect("described").stacks.unwrap_or_default() {
                let outputs = described.outputs.unwrap_or_default().into_iter();
                let outputs =
                    outputs.map(|output| (output.output_key.expect("a key"), output.output_value.expect("a value")));
                let tables = outputs.filter(|(key, _)| key.ends_with("Table"));
                self.tables.extend(tables.map(|(key, table)| (format!("{prefix}{key}"), table)));
            }
            let resources = self.aws.cloudformation().list_stack_resources().stack_name(stack).into_paginator().items();
            for resource in resources.send().collect::<Result<Vec<_>, _>>().await.expect("they are listed") {
                let id = format!("{prefix}{}", resource.logical_resource_id().expect("an id"));
                let name = resource.physical_resource_id().expect("a name").to_owned();
                match resource.resource_type().expect("a type") {
                    "AWS::CloudFormation::Stack" => stacks.push((id, name)),
                    "AWS::Lambda::Function" => drop(self.functions.insert(id, name)),
                    _ => {}
                }
            }
        }
    }

    /// Deletes the stack. (`sam delete` does not: it rejects the emulator's URL of a nested template.)
    pub(crate) async fn delete(&self) {
        let cloudformation = self.aws.cloudformation();
        cloudformation.delete_stack().stack_name(NAME).send().await.expect("it is deleted");
        // It is deleted once it cannot be described.
        let deadline = Instant::now() + DELETE_TIMEOUT;
        while cloudformation.describe_stacks().stack_name(NAME).send().await.is_ok() {
            assert!(Instant::now() < deadline, "the stack is still there");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The name that a table was given.
    pub(crate) fn table(&self, id: &str) -> &str {
        &self.tables[id]
    }

    /// All items of the tables that outlive the stack.
    pub(crate) async fn items(&self) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let mut items = Vec::new();
        for (_, table) in self.tables.iter().filter(|(id, _)| *id != CONNECTIONS_TABLE) {
            let scan = self.aws.dynamodb().scan().table_name(table).send().await;
            items.extend(scan.expect("the table is there").items.unwrap_or_default());
        }
        items
    }

    /// The URL of the WebSocket API.
    pub(crate) fn live(&self) -> String {
        self.aws.websocket(&self.outputs["LiveUrl"])
    }

    /// Stores Clerk's signing secret. The previous one stays valid.
    pub(crate) async fn put_secret(&self, secret: &str) {
        let secrets = self.aws.secrets_manager();
        let put = secrets.put_secret_value().secret_id(&self.outputs["WebhookSecretArn"]).secret_string(secret);
        put.send().await.expect("the secret is there");
    }

    /// Sends an event to the stack's URL for webhooks, signed as Clerk does, and returns the status.
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

    /// Delivers repeatedly, as Svix does, until the function has read the secret: failures and bad signatures are cached.
    pub(crate) async fn deliver_until_taken(&self, secret: &str, event: &Value) {
        let taken = async {
            while self.deliver(secret, event).await != 200 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), taken).await.expect("the function reads the secret again");
    }

    /// A user's session token.
    pub(crate) fn sign_in(&self, user_id: &str, session_id: &str) -> String {
        self.key.session_token(ISSUER, user_id, session_id, seconds_now(), &json!({})).expect("signed")
    }

    /// Calls the API by invoking the function with an event of API Gateway.
    pub(crate) async fn call(&self, token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Answer {
        let samples = Sample::all();
        let serves = |sample: &&Sample| {
            let (mut route, mut path) = (sample.route.split('/'), path.split('/'));
            route.all(|segment| path.next().is_some_and(|part| segment.starts_with('{') || segment == part))
        };
        let sample = samples.iter().filter(serves).max_by_key(|sample| sample.route.len());
        let function = sample.map_or("profile", |sample| &sample.function);
        let (answer, _) = self.aws.invoke(&format!("{NAME}-{function}"), &event(token, method, path, body)).await;
        let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("no answer of HTTP: {answer}"));
        let body = answer["body"].as_str().unwrap_or_default();
        Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    /// The version of each function that is live, by logical id.
    pub(crate) async fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for (id, name) in &self.functions {
            if let Some(version) = self.aws.version(name).await {
                versions.insert(id.clone(), version);
            }
        }
        versions
    }
}

/// An event of API Gateway, in payload format 2.0: a sample with another request in it.
fn event(token: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Value {
    let sample =
        fs::read_to_string(workspace().join("functions/profile/events/get-profile.json")).expect("the sample is there");
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
