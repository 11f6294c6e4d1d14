//! `docs/adding-a-resource.md`, followed step by step in a copy of the workspace.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use local::template::Template;
use serde_json::{Value, json};
use test_support::{SigningKey, in_memory_with};

use crate::{
    events::event,
    stack::{file, program, workspace},
    standalone::{ISSUER, start_with},
};

const DOCUMENT: &str = "docs/adding-a-resource.md";
/// What is made from the workspace, and no part of it.
const MADE: [&str; 7] = [".aws-sam", ".git", ".local", ".tools", "dist", "node_modules", "target"];

/// A copy of the workspace. Its files keep their times, so that cargo builds only what has changed since the last run.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let copy = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide"));
        // There is none yet on the first run.
        let _ = fs::remove_dir_all(&copy.0);
        copy.add_folder(Path::new(""));
        // Cargo knows a workspace's packages by name and version, not by where they are. With versions of their own, those
        // of the copy are not taken for those of the workspace in the target folder that both use.
        let manifest = Path::new("Cargo.toml");
        let (before, after) = ("[workspace.package]\nversion = \"", "[workspace.package]\nversion = \"9");
        let changed = file("Cargo.toml").replacen(before, after, 1);
        assert!(changed.contains(after), "the workspace's version is missing");
        copy.write(manifest, changed.as_bytes(), modified(manifest));
        copy
    }

    fn add_folder(&self, folder: &Path) {
        for entry in fs::read_dir(workspace().join(folder)).expect("the folder can be read") {
            let entry = entry.expect("it can be read");
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().expect("it has a type");
            if MADE.iter().any(|made| path.ends_with(made)) {
                continue;
            }
            if kind.is_dir() {
                self.add_folder(&path);
            } else if kind.is_file() {
                self.write(&path, &fs::read(entry.path()).expect("it can be read"), modified(&path));
            }
        }
    }

    fn write(&self, path: &Path, content: &[u8], modified: SystemTime) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it is in the copy")).expect("the target folder can be written to");
        fs::write(&path, content).expect("the target folder can be written to");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(modified))
            .expect("it can be written");
    }

    /// Puts a block of the document where its first line says.
    fn apply(&self, path: &str, code: &str) {
        let original = workspace().join(path).exists().then(|| modified(Path::new(path)));
        let changed = match fs::read_to_string(self.0.join(path)) {
            Ok(before) if path == "template.yaml" => {
                before.replacen("Resources:\n", &format!("Resources:\n{code}\n"), 1)
            }
            Ok(before) => before + code,
            Err(_) => code.to_owned(),
        };
        let latest = modified(Path::new(DOCUMENT)).max(original.unwrap_or(SystemTime::UNIX_EPOCH));
        self.write(Path::new(path), changed.as_bytes(), latest);
    }

    /// Runs cargo in the copy, with the dependencies that the workspace has built. Only the new program
    /// is built: the others have the names of the workspace's.
    fn cargo(&self, arguments: &[&str]) {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in target");
        let ran = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("cargo runs");
        assert!(ran.status.success(), "cargo {arguments:?} fails:\n{}", String::from_utf8_lossy(&ran.stderr));
    }
}

fn modified(path: &Path) -> SystemTime {
    workspace().join(path).metadata().and_then(|metadata| metadata.modified()).expect("it has a time")
}

/// The document's blocks, each with the path that its fence names.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let fenced = document.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (fence, code) = block.split_once('\n').expect("a fence ends its line");
            let (_, path) = fence.split_once(' ').unwrap_or_else(|| panic!("no file is named for:\n{code}"));
            (path, code)
        })
        .collect()
}

#[tokio::test]
async fn the_guide_leads_to_a_resource_that_keeps_users_apart() {
    // The workspace is built first, so that only what the guide adds is built here.
    program("chats");
    let copy = Copy::new();
    let document = file(DOCUMENT);
    let blocks = blocks(&document);
    assert_eq!(blocks.len(), 6, "{blocks:?}");
    for (path, code) in blocks {
        copy.apply(path, &format!("{code}\n"));
    }
    // For the whole workspace, so that dependencies have the features with which they have been built already.
    copy.cargo(&["build", "--offline", "--quiet", "--workspace", "--bin", "notes"]);
    copy.cargo(&["fmt", "--package", "notes", "--check"]);
    // The first step changes what other tests read.
    copy.cargo(&["test", "--offline", "--quiet", "--workspace", "--lib"]);

    let template = Template::read(&copy.0).expect("the guide's part fits");
    let database = in_memory_with(&template).await.expect("the engine starts");
    let key = SigningKey::generate().expect("a key");
    let pem = key.public_key_pem().expect("it has a public half");
    let function = template.functions.iter().find(|function| function.binary == "notes").expect("it is declared");
    let mut variables: Vec<_> = function.tables.iter().map(|(name, table)| (name.as_str(), table.as_str())).collect();
    variables.extend([
        ("AWS_ENDPOINT_URL_DYNAMODB", database.url()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
    ]);
    let notes = start_with("notes", &variables).await;
    let call = |user: &str, method: &str, path: &str, body: Value| {
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let token = key.session_token(ISSUER, user, "sess_1", now, &json!({})).expect("signed");
        let mut event = event(method, path, &token);
        event["body"] = json!(body.to_string());
        notes.invoke(event)
    };

    let (status, _, created) = call("user_ada", "POST", "/notes", json!({ "text": "Call Charles" })).await;
    assert_eq!((status, &created["text"]), (json!(201), &json!("Call Charles")));
    let (_, _, listed) = call("user_ada", "GET", "/notes", Value::Null).await;
    assert_eq!(listed, json!([created]));
    let (_, _, others) = call("user_eve", "GET", "/notes", Value::Null).await;
    assert_eq!(others, json!([]));

    let path = format!("/notes/{}", created["id"].as_str().expect("an id"));
    let (status, _, problem) = call("user_eve", "DELETE", &path, Value::Null).await;
    assert_eq!((status, &problem["code"]), (json!(404), &json!("not_found")));
    let (status, _, problem) = call("user_ada", "POST", "/notes", json!({ "text": "" })).await;
    assert_eq!((status, &problem["code"]), (json!(422), &json!("invalid_body")));
    assert_eq!(call("user_ada", "DELETE", &path, Value::Null).await.0, 204);

    let mut unsigned = event("GET", "/notes", "");
    unsigned["headers"] = json!({});
    let (status, _, problem) = notes.invoke(unsigned).await;
    assert_eq!((status, &problem["code"]), (json!(401), &json!("token_missing")));
}
