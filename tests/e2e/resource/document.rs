//! `docs/openapi.json` describes every resource as it is.

use std::collections::BTreeSet;

use api::Operation::{Create, Delete, Get, List, Update};
use serde_json::{Value, json};

use crate::{
    client::User,
    sample::{Sample, items, new_id},
    stack::file,
};

/// The members that a creation requires.
pub(super) fn required_members(sample: &Sample) -> BTreeSet<String> {
    let document = document();
    let schema = schema(&document, &document["paths"][&sample.route]["post"]["requestBody"]);
    required(schema).into_iter().map(str::to_owned).collect()
}

fn document() -> Value {
    serde_json::from_str(&file("docs/openapi.json")).expect("the document is JSON")
}

fn item_route(sample: &Sample) -> String {
    format!("{}/{{id}}", sample.route)
}

/// The JSON schema of a request body or a response.
fn schema<'a>(document: &'a Value, described: &'a Value) -> &'a Value {
    resolve(document, &described["content"]["application/json"]["schema"])
}

/// A schema, or the one that it refers to.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str();
    reference.map_or(schema, |path| document.pointer(path.trim_start_matches('#')).expect("the schema exists"))
}

fn properties(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().expect("an object has properties").keys().map(String::as_str).collect()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().expect("a name")).collect()
}

fn members(item: &Value) -> BTreeSet<&str> {
    item.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_operation_is_documented_with_its_responses() {
    let document = document();
    for sample in Sample::all() {
        let item = item_route(&sample);
        let operations: [(_, _, _, _, &[u16]); 5] = [
            (List, &sample.route, "get", "list", &[200, 400, 401, 500, 503]),
            (Create, &sample.route, "post", "create", &[200, 201, 400, 401, 409, 413, 415, 422, 500, 503]),
            (Get, &item, "get", "get", &[200, 400, 401, 404, 500, 503]),
            (Update, &item, "patch", "update", &[200, 400, 401, 404, 412, 413, 415, 422, 500, 503]),
            (Delete, &item, "delete", "delete", &[204, 400, 401, 404, 412, 500, 503]),
        ];
        for (_, route, method, verb, statuses) in
            operations.into_iter().filter(|(operation, ..)| sample.has(*operation))
        {
            let operation = &document["paths"][route][method];
            let id = operation["operationId"].as_str();
            assert!(id.is_some_and(|id| id.starts_with(verb)), "{method} {route}: {id:?}");
            for status in statuses {
                let response = &operation["responses"][status.to_string()];
                assert!(response.is_object(), "{method} {route} lacks {status}");
                let kind = if *status < 400 { "application/json" } else { "application/problem+json" };
                assert!(
                    *status == 204 || response["content"][kind].is_object(),
                    "{method} {route} {status}: {response}"
                );
            }
            let security = operation.get("security").unwrap_or(&document["security"]);
            assert_eq!(security, &json!([{ "session": [] }]), "{method} {route}");
        }
    }
}

#[test]
fn every_parameter_is_documented() {
    let document = document();
    for sample in Sample::all() {
        let item = item_route(&sample);
        let operations: [(_, _, _, &[&str]); 5] = [
            (List, &sample.route, "get", &["cursor", "limit"]),
            (Create, &sample.route, "post", &[]),
            (Get, &item, "get", &[]),
            (Update, &item, "patch", &["If-Match"]),
            (Delete, &item, "delete", &["If-Match"]),
        ];
        for (_, route, method, optional) in operations.into_iter().filter(|(operation, ..)| sample.has(*operation)) {
            let parameters = document["paths"][route][method]["parameters"].as_array().cloned().unwrap_or_default();
            let with = |required: bool| {
                let names = parameters.iter().filter(move |parameter| (parameter["required"] == true) == required);
                names.map(|parameter| parameter["name"].as_str().expect("a name")).collect::<BTreeSet<_>>()
            };
            let in_path = route.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(with(true), in_path, "{method} {route}");
            assert_eq!(with(false), optional.iter().copied().collect(), "{method} {route}");
        }
    }
}

#[tokio::test]
async fn responses_have_exactly_the_documented_members() {
    let document = document();
    for sample in Sample::with(&[Create, Get, List, Update]) {
        let (ada, item) = (User::sign_up("Ada"), item_route(&sample));
        let created = ada.create(&sample).await;
        let path = created.header("location");
        let (read, updated, list) =
            (ada.get(path).await, ada.patch(path, &sample.update).await, ada.get(&sample.path).await);
        for (route, method, status, body) in [
            (&sample.route, "post", "201", &created.body),
            (&sample.route, "post", "200", &created.body),
            (&item, "get", "200", &read.body),
            (&item, "patch", "200", &updated.body),
        ] {
            let schema = schema(&document, &document["paths"][route][method]["responses"][status]);
            assert_eq!(properties(schema), members(body), "{method} {route} {status}");
            assert_eq!(required(schema), members(body), "{method} {route} {status}");
        }
        let page = schema(&document, &document["paths"][&sample.route]["get"]["responses"]["200"]);
        assert_eq!((properties(page), required(page)), (members(&list.body), members(&list.body)));
        let list_of =
            page["properties"].as_object().expect("properties").values().find(|schema| schema["type"] == "array");
        let listed = resolve(&document, &list_of.expect("a list")["items"]);
        assert_eq!(properties(listed), members(&items(&list.body)[0]));
    }
}

#[test]
fn request_bodies_are_documented_and_closed() {
    let document = document();
    for sample in Sample::all() {
        let creations = vec![sample.create_with_id(&new_id()), sample.other.clone()];
        let bodies = [
            (Create, &sample.route, "post", creations),
            (Update, &item_route(&sample), "patch", vec![sample.update.clone()]),
        ];
        for (_, route, method, bodies) in bodies.into_iter().filter(|(operation, ..)| sample.has(*operation)) {
            let schema = schema(&document, &document["paths"][route][method]["requestBody"]);
            assert_eq!(schema["additionalProperties"], false, "{method} {route}");
            for body in &bodies {
                assert!(properties(schema).is_superset(&members(body)), "{method} {route}: {body}");
                assert!(required(schema).is_subset(&members(body)), "{method} {route}: {body}");
            }
        }
    }
}
