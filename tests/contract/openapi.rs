//! `docs/openapi.json` says what the functions do: it is made from their types and routes.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails where something is missing")]

use std::{fs, path::Path};

use api::Code;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

const DESCRIPTION: &str = "People sign in with Clerk; their chats and profile are kept for them and shown to nobody else.

Times are milliseconds since the epoch. Every answer that is not a success is a problem (RFC 9457), whose `code` is one of:

";

const COMPATIBILITY: &str = "
Besides, API Gateway answers 429 by itself, with `{\"message\"}` alone, to more requests than are allowed.

New members, codes, parameters that may be left away and paths can come at any time: ignore what you do not know.
Nothing that is described here is removed or changes its meaning under the same path.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Chats and profiles", version = "1.0.0", license(name = "MIT", identifier = "MIT")),
    components(schemas(api::openapi::Problem)),
    modifiers(&Session, &Codes),
    security(("session" = [])),
    servers((url = "http://127.0.0.1:9000", description = "The local stack; deployed, the stack's output ApiUrl.")),
    tags(
        (name = "chats", description = "The caller's chats."),
        (name = "profile", description = "The caller's profile."),
    )
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

#[test]
fn the_document_is_what_the_types_and_routes_say() {
    let mut document = Document::openapi();
    document.merge(chats::Document::openapi());
    document.merge(profile::Document::openapi());
    let made = document.to_pretty_json().expect("it can be written") + "\n";
    let kept = file("docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&kept, &made).expect("docs can be written to");
    }
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is stale: run `make openapi`, and look at what has changed");
}
