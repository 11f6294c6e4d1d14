//! Faults of DynamoDB: responses are never wrong, acknowledged writes are not lost, writes take effect once, and the API
//! recovers when the fault ends.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, UNIX_EPOCH},
};

use api::Operation::{Create, Delete, List};
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::AttributeValue,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame};
use local::template::{Table, Template};
use serde_json::{Value, json};
use test_support::{Engine, Runtime, SigningKey, in_memory};
use tokio::{process::Command, sync::Notify, time::sleep};

use crate::{
    events::{connect_event, event},
    sample::{Sample, contains, items},
    stack::{now, program},
    standalone::{ISSUER, serve, signed_in, start, start_with},
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A fault that the proxy injects into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// DynamoDB throttles it.
    Throttled,
    /// DynamoDB fails.
    Failed,
    /// The connection breaks before the request takes effect.
    Reset,
    /// The connection breaks after the request has taken effect.
    ResponseLost,
    /// The response is not DynamoDB's.
    Invalid,
    /// No response arrives.
    Unanswered,
    /// The response takes a second.
    Slow,
    /// The request does not take effect until the test releases it.
    Held,
    /// The function is killed before the request takes effect.
    KilledBefore,
    /// The function is killed after the request has taken effect.
    KilledAfter,
}

/// A fault, the operation that has it (any, if empty), and how often.
pub(crate) type Plan = Option<(Fault, &'static str, usize)>;

struct Proxy {
    engine: String,
    http: reqwest::Client,
    plan: Mutex<Plan>,
    /// Notified when a request is held, also until its function is killed, and when it is released.
    held: Notify,
    released: Notify,
    calls: Mutex<Vec<Call>>,
}

/// A request that a function made to an AWS service.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) function: String,
    /// Such as `DynamoDB_20120810.Query`.
    pub(crate) target: String,
    pub(crate) body: Value,
}

/// A body that breaks off before it ends.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

impl Proxy {
    /// The fault of a request for `operation`.
    fn fault(&self, operation: &str) -> Option<Fault> {
        let mut plan = self.plan.lock().expect("no test fails while it holds this");
        let (fault, planned, times) = plan.as_mut()?;
        if *times == 0 || !operation.ends_with(*planned) {
            return None;
        }
        *times -= 1;
        Some(*fault)
    }

    /// CloudFormation's response for the stack `stack`, whose nested stack `stack-nested` has every table as an output.
    fn stacks(&self, path: &str, body: &[u8]) -> Response {
        // A form, which is written like a query.
        let mut form = reqwest::Url::parse("http://localhost").expect("a URL");
        form.set_query(Some(str::from_utf8(body).expect("UTF-8")));
        let request: BTreeMap<_, _> = form.query_pairs().into_owned().collect();
        let (action, stack) = (&request["Action"], &request["StackName"]);
        self.calls.lock().expect("no test fails while it holds this").push(Call {
            function: path.trim_matches('/').to_owned(),
            target: format!("cloudformation.{action}"),
            body: json!({ "StackName": stack }),
        });
        let member = |members: &[(&str, &str)]| {
            let members = members.iter().map(|(name, value)| format!("<{name}>{value}</{name}>"));
            format!("<member>{}</member>", members.collect::<Vec<_>>().concat())
        };
        let result = match (action.as_str(), stack.as_str()) {
            ("ListStackResources", "stack") => {
                let nested = [("ResourceType", "AWS::CloudFormation::Stack"), ("PhysicalResourceId", "stack-nested")];
                format!("<StackResourceSummaries>{}</StackResourceSummaries>", member(&nested))
            }
            ("DescribeStacks", "stack-nested") => {
                let tables = Template::load().expect("the template is valid").tables;
                let output = |table: Table| member(&[("OutputKey", &table.name), ("OutputValue", &table.name)]);
                let outputs: String = tables.into_iter().map(output).collect();
                format!("<Stacks>{}</Stacks>", member(&[("StackStatus", "CREATE_COMPLETE"), ("Outputs", &outputs)]))
            }
            _ => format!("<Stacks>{}</Stacks>", member(&[("StackStatus", "UPDATE_COMPLETE")])),
        };
        format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>").into_response()
    }

    async fn forward(&self, headers: HeaderMap, body: Bytes) -> Response {
        let sent = self.http.post(&self.engine).headers(headers).body(body).send().await;
        let response = sent.expect("the engine responds");
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.bytes().await.expect("it is complete")).into_response()
    }
}

/// Each function has its own path.
async fn relay(State(proxy): State<Arc<Proxy>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some((function, _)) = uri.path().trim_matches('/').split_once("/@connections/") {
        let call = Call { function: function.to_owned(), target: format!("execute-api.{method}"), body: Value::Null };
        proxy.calls.lock().expect("no test fails while it holds this").push(call);
        return StatusCode::OK.into_response();
    }
    let Some(operation) = headers.get("x-amz-target") else { return proxy.stacks(uri.path(), &body) };
    let operation = operation.to_str().expect("an operation's name").to_owned();
    proxy.calls.lock().expect("no test fails while it holds this").push(Call {
        function: uri.path().trim_matches('/').to_owned(),
        target: operation.clone(),
        body: serde_json::from_slice(&body).expect("a request is JSON"),
    });
    if operation.starts_with("secretsmanager.") {
        return axum::Json(json!({ "Name": "secret", "SecretString": SECRET })).into_response();
    }
    let error = |status: StatusCode, kind: &str| {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "on purpose" });
        (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
    };
    match proxy.fault(&operation) {
        None => proxy.forward(headers, body).await,
        Some(Fault::Throttled) => error(StatusCode::BAD_REQUEST, "ThrottlingException"),
        Some(Fault::Failed) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        Some(Fault::Reset) => Body::new(Broken).into_response(),
        Some(Fault::ResponseLost) => {
            drop(proxy.forward(headers, body).await);
            Body::new(Broken).into_response()
        }
        Some(Fault::Invalid) => "<html>It works!</html>".into_response(),
        Some(Fault::Unanswered) => std::future::pending().await,
        Some(Fault::Held) => {
            proxy.held.notify_one();
            proxy.released.notified().await;
            proxy.forward(headers, body).await
        }
        Some(Fault::KilledBefore) => {
            proxy.held.notify_one();
            std::future::pending().await
        }
        Some(Fault::KilledAfter) => {
            drop(proxy.forward(headers, body).await);
            proxy.held.notify_one();
            std::future::pending().await
        }
        Some(Fault::Slow) => {
            sleep(Duration::from_secs(1)).await;
            proxy.forward(headers, body).await
        }
    }
}

/// Reaches the engine without the proxy.
pub(crate) fn client(engine: &Engine) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(engine.url())
        .http_client(aws::http_client(None));
    Client::from_conf(config.build())
}

/// A resource's function, and the others, with a database behind the proxy.
pub(crate) struct Stack {
    sample: Sample,
    proxy: Arc<Proxy>,
    engine: Engine,
    resource: Runtime,
    profile: Runtime,
    webhook: Runtime,
    live_connect: Runtime,
    live_notify: Runtime,
    url: String,
    key: SigningKey,
    token: String,
}

/// Starts a function behind the proxy at `url`.
async fn start_behind(url: &str, function: &str, key: &SigningKey) -> Runtime {
    let url = format!("{url}/{function}");
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("CLERK_WEBHOOK_SIGNING_SECRET_ARN", "WebhookSecret"),
    ];
    start(function, &variables).await
}

impl Stack {
    /// Starts the function of `sample`. No webhook has reported the user.
    pub(crate) async fn start(sample: &Sample) -> Self {
        let engine = in_memory().await.expect("the engine starts");
        let proxy = Arc::new(Proxy {
            engine: engine.url().to_owned(),
            http: reqwest::Client::new(),
            plan: Mutex::new(None),
            held: Notify::new(),
            released: Notify::new(),
            calls: Mutex::default(),
        });
        let url = serve(Router::new().fallback(relay).with_state(Arc::clone(&proxy))).await;

        let (key, token) = signed_in(&json!({}));
        let start = async |function| start_behind(&url, function, &key).await;
        Self {
            resource: start(&sample.function).await,
            profile: start("profile").await,
            webhook: start("clerk-webhook").await,
            live_connect: start("live-connect").await,
            live_notify: start("live-notify").await,
            sample: sample.clone(),
            proxy,
            engine,
            url,
            key,
            token,
        }
    }

    /// Signs in a user, whose calls follow.
    pub(crate) fn sign_in(&mut self, user: &str) {
        self.token = self.key.session_token(ISSUER, user, "sess_1", now(), &json!({})).expect("signed");
    }

    /// Loses the response of the next request for `operation`.
    pub(crate) fn lose_response(&self, operation: &'static str) {
        self.plan(Some((Fault::ResponseLost, operation, 1)));
    }

    pub(crate) fn plan(&self, plan: Plan) {
        *self.proxy.plan.lock().expect("no test fails while it holds this") = plan;
    }

    /// What is left of the plan.
    pub(crate) fn planned(&self) -> Plan {
        *self.proxy.plan.lock().expect("no test fails while it holds this")
    }

    /// All requests that the functions have made so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.proxy.calls.lock().expect("no test fails while it holds this").clone()
    }

    /// A call to the API: its status and its body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u64, Value) {
        self.call_if(method, path, body, "").await
    }

    /// The same, with the header If-Match unless it is empty.
    pub(crate) async fn call_if(&self, method: &str, path: &str, body: Value, if_match: &str) -> (u64, Value) {
        let event = self.event(method, path, body, if_match);
        let function = if path == "/profile" { &self.profile } else { &self.resource };
        let (status, headers, body) = function.invoke(event).await;
        let status = status.as_u64().expect("a status");
        assert_eq!(status == 503, headers.contains_key("retry-after"), "{method} {path}: {headers:?}");
        (status, body)
    }

    fn event(&self, method: &str, path: &str, body: Value, if_match: &str) -> Value {
        let mut event = event(method, path, &self.token);
        if !body.is_null() {
            event["body"] = body.to_string().into();
        }
        if !if_match.is_empty() {
            event["headers"]["if-match"] = if_match.into();
        }
        event
    }

    /// A call to the resource. Returns None if its function was killed, which then is started again.
    pub(crate) async fn call_unless_killed(
        &mut self,
        method: &str,
        path: &str,
        body: Value,
        if_match: &str,
    ) -> Option<(u64, Value)> {
        self.proxy.calls.lock().expect("no test fails while it holds this").clear();
        let outcome = tokio::select! {
            outcome = self.call_if(method, path, body, if_match) => Some(outcome),
            () = self.proxy.held.notified() => None,
        };
        if outcome.is_none() {
            self.resource = start_behind(&self.url, &self.sample.function, &self.key).await;
        }
        outcome
    }

    /// Runs the scheduled erasure, which finds the calling user deleted long ago.
    pub(crate) async fn erase(&self) {
        let put = |table| {
            client(&self.engine).put_item().table_name(table).item("userId", AttributeValue::S("user_ada".to_owned()))
        };
        let account = put("UsersTable").item("deletionReceivedAt", AttributeValue::N("1".to_owned()));
        account.send().await.expect("written");
        let connection = put("LiveConnectionsTable").item("connection", AttributeValue::S("open".to_owned()));
        connection.send().await.expect("written");
        let url = format!("{}/scheduled-erasure", self.url);
        let variables = [("AWS_ENDPOINT_URL", url.as_str()), ("ERASE_AFTER_DAYS", "30"), ("STACK", "stack")];
        let erasure = start_with("scheduled-erasure", &variables).await;
        assert_eq!(erasure.invoke_raw(b"{}".to_vec()).await, Value::Null);
    }

    pub(crate) async fn deliver(&self, body: Value) -> u64 {
        let body = body.to_string();
        let now = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
        let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
        let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
        let mut event = event("POST", "/", "");
        event["headers"] =
            json!({ "svix-id": "msg_1", "svix-timestamp": now.to_string(), "svix-signature": signature });
        event["body"] = body.into();
        self.webhook.invoke(event).await.0.as_u64().expect("a status")
    }

    /// Opens a WebSocket connection; the status of the response.
    pub(crate) async fn connect(&self, connection: &str, connected_at: u64) -> u64 {
        let event = connect_event(&self.token, connection, connected_at);
        self.live_connect.invoke(event).await.0.as_u64().expect("a status")
    }

    /// Gives a batch of stream records to live-notify; the sequence numbers of those that failed.
    pub(crate) async fn notify(&self, records: Value) -> Value {
        let response = self.live_notify.invoke_raw(json!({ "Records": records }).to_string().into_bytes()).await;
        response["batchItemFailures"].clone()
    }

    /// Creates an item and returns its path.
    pub(crate) async fn create(&self) -> String {
        let (status, item) = self.call("POST", &self.sample.path, self.sample.create.clone()).await;
        assert_eq!(status, 201, "{item}");
        self.sample.item(item["id"].as_str().expect("an id"))
    }

    /// The items of the list.
    pub(crate) async fn items(&self) -> Vec<Value> {
        let (status, page) = self.call("GET", &self.sample.path, Value::Null).await;
        assert_eq!(status, 200, "{page}");
        items(&page).clone()
    }

    /// Every operation on the resource, those on an item at `item`, and on the profile.
    fn operations(&self, item: &str) -> Vec<(Method, String, Value)> {
        let profile = || "/profile".to_owned();
        let mut operations = self.sample.requests(item);
        operations.push((Method::GET, profile(), Value::Null));
        operations.push((Method::PATCH, profile(), json!({ "firstName": "Ada" })));
        operations
    }
}

/// While DynamoDB has this fault, every call is 503 and changes nothing. The first call afterwards succeeds.
async fn outage(fault: Fault) {
    let stack = Stack::start(&Sample::first()).await;
    let path = stack.create().await;
    let before = stack.items().await;
    let user = json!({ "type": "user.created", "data": { "id": "user_eve", "updated_at": 1 } });
    stack.plan(Some((fault, "", usize::MAX)));
    for (method, path, body) in stack.operations(&path) {
        let (status, problem) = stack.call(method.as_str(), &path, body).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{fault:?}: {method} {path}");
    }
    assert_eq!(stack.deliver(user.clone()).await, 503, "{fault:?}");
    stack.plan(None);
    assert_eq!(stack.items().await, before, "{fault:?}");
    assert_eq!(stack.call("GET", "/profile", Value::Null).await.0, 404, "{fault:?}");
    assert_eq!(stack.deliver(user).await, 200, "{fault:?}");
}

#[tokio::test]
async fn throttling_is_503_until_it_ends() {
    outage(Fault::Throttled).await;
}

#[tokio::test]
async fn failures_are_503_until_they_end() {
    outage(Fault::Failed).await;
}

#[tokio::test]
async fn broken_connections_are_503_until_they_hold() {
    outage(Fault::Reset).await;
}

#[tokio::test]
async fn invalid_responses_are_503_until_valid_ones_arrive() {
    outage(Fault::Invalid).await;
}

#[tokio::test]
async fn unanswered_requests_are_503_within_the_functions_timeout() {
    let stack = Stack::start(&Sample::first()).await;
    stack.plan(Some((Fault::Unanswered, "", usize::MAX)));
    for (method, body) in [("GET", Value::Null), ("POST", stack.sample.create.clone())] {
        assert_eq!(stack.call(method, &stack.sample.path, body).await.0, 503);
    }
    stack.plan(None);
    assert!(stack.items().await.is_empty());
}

#[tokio::test]
async fn transient_faults_are_retried() {
    let Some(sample) = Sample::with(&[Create, Delete, List]).pop() else { return };
    let stack = Stack::start(&sample).await;
    for fault in [Fault::Throttled, Fault::Failed, Fault::Reset, Fault::Unanswered, Fault::Slow] {
        stack.plan(Some((fault, "", 1)));
        let path = stack.create().await;
        for operation in ["Query", "BatchGetItem"] {
            stack.plan(Some((fault, operation, 1)));
            let items = stack.items().await;
            assert!(
                items.len() == 1 && contains(&items[0], &stack.sample.create),
                "{fault:?} of {operation}: {items:?}"
            );
        }
        stack.plan(Some((fault, "UpdateItem", 1)));
        assert_eq!(stack.call("DELETE", &path, Value::Null).await.0, 204, "{fault:?}");
    }
}

#[tokio::test]
async fn writes_to_a_profile_take_effect_once_when_their_response_is_lost() {
    let stack = Stack::start(&Sample::first()).await;
    stack.lose_response("UpdateItem");
    assert_eq!(stack.call("PATCH", "/profile", json!({ "firstName": "Ada" })).await.0, 201);
    stack.lose_response("UpdateItem");
    assert_eq!(stack.call("PATCH", "/profile", json!({ "lastName": "Lovelace" })).await.0, 200);
    stack.lose_response("UpdateItem");
    let user = json!({ "type": "user.created", "data": { "id": "user_ada", "first_name": "A", "updated_at": 1 } });
    assert_eq!(stack.deliver(user).await, 200);
    assert_eq!(stack.call("GET", "/profile", Value::Null).await.1["firstName"], "A");
}

#[tokio::test]
async fn failed_session_checks_show_nothing_and_write_nothing() {
    let stack = Stack::start(&Sample::first()).await;
    let path = stack.create().await;
    let before = stack.items().await;
    for fault in [Fault::Throttled, Fault::Invalid] {
        stack.plan(Some((fault, "BatchGetItem", usize::MAX)));
        for (method, path, body) in stack.operations(&path) {
            let (status, problem) = stack.call(method.as_str(), &path, body).await;
            assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{method} {path}: {problem}");
            let id = before[0]["id"].as_str().expect("an id");
            assert!(problem.as_object().is_some_and(|members| members.len() == 5), "more than a problem: {problem}");
            assert!(!problem.to_string().contains(id), "{problem}");
        }
        stack.plan(None);
        assert_eq!(stack.items().await, before);
        assert_eq!(stack.call("GET", "/profile", Value::Null).await.0, 404);
    }
}

#[tokio::test]
async fn erasure_waits_for_writes_in_flight() {
    let stack = Stack::start(&Sample::first()).await;
    stack.plan(Some((Fault::Held, "UpdateItem", 1)));
    let port = stack.engine.url().rsplit(':').next().expect("a port").to_owned();
    let erase = async |arguments: &[&str]| {
        let mut command = Command::new(program("operate"));
        command.arg("erase").args(arguments).env("DYNAMODB_PORT", &port).env_remove("STACK");
        command.env("LOCAL_DATA", stack.engine.data());
        let output = command.output().await.expect("operate runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let write = stack.call("POST", &stack.sample.path, stack.sample.create.clone());
    let erasure = async {
        stack.proxy.held.notified().await;
        // Its timestamp is old, but it is received only now.
        let deletion = json!({ "type": "user.deleted", "timestamp": 1000, "data": { "id": "user_ada" } });
        assert_eq!(stack.deliver(deletion).await, 200);
        let printed = [erase(&["--user", "user_ada"]).await, erase(&["--days", "0"]).await];
        stack.proxy.released.notify_one();
        printed
    };
    let ((status, _), [of_user, of_all]) = tokio::join!(write, erasure);
    assert_eq!(status, 201, "its session check passed before the deletion");
    assert!(of_user.contains("was deleted less than two minutes ago"), "{of_user}");
    assert!(of_all.contains("erased users: 0,"), "{of_all}");
}
