//! `cargo dev doctor` on the running stack, with one thing broken at a time.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use axum::{Json, Router, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::spawn_blocking};

use crate::{
    sample::new_id,
    stack::{program, stack},
};

/// The doctor with the data in `folder`.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = stack().command(&program("local"));
    command.env("LOCAL_DATA", folder).arg("doctor").args(arguments);
    command
}

fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("local runs")
}

/// The checks in the doctor's report, which has no secret.
fn checks(doctor: &mut Command) -> Vec<Value> {
    let output = doctor.arg("--json").output().expect("local runs");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    for secret in [stack().webhook_secret(), text(&secrets(stack().data()), "secret_key")] {
        assert!(!printed.contains(&secret), "{printed}");
    }
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let checks = report["checks"].as_array().expect("checks").clone();
    assert_eq!(output.status.success(), failed(&checks).is_empty(), "{printed}");
    checks
}

/// The names of the checks that fail.
fn failed(checks: &[Value]) -> Vec<String> {
    checks.iter().filter(|check| check["passed"] == false).map(|check| text(check, "name")).collect()
}

fn failures(folder: &Path, arguments: &[&str]) -> Vec<String> {
    failed(&checks(&mut command(folder, arguments)))
}

/// The command that repairs what the only failed check finds.
fn fix(checks: &[Value]) -> String {
    let failed: Vec<_> = checks.iter().filter(|check| check["passed"] == false).collect();
    assert_eq!(failed.len(), 1, "{checks:?}");
    text(failed[0], "fix")
}

/// The checks of the stack as if it described itself with these changes.
async fn checks_with(changes: Value, arguments: &'static [&str]) -> Vec<Value> {
    const PATH: &str = "/v1/local-stack";
    let described = reqwest::Client::builder().no_proxy().build().expect("a client");
    let described = described.get(format!("{}{PATH}", stack().clerk()));
    let described = described.bearer_auth(text(&secrets(stack().data()), "secret_key")).send().await;
    let mut described: Value = described.expect("a response").json().await.expect("JSON");
    for (pointer, value) in changes.as_object().expect("changes") {
        *described.pointer_mut(pointer).expect(pointer) = value.clone();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let router = Router::new().route(PATH, get(async || Json(described)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let examined = move || checks(command(stack().data(), arguments).env("CLERK_PORT", port.to_string()));
    spawn_blocking(examined).await.expect("it does not panic")
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

#[tokio::test]
async fn doctor_examines_what_runs_not_the_template() {
    for table in ["SessionsTable", "unheard-of"] {
        let changes = json!({ "/tables/profile/USERS_TABLE": table, "/failing_streams": ["UsersTable has failed."] });
        let checks = checks_with(changes, &[]).await;
        assert_eq!(failed(&checks), ["tables"], "the changes of a wrong table are not examined");
        let tables = checks.iter().find(|check| check["name"] == "tables").expect("the check");
        assert_eq!(tables["sentence"], format!("USERS_TABLE of profile is {table}, not UsersTable."));
    }
    let checks = checks_with(json!({ "/failing_streams": ["UsersTable has failed."] }), &[]).await;
    assert_eq!(failed(&checks), ["streams"]);
    // All that depends on the functions fails as well.
    let changes = json!({ "/not_ready": ["profile has ended: USERS_TABLE is not set."], "/api": "http://127.0.0.1:1" });
    let checks = checks_with(changes, &[]).await;
    assert_eq!(failed(&checks), ["functions"]);
    assert_eq!(checks[0]["sentence"], "profile has ended: USERS_TABLE is not set.");
}

#[tokio::test]
async fn fixes_keep_the_settings_of_the_stack() {
    let changes = json!({ "/more_origins": ["http://localhost:4000"], "/failing_streams": ["UsersTable has failed."] });
    let fix_of_stream = fix(&checks_with(changes.clone(), &[]).await);
    let data = format!("LOCAL_DATA={} WEB_ORIGINS=http://localhost:4000 make run", stack().data().display());
    assert!(fix_of_stream.contains(&data) && fix_of_stream.contains("API_PORT="), "{fix_of_stream}");

    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "azp": "https://evil.example" }).to_string());
    let token: &'static str = format!("e30.{claims}.AAAA").leak();
    let options: &[&str] = vec!["--origin", "http://localhost:5173", "--token", token].leak();
    let mut found = checks_with(json!({ "/more_origins": ["http://localhost:4000"] }), options).await;
    assert_eq!(failed(&found), ["parties", "token-form"]);
    found.retain(|check| check["name"] == "parties");
    let fix_of_party = fix(&found);
    let origins = "WEB_ORIGINS=http://localhost:4000,http://localhost:5173 make run";
    assert!(fix_of_party.contains(origins), "a token of another machine is not trusted: {fix_of_party}");

    let found = checks(command(stack().data(), &[]).env("CLERK_PORT", "1"));
    assert_eq!(failed(&found), ["running"]);
    assert_eq!(fix(&found), format!("CLERK_PORT=1 LOCAL_DATA={} make run", stack().data().display()));
}

#[test]
fn doctor_does_not_need_a_proxy() {
    let id = format!("user_{}", new_id().replace('-', ""));
    stack().local(&["user", "create", "--id", &id, "--email", "ada@example.com"]);
    let token = stack().local(&["token", "--user", &id]);
    let mut doctor = command(stack().data(), &["--token", &token]);
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1"));
    assert_eq!(failed(&checks(doctor.envs(proxies))), [] as [&str; 0]);
}

#[test]
fn report_that_cannot_be_written_is_a_failure() {
    for arguments in [&["--json"][..], &[]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device of Linux");
        let output = command(stack().data(), arguments).stdout(full).output().expect("local runs");
        assert!(!output.status.success());
    }
}

#[test]
fn what_cannot_be_examined_fails_a_check() {
    let folder = copied();
    fs::remove_file(folder.path().join("aws-credentials")).expect("removed");
    let checks = checks(&mut command(folder.path(), &[]));
    assert_eq!(failed(&checks), ["running"]);
    assert!(text(&checks[0], "sentence").contains("access key of DynamoDB is missing"), "{checks:?}");
    let fix = fix(&checks);
    assert!(fix.contains("API_PORT=") && fix.ends_with(" make run # stop the running stack first"), "{fix}");
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
