//! `docs/openapi.json` says what the functions do: it is made from their types and routes.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails where something is missing")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use api::Code;
use local::template::Template;
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
Besides, API Gateway answers 429 by itself, with `{\"message\"}` alone, to more requests than are allowed.

New members, codes, parameters that may be left away and paths can come at any time: ignore what you do not know.
Nothing that is described here is removed or changes its meaning under the same path.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Cubby", version = "1.0.0", license(name = "MIT", identifier = "MIT")),
    components(schemas(api::openapi::Problem)),
    modifiers(&Session, &Codes),
    security(("session" = [])),
    servers((url = "http://127.0.0.1:9000", description = "The local stack; deployed, the stack's output ApiUrl.")),
)]
struct Document;

/// How callers show who they are.
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

/// What every code means.
struct Codes;

impl Modify for Codes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let row = |code: &Code| format!("| `{}` | {} | {} |", code.name(), code.status().as_u16(), code.meaning());
        let rows: Vec<_> = Code::ALL.iter().map(row).collect();
        let table = format!("| code | status | |\n| --- | --- | --- |\n{}\n", rows.join("\n"));
        document.info.description = Some(format!("{DESCRIPTION}{table}{COMPATIBILITY}"));
    }
}

/// A file of the project.
fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").join(path)
}

/// What each function behind the API says of itself.
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

#[test]
fn openapi_document_matches_types_and_routes() {
    let mut document = Document::openapi();
    for function in documents() {
        document.merge(function);
    }
    let made = document.to_pretty_json().expect("it can be written") + "\n";
    let kept = file("docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&kept, &made).expect("docs can be written to");
    }
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is stale: run `make openapi`, and review what has changed");
}

/// A handler that documents `body = Chat` would replace the schema of the item by the one of its members.
#[test]
fn every_item_has_an_id_and_a_version() {
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file("docs/openapi.json")).expect("read")).expect("it is JSON");
    let paths: BTreeMap<String, serde_json::Value> = serde_json::from_value(document["paths"].clone()).expect("paths");
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
