//! Roles grant what the functions call, and nothing more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use yaml_serde::Value as Yaml;

use crate::{
    faults::{Call, Stack},
    sample::Sample,
    stack::file,
};

/// Each function's directory, and its role in the template.
const ROLES: [(&str, &str); 3] =
    [("chats", "ChatsRole"), ("profile", "ProfileRole"), ("clerk-webhook", "ClerkWebhookRole")];

fn statements(role: &str) -> Vec<Yaml> {
    let template: Yaml = yaml_serde::from_str(&file("template.yaml")).expect("the template is YAML");
    let policies = &template["Resources"][role]["Properties"]["Policies"];
    let policies = policies.as_sequence().expect("policies").iter();
    policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_sequence().expect("statements").clone())
        .collect()
}

/// One string or reference, or a list of them; of a reference to a resource, its logical id.
fn list(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::Sequence(values) => values.iter().flat_map(list).collect(),
        Yaml::Tagged(tagged) => list(&tagged.value).iter().map(|name| name.replace(".Arn", "")).collect(),
        value => vec![value.as_str().expect("a string").to_owned()],
    }
}

/// Actions on data, each with its resource.
fn granted(role: &str) -> BTreeSet<(String, String)> {
    let mut granted = BTreeSet::new();
    for statement in statements(role) {
        for action in list(&statement["Action"]) {
            if ["dynamodb:", "secretsmanager:"].iter().any(|service| action.starts_with(service)) {
                granted.extend(list(&statement["Resource"]).into_iter().map(|resource| (action.clone(), resource)));
            }
        }
    }
    granted
}

fn called(call: &Call) -> Vec<(String, String)> {
    let (service, operation) = call.target.split_once('.').expect("a service and an operation");
    let service = if service.starts_with("DynamoDB") { "dynamodb" } else { service };
    let resources: Vec<_> = match (&call.body["RequestItems"], &call.body["TableName"], &call.body["SecretId"]) {
        (Value::Object(tables), ..) => tables.keys().cloned().collect(),
        (_, Value::String(table), _) => match &call.body["IndexName"] {
            // As the template writes it.
            Value::String(index) => vec![format!("${{{table}}}/index/{index}")],
            _ => vec![table.clone()],
        },
        (.., Value::String(secret)) => vec![secret.clone()],
        _ => panic!("{} names no resource", call.target),
    };
    resources.into_iter().map(|resource| (format!("{service}:{operation}"), resource)).collect()
}

/// Every operation of every function.
async fn calls() -> Vec<Call> {
    let sample = Sample::first();
    let stack = Stack::start(&sample).await;
    let item = stack.create().await;
    for (method, path, body, expected) in [
        ("GET", &*sample.path, Value::Null, 200),
        ("GET", &*item, Value::Null, 200),
        ("PATCH", &item, sample.update.clone(), 200),
        ("DELETE", &item, Value::Null, 204),
        ("PUT", "/profile", json!({}), 201),
        ("GET", "/profile", Value::Null, 200),
    ] {
        assert_eq!(stack.call(method, path, body).await.0, expected, "{method} {path}");
    }
    for event in [
        json!({ "type": "user.created", "data": { "id": "user_ada" } }),
        json!({ "type": "session.ended", "data": { "id": "sess_2", "user_id": "user_ada" } }),
        json!({ "type": "user.deleted", "data": { "id": "user_ada" } }),
    ] {
        assert_eq!(stack.deliver(event).await, 200);
    }
    stack.calls()
}

#[tokio::test]
async fn roles_grant_exactly_what_the_functions_call() {
    let calls = calls().await;
    for (function, role) in ROLES {
        let called = calls.iter().filter(|call| call.function == function).flat_map(called).collect::<BTreeSet<_>>();
        assert_eq!(granted(role), called, "{role}");
    }
}

#[tokio::test]
async fn session_checks_may_read_only_the_attributes_that_they_request() {
    let calls = calls().await;
    for (function, role) in ROLES {
        let mut requested = BTreeSet::new();
        for call in calls.iter().filter(|call| call.function == function && call.target.ends_with(".BatchGetItem")) {
            for request in call.body["RequestItems"].as_object().expect("tables").values() {
                let projection = request["ProjectionExpression"].as_str().expect("SPECIFIC_ATTRIBUTES: a projection");
                requested.extend(projection.split(',').map(|attribute| attribute.trim().to_owned()));
                let keys = request["Keys"].as_array().expect("keys");
                requested.extend(keys.iter().flat_map(|key| key.as_object().expect("a key").keys().cloned()));
            }
        }
        let mut allowed = BTreeSet::new();
        for statement in
            statements(role).iter().filter(|statement| list(&statement["Action"]) == ["dynamodb:BatchGetItem"])
        {
            let condition = &statement["Condition"];
            allowed.extend(list(&condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]));
            assert_eq!(list(&condition["Null"]["dynamodb:Attributes"]), ["false"], "{role}");
            assert_eq!(list(&condition["StringEqualsIfExists"]["dynamodb:Select"]), ["SPECIFIC_ATTRIBUTES"], "{role}");
        }
        assert_eq!(allowed, requested, "{role}");
    }
}

#[test]
fn every_function_of_the_template_is_compared() {
    let template: Yaml = yaml_serde::from_str(&file("template.yaml")).expect("the template is YAML");
    let functions = template["Resources"].as_mapping().expect("resources").values();
    let functions = functions.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
    let roles: BTreeSet<_> = functions.flat_map(|function| list(&function["Properties"]["Role"])).collect();
    assert_eq!(roles, ROLES.map(|(_, role)| role.to_owned()).into());
}
