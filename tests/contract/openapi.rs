//! `docs/openapi.json` and the tables of `docs/api.md` are written from the functions' types and routes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use api::Code;
use local::template::Template;
use serde_json::Value;
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        OpenApi,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

const DESCRIPTION: &str = "Users sign in with Clerk. Each user reads and writes only their own data.

Times are milliseconds since the epoch. Every response that is not a success is a problem (RFC 9457), whose `code` is one of:

";

const COMPATIBILITY: &str = "
Above its rate limit, API Gateway returns 429 with only `{\"message\"}`.

New members, codes, optional parameters and paths can be added at any time: ignore those that you do not know. Under the
same path, nothing that is described here is removed or changes its meaning.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Cubby", license(name = "MIT", identifier = "MIT")),
    components(schemas(api::openapi::Problem)),
    modifiers(&Session, &Codes),
    security(("session" = [])),
    servers((url = "http://127.0.0.1:9000", description = "The local stack; deployed, the stack's output ApiUrl.")),
)]
struct Document;

/// The session token of requests.
struct Session;

impl Modify for Session {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let session = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("Clerk's session token, as getToken() returns it."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("session", SecurityScheme::Http(session.build()));
    }
}

/// The list of all codes.
struct Codes;

impl Modify for Codes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document.info.description = Some(format!("{DESCRIPTION}{}{COMPATIBILITY}", codes()));
    }
}

/// A file of the project.
fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").join(path)
}

/// The document of each function of the API.
fn documents() -> Vec<OpenApi> {
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--workspace", "--bins"]).status();
    assert!(built.expect("cargo runs").success(), "the functions do not build");
    let test = std::env::current_exe().expect("this test has a path");
    let programs = test.ancestors().nth(2).expect("target/debug holds deps");
    let functions = Template::load().expect("the template is valid").functions;
    let api = functions.iter().filter(|function| !function.routes.is_empty());
    api.map(|function| {
        let output = Command::new(programs.join(&function.binary)).arg("--openapi").output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{}: {error}", function.binary))
    })
    .collect()
}

/// Compares a file with what it must contain, or writes it if `UPDATE_OPENAPI` is set.
fn check(path: &str, expected: impl FnOnce(&str) -> String) {
    let kept = fs::read_to_string(file(path)).unwrap_or_default();
    let expected = expected(&kept);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(file(path), expected).expect("docs can be written to");
    } else {
        assert!(kept == expected, "{path} is stale: run `make openapi`, and review what has changed");
    }
}

#[test]
fn openapi_document_and_api_guide_match_types_and_routes() {
    let mut document = Document::openapi();
    for function in documents() {
        document.merge(function);
    }
    let made = document.to_pretty_json().expect("it can be written") + "\n";
    let document = serde_json::from_str(&made).expect("it is JSON");
    check("docs/openapi.json", |_| made);
    check("docs/api.md", |guide| {
        let guide = with_section(guide, "operations", &operations(&document));
        with_section(&guide, "codes", &codes())
    });
}

/// A text with another content between the markers of a section.
fn with_section(text: &str, name: &str, content: &str) -> String {
    let begin = format!("<!-- {name}: written by `make openapi` -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("there are no markers of {name}"));
    format!("{before}{begin}\n{content}\n{end}{after}")
}

/// Every code of a problem, with its status, its meaning and what to do.
fn codes() -> String {
    let row = |code: &Code| {
        let (status, name, meaning, remedy) = (code.status().as_u16(), code.name(), code.meaning(), code.remedy());
        format!("| {status} | `{name}` | {meaning} | {remedy} |\n")
    };
    let rows: String = Code::ALL.iter().map(row).collect();
    format!("| status | code | meaning | what to do |\n| --- | --- | --- | --- |\n{rows}")
}

/// A call of the API, as a row of the guide.
struct Operation {
    call: String,
    body: String,
    does: String,
    success: String,
    codes: BTreeSet<String>,
}

impl Operation {
    fn new(path: &str, method: &str, operation: &Value) -> Self {
        let parameters = |place| {
            let all = operation["parameters"].as_array().into_iter().flatten();
            let placed = all.filter(move |parameter| parameter["in"] == place);
            placed.filter_map(|parameter| parameter["name"].as_str())
        };
        let query: Vec<_> = parameters("query").collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let sentences = ["summary", "description"].into_iter().filter_map(|name| operation[name].as_str());
        let accepts = parameters("header").map(|name| format!("Accepts `{name}`."));
        let does: Vec<_> = sentences.map(|sentence| sentence.replace('\n', " ")).chain(accepts).collect();
        let responses = operation["responses"].as_object().expect("an operation has responses");
        let (successes, problems): (Vec<_>, Vec<_>) = responses.iter().partition(|(status, _)| status.starts_with('2'));
        let success = successes.into_iter().map(|(status, response)| {
            let headers = response["headers"].as_object().into_iter().flatten();
            let headers: Vec<_> = headers.map(|(name, _)| format!("`{name}`")).collect();
            let headers = if headers.is_empty() { String::new() } else { format!(" with {}", headers.join(", ")) };
            format!("{status}{}{headers}", schema(response))
        });
        let codes = problems.iter().filter_map(|(_, response)| response["description"].as_str());
        // A problem's description lists its codes.
        let codes = codes.flat_map(|list| list.lines().filter_map(|line| line.split('`').nth(1)));
        Self {
            call: format!("`{} {path}{query}`", method.to_uppercase()),
            body: schema(&operation["requestBody"]),
            does: does.join(" "),
            success: success.collect::<Vec<_>>().join("; "),
            codes: codes.map(str::to_owned).collect(),
        }
    }
}

/// The name of the schema of a JSON body.
fn schema(holder: &Value) -> String {
    let name = holder["content"]["application/json"]["schema"]["$ref"].as_str();
    name.and_then(|name| name.rsplit('/').next()).map(|name| format!(" `{name}`")).unwrap_or_default()
}

fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Every operation, the codes that all of them can return, and the members of their bodies.
fn operations(document: &Value) -> String {
    let paths = document["paths"].as_object().expect("the document has paths");
    let methods = ["get", "post", "put", "patch", "delete"];
    let all = paths.iter().flat_map(|(path, item)| {
        let defined = methods.into_iter().filter(|method| item.get(method).is_some());
        defined.map(|method| Operation::new(path, method, &item[method]))
    });
    let all: Vec<_> = all.collect();
    let common = all.iter().map(|operation| operation.codes.clone()).reduce(|common, codes| &common & &codes);
    let common = common.expect("there is an operation");
    let rows = all.iter().map(|Operation { call, body, does, success, codes }| {
        format!("| {call} |{body} | {does} | {success} | {} |\n", list(codes.difference(&common)))
    });
    let rows: String = rows.collect();
    let schemas = document["components"]["schemas"].as_object().expect("the document has schemas");
    let objects = schemas.iter().filter_map(|(name, schema)| Some((name, schema, schema["properties"].as_object()?)));
    let objects = objects.map(|(name, schema, properties)| {
        let required = schema["required"].as_array();
        let members = properties.keys().map(|member| {
            let is_required = required.is_some_and(|names| names.iter().any(|name| name == member));
            if is_required { format!("`{member}`") } else { format!("`{member}`?") }
        });
        format!("| `{name}` | {} |\n", members.collect::<Vec<_>>().join(", "))
    });
    let objects: String = objects.collect();
    format!(
        "| call | body | does | success | its own codes |\n| --- | --- | --- | --- | --- |\n{rows}\n\
        Every operation can also return {}.\n\n\
        | schema | members; `?` marks those that can be omitted |\n| --- | --- |\n{objects}",
        list(&common)
    )
}

/// A handler that documents `body = Chat` would replace the schema of the item by the one of its members.
#[test]
fn every_item_has_an_id_and_a_version() {
    let document: Value =
        serde_json::from_str(&fs::read_to_string(file("docs/openapi.json")).expect("read")).expect("it is JSON");
    let paths: BTreeMap<String, Value> = serde_json::from_value(document["paths"].clone()).expect("paths");
    let items: Vec<_> = paths.iter().filter(|(path, _)| path.ends_with("/{id}")).collect();
    assert!(!items.is_empty(), "there is no resource");
    for (path, item) in items {
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        let schema = schema.as_str().and_then(|schema| document.pointer(schema.strip_prefix('#')?));
        for member in ["id", "createdAt", "updatedAt", "version"] {
            assert!(schema.is_some_and(|schema| schema["properties"].get(member).is_some()), "{path}: {member}");
        }
    }
}
