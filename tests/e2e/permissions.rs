//! Roles grant what the functions call, and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::UNIX_EPOCH,
};

use api::Operation;
use local::template::{Function, Template, granted_table};
use serde_json::{Value, json};
use yaml_serde::Value as Yaml;

use crate::{
    events::stream_record,
    faults::{Call, Stack},
    sample::Sample,
};

/// Each function's binary, with the statements of its role.
static ROLES: LazyLock<BTreeMap<String, Vec<Yaml>>> = LazyLock::new(|| {
    let template = Template::load().expect("the template is right");
    let role = |function: &str| {
        let role = &template.resources[function].properties["Role"];
        let own =
            template.resources[role.as_str().expect("a role of the template")].properties["Policies"].as_sequence();
        let attached = template.resources.values().filter(|resource| resource.kind == "AWS::IAM::Policy");
        let attached = attached.map(|policy| &policy.properties).filter(|policy| policy["Roles"][0] == *role);
        own.expect("policies").iter().chain(attached).flat_map(statements).collect()
    };
    let functions = template.functions.iter().chain(&template.scheduled);
    functions.map(|function| (function.binary.clone(), role(&function.name))).collect()
});

fn statements(policy: &Yaml) -> Vec<Yaml> {
    policy["PolicyDocument"]["Statement"].as_sequence().expect("statements").clone()
}

/// One string, or a list of them.
fn list(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::Sequence(values) => values.iter().flat_map(list).collect(),
        value => vec![value.as_str().expect("a string").to_owned()],
    }
}

/// Each action that the statements allow, with its resource.
fn granted(statements: &[Yaml]) -> BTreeSet<(String, String)> {
    let mut granted = BTreeSet::new();
    for statement in statements {
        let members = statement.as_mapping().expect("a statement").keys().map(|key| key.as_str().expect("a name"));
        let unknown: Vec<_> =
            members.filter(|name| !["Action", "Condition", "Effect", "Resource"].contains(name)).collect();
        assert!(statement["Effect"] == "Allow" && unknown.is_empty(), "{unknown:?} is not understood: {statement:?}");
        for action in list(&statement["Action"]) {
            granted.extend(list(&statement["Resource"]).into_iter().map(|resource| (action.clone(), resource)));
        }
    }
    granted
}

/// What Lambda calls by the role of a function: for its log, its traces, and the streams that it is invoked for.
fn called_by_lambda(function: &Function, template: &Template) -> BTreeSet<(String, String)> {
    let of_type = |kind: &'static str| template.resources.iter().filter(move |(_, resource)| resource.kind == kind);
    let log = of_type("AWS::Logs::LogGroup").find(|(_, log)| {
        let name = log.properties["LogGroupName"].as_str().expect("a name");
        name.trim_end_matches(&function.binary).ends_with(['-', '/']) && name.ends_with(&function.binary)
    });
    let (log, _) = log.unwrap_or_else(|| panic!("{} has no log group", function.binary));
    let mut called: BTreeSet<_> = [
        ("logs:CreateLogStream", log.as_str()),
        ("logs:PutLogEvents", log),
        ("xray:PutTelemetryRecords", "*"),
        ("xray:PutTraceSegments", "*"),
    ]
    .into();
    for (_, mapping) in of_type("AWS::Lambda::EventSourceMapping") {
        let mapping = &mapping.properties;
        if mapping["FunctionName"].as_str().is_some_and(|name| name.starts_with(&function.name)) {
            let stream = mapping["EventSourceArn"].as_str().expect("a stream");
            let operations = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
            called.extend(operations.map(|operation| (operation, stream)));
            called.insert(("dynamodb:ListStreams", "*"));
            let topic = mapping["DestinationConfig"]["OnFailure"]["Destination"].as_str().expect("a topic");
            called.insert(("sns:Publish", topic));
        }
    }
    called.into_iter().map(|(action, resource)| (action.to_owned(), resource.to_owned())).collect()
}

fn called(call: &Call) -> Vec<(String, String)> {
    if let Some(method) = call.target.strip_prefix("execute-api.") {
        let api = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:LiveApi";
        return vec![("execute-api:ManageConnections".to_owned(), format!("{api}/v1/{method}/@connections/*"))];
    }
    if let Some(operation) = call.target.strip_prefix("cloudformation.") {
        let stacks = "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}";
        let nested = if call.body["StackName"] == "stack" { "" } else { "-*" };
        return vec![(format!("cloudformation:{operation}"), format!("{stacks}{nested}/*"))];
    }
    let (service, operation) = call.target.split_once('.').expect("a service and an operation");
    let service = if service.starts_with("DynamoDB") { "dynamodb" } else { service };
    let resources: Vec<_> = match (&call.body["RequestItems"], &call.body["TableName"], &call.body["SecretId"]) {
        (Value::Object(tables), ..) => tables.keys().map(|name| granted_table(name)).collect(),
        (_, Value::String(name), _) => match &call.body["IndexName"] {
            Value::String(index) => vec![format!("{}/index/{index}", granted_table(name))],
            _ => vec![granted_table(name)],
        },
        (.., Value::String(secret)) => vec![secret.clone()],
        _ => panic!("{} names no resource", call.target),
    };
    resources.into_iter().map(|resource| (format!("{service}:{operation}"), resource)).collect()
}

fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

/// Every operation of every function.
async fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for sample in Sample::with(&[Operation::Create]) {
        calls.extend(calls_of(&sample).await);
    }
    calls
}

/// Whether a function has a resource that omits operations. Its role grants them anyway.
fn omits_operations(function: &str) -> bool {
    Sample::all().iter().any(|sample| sample.function == function && !sample.is_complete())
}

async fn calls_of(sample: &Sample) -> Vec<Call> {
    let stack = Stack::start(sample).await;
    let item = stack.create().await;
    for (method, path, body) in sample.requests(&item) {
        let (status, body) = stack.call(method.as_str(), &path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {body}");
    }
    assert_eq!(stack.call("PATCH", "/profile", json!({})).await.0, 201);
    assert_eq!(stack.call("GET", "/profile", Value::Null).await.0, 200);
    assert_eq!(stack.connect("open", now_ms()).await, 200);
    let user = json!({ "userId": { "S": "user_ada" } });
    let of_session = json!({ "userId": { "S": "user_ada" }, "sessionId": { "S": "sess_1" } });
    let changed = json!({ "userId": { "S": "user_ada" }, "callerUpdatedAt": { "N": "1" } });
    let records = [stream_record("UsersTable", user, changed), stream_record("SessionsTable", of_session, Value::Null)];
    for record in records {
        assert_eq!(stack.notify(json!([record])).await, json!([]));
    }
    for event in [
        json!({ "type": "user.created", "data": { "id": "user_ada" } }),
        json!({ "type": "session.ended", "data": { "id": "sess_2", "user_id": "user_ada" } }),
        json!({ "type": "user.deleted", "data": { "id": "user_ada" } }),
    ] {
        assert_eq!(stack.deliver(event).await, 200);
    }
    assert_eq!(stack.connect("refused", now_ms()).await, 401);
    stack.erase().await;
    stack.calls()
}

#[tokio::test]
async fn roles_grant_exactly_what_the_functions_call() {
    let calls = calls().await;
    let template = Template::load().expect("the template is right");
    for function in template.functions.iter().chain(&template.scheduled) {
        let name = &function.binary;
        let mut called = called_by_lambda(function, &template);
        called.extend(calls.iter().filter(|call| call.function == *name).flat_map(self::called));
        let granted = granted(&ROLES[name]);
        let (missing, unused): (Vec<_>, Vec<_>) =
            (called.difference(&granted).collect(), granted.difference(&called).collect());
        assert!(missing.is_empty(), "{name} is not granted {missing:?}");
        assert!(unused.is_empty() || omits_operations(name), "{name} never calls {unused:?}");
    }
}

#[tokio::test]
async fn session_checks_may_read_only_the_attributes_that_they_request() {
    const ACTION: &str = "dynamodb:BatchGetItem";
    let calls = calls().await;
    let mut all = (BTreeSet::new(), BTreeSet::new());
    for (function, statements) in &*ROLES {
        let reads = statements.iter().filter(|statement| list(&statement["Action"]).contains(&ACTION.to_owned()));
        let (restricted, whole): (Vec<_>, Vec<_>) = reads.partition(|statement| statement["Condition"].is_mapping());
        let tables = |statements: &[&Yaml]| -> BTreeSet<String> {
            statements.iter().flat_map(|statement| list(&statement["Resource"])).collect()
        };
        let tables: BTreeSet<_> = tables(&restricted).difference(&tables(&whole)).cloned().collect();

        let mut requested = BTreeSet::new();
        for call in calls.iter().filter(|call| call.function == *function && call.target.ends_with(".BatchGetItem")) {
            let requests = call.body["RequestItems"].as_object().expect("tables");
            for (_, request) in requests.iter().filter(|(table, _)| tables.contains(&granted_table(table))) {
                let projection = request["ProjectionExpression"].as_str().expect("SPECIFIC_ATTRIBUTES: a projection");
                requested.extend(projection.split(',').map(|attribute| attribute.trim().to_owned()));
                let keys = request["Keys"].as_array().expect("keys");
                requested.extend(keys.iter().flat_map(|key| key.as_object().expect("a key").keys().cloned()));
            }
        }
        let mut allowed = BTreeSet::new();
        for statement in restricted {
            let condition = &statement["Condition"];
            allowed.extend(list(&condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]));
            assert_eq!(list(&condition["Null"]["dynamodb:Attributes"]), ["false"], "{function}");
            assert_eq!(
                list(&condition["StringEqualsIfExists"]["dynamodb:Select"]),
                ["SPECIFIC_ATTRIBUTES"],
                "{function}"
            );
        }
        assert!(requested.is_subset(&allowed), "{function} requests {requested:?}");
        all.0.extend(requested);
        all.1.extend(allowed);
    }
    assert_eq!(all.0, all.1, "nothing is allowed that no function requests");
}
