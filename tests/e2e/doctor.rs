//! `cargo dev doctor` on the running stack, with one thing broken at a time.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    sample::new_id,
    stack::{program, stack},
};

/// Runs the doctor with the data in `folder`.
fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = stack().command(&program("local"));
    command.env("LOCAL_DATA", folder).arg("doctor").args(arguments);
    command.output().expect("local runs")
}

/// The names of the checks that fail. No other text has a secret.
fn failures(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let output = doctor(folder, &arguments);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let failed = checks.iter().filter(|check| check["passed"] == false);
    let failed: Vec<_> = failed.map(|check| check["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(output.status.success(), failed.is_empty(), "{printed}");
    for secret in [stack().webhook_secret(), text(&secrets(stack().data()), "secret_key")] {
        assert!(!printed.contains(&secret), "{printed}");
    }
    failed
}

fn secrets(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("clerk-secrets.json")).expect("it is there")).expect("JSON")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().expect("a text").to_owned()
}

/// A private copy of the stack's secrets and credentials.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("private");
    for name in ["clerk-secrets.json", "aws-credentials"] {
        fs::copy(stack().data().join(name), folder.path().join(name)).expect("copied");
    }
    folder
}

#[test]
fn doctor_finds_nothing_on_the_running_stack() {
    let id = format!("user_{}", new_id().replace('-', ""));
    stack().local(&["user", "create", "--id", &id, "--email", "ada@example.com"]);
    let token = stack().local(&["token", "--user", &id]);
    assert_eq!(failures(stack().data(), &["--token", &token]), [] as [&str; 0]);
    let output = doctor(stack().data(), &["--token", &token]);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(printed.contains("✓ signature") && printed.contains("✓ token-session"), "{printed}");
    let (_, signature) = token.rsplit_once('.').expect("a token");
    assert!(!printed.contains(signature), "{printed}");
}

#[test]
fn doctor_finds_what_is_broken() {
    let folder = copied();
    for (secret, check) in [("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "signature"), ("whsec_c2hvcnQ=", "secret")] {
        let mut changed = secrets(stack().data());
        changed["webhook_secret"] = json!(secret);
        fs::write(folder.path().join("clerk-secrets.json"), changed.to_string()).expect("written");
        assert_eq!(failures(folder.path(), &[]), [check]);
    }
    assert_eq!(failures(stack().data(), &["--origin", "http://localhost:5173"]), ["parties"]);
    let encoded = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let token = |header: Value| format!("{}.{}.AAAA", encoded(header), encoded(json!({ "sub": "user_ada" })));
    for (token, check) in [
        ("not.a.token".to_owned(), "token-form"),
        (token(json!({ "alg": "HS256", "typ": "JWT", "kid": "ins_1" })), "token-header"),
        (token(json!({ "alg": "RS256", "typ": "JWT", "kid": "ins_1" })), "token-key"),
    ] {
        assert_eq!(failures(stack().data(), &["--token", &token]), [check]);
    }

    let folder = copied();
    let readable = folder.path().join("aws-credentials");
    fs::set_permissions(readable, Permissions::from_mode(0o644)).expect("readable");
    assert_eq!(failures(folder.path(), &[]), ["permissions"]);

    assert_eq!(failures(tempfile::tempdir().expect("a folder").path(), &[]), ["running"]);
}

#[test]
fn doctor_says_what_repairs_a_failure() {
    let output = doctor(stack().data(), &["--origin", "http://localhost:5173"]);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        printed.contains("✗ parties") && printed.contains("WEB_ORIGINS=http://localhost:5173 make run"),
        "{printed}"
    );
    let errors = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(errors.contains("1 of") && errors.contains("checks failed"), "{errors}");
}
