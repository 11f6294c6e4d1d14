//! The development Clerk, through its program, with a test receiver of webhooks.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use local::clerk::{Clerk, ORIGIN};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::Command,
    sync::{Mutex, mpsc},
};

/// Receives webhooks, with configurable responses.
struct Receiver {
    answers: Arc<Mutex<Vec<StatusCode>>>,
    outcomes: Arc<Mutex<Vec<&'static str>>>,
    deliveries: mpsc::UnboundedSender<(HeaderMap, Bytes)>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    receiver.deliveries.send((headers, body)).expect("the test waits for it");
    let outcome = receiver.outcomes.lock().await.pop().unwrap_or("changed");
    (receiver.answers.lock().await.pop().unwrap_or(StatusCode::OK), [("event-outcome", outcome)])
}

struct Instance {
    clerk: Arc<Clerk>,
    port: u16,
    folder: tempfile::TempDir,
    webhook_url: String,
    answers: Arc<Mutex<Vec<StatusCode>>>,
    /// The outcomes of the next events, the last first; then `changed`.
    outcomes: Arc<Mutex<Vec<&'static str>>>,
    deliveries: mpsc::UnboundedReceiver<(HeaderMap, Bytes)>,
}

impl Instance {
    /// Starts one whose receiver responds with `answers`, the last first, and then with 200.
    async fn start(folder: tempfile::TempDir, answers: &[StatusCode]) -> Self {
        let (deliveries, received) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let receiver = Receiver { answers: Arc::clone(&answers), outcomes: Arc::clone(&outcomes), deliveries };
        let receiver = Arc::new(receiver);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let webhook_url = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new().route("/", post(receive)).with_state(receiver);
        tokio::spawn(async move { axum::serve(listener, router).await });

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let issuer = format!("http://127.0.0.1:{port}");
        let clerk =
            Clerk::load(folder.path(), issuer, vec![ORIGIN.to_owned()], webhook_url.clone()).expect("it starts");
        clerk.serve(listener);
        Self { clerk, port, folder, webhook_url, answers, outcomes, deliveries: received }
    }

    async fn command(&self, arguments: &[&str]) -> std::process::Output {
        command(self.port, self.folder.path(), arguments).await
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    /// The next delivery, with a valid signature.
    async fn delivery(&mut self) -> (HeaderMap, Value) {
        let (headers, body) = self.deliveries.recv().await.expect("a delivery");
        let verifier = svix::webhooks::Webhook::new(&self.clerk.secrets().webhook_secret).expect("a secret");
        verifier.verify(&body, &headers).expect("signed as Svix signs");
        (headers, serde_json::from_slice(&body).expect("an event is JSON"))
    }
}

async fn command(port: u16, folder: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).env("CLERK_PORT", port.to_string()).env("LOCAL_DATA", folder);
    command.output().await.expect("it runs")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn sign_up_sign_in_and_sign_out_send_webhooks() {
    let mut clerk = Instance::start(folder(), &[]).await;
    let create = [
        "user",
        "create",
        "--id",
        "user_ada",
        "--email",
        "ada@example.com",
        "--first-name",
        "Ada",
        "--image-url",
        "https://a",
    ];
    clerk.succeeds(&create).await;
    let (_, created) = clerk.delivery().await;
    assert_eq!((&created["type"], &created["object"]), (&json!("user.created"), &json!("event")));
    let user = &created["data"];
    assert_eq!(
        (&user["id"], &user["first_name"], &user["last_name"]),
        (&json!("user_ada"), &json!("Ada"), &json!(null))
    );
    assert_eq!(user["email_addresses"][0]["id"], user["primary_email_address_id"]);
    assert_eq!(user["email_addresses"][0]["email_address"], "ada@example.com");

    clerk.succeeds(&["user", "update", "--id", "user_ada", "--last-name", "Lovelace", "--first-name", ""]).await;
    let (_, updated) = clerk.delivery().await;
    assert_eq!(updated["type"], "user.updated");
    assert_eq!((&updated["data"]["first_name"], &updated["data"]["last_name"]), (&json!(null), &json!("Lovelace")));
    assert!(updated["data"]["updated_at"].as_u64() > user["updated_at"].as_u64());

    let session = clerk.succeeds(&["sign-in", "--user", "user_ada"]).await;
    assert_eq!(clerk.delivery().await.1["type"], "session.created");
    assert_eq!(clerk.succeeds(&["token", "--user", "user_ada"]).await.split('.').count(), 3);
    clerk.succeeds(&["sign-out", "--session", &session]).await;
    let (_, ended) = clerk.delivery().await;
    assert_eq!((&ended["type"], &ended["data"]["id"]), (&json!("session.ended"), &json!(session)));
    assert_eq!(ended["data"]["user_id"], "user_ada");

    // Requesting a token signs a user in.
    clerk.succeeds(&["token", "--user", "user_ada"]).await;
    assert_eq!(clerk.delivery().await.1["type"], "session.created");
    clerk.succeeds(&["user", "ban", "--id", "user_ada"]).await;
    let mut kinds = [clerk.delivery().await.1, clerk.delivery().await.1].map(|event| event["type"].to_string());
    kinds.sort();
    assert_eq!(kinds, ["\"session.revoked\"", "\"user.updated\""]);
    assert!(clerk.fails(&["token", "--user", "user_ada"]).await.contains("banned"));
    clerk.succeeds(&["user", "unban", "--id", "user_ada"]).await;
    assert_eq!(clerk.delivery().await.1["data"]["banned"], false);
    clerk.succeeds(&["user", "delete", "--id", "user_ada"]).await;
    let (_, deleted) = clerk.delivery().await;
    assert_eq!((&deleted["type"], &deleted["data"]["deleted"]), (&json!("user.deleted"), &json!(true)));
}

#[tokio::test]
async fn tokens_of_members_have_their_organization() {
    let mut clerk = Instance::start(folder(), &[]).await;
    for user in ["ada", "eve"] {
        let (id, email) = (format!("user_{user}"), format!("{user}@example.com"));
        clerk.succeeds(&["user", "create", "--id", &id, "--email", &email]).await;
        clerk.delivery().await;
    }
    let id = clerk.succeeds(&["organization", "create", "--name", "Acme", "--user", "user_ada"]).await;
    let mut kinds = [clerk.delivery().await.1, clerk.delivery().await.1].map(|event| event["type"].to_string());
    kinds.sort();
    assert_eq!(kinds, ["\"organization.created\"", "\"organizationMembership.created\""]);
    let token = ["token", "--user", "user_eve", "--organization", &id];
    assert!(clerk.fails(&token).await.contains("organization"));
    clerk.succeeds(&["organization", "add", "--id", &id, "--user", "user_eve"]).await;
    assert_eq!(clerk.delivery().await.1["data"]["role"], "org:member");
    clerk.succeeds(&["role", "--key", "org:member", "--permissions", "org:notes:read,org:notes:unpin"]).await;
    let claims = claims(&clerk.succeeds(&token).await);
    assert_eq!(claims["o"], json!({ "id": id, "slg": "acme", "rol": "member", "per": "read,unpin", "fpm": "3" }));
    let session = &claims["sid"];
    assert_eq!(&self::claims(&clerk.succeeds(&token).await)["sid"], session, "the session is used again");
    assert_eq!(self::claims(&clerk.succeeds(&["token", "--user", "user_eve"]).await)["o"], json!(null));
}

fn claims(token: &str) -> Value {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    serde_json::from_slice(&claims).expect("JSON")
}

#[tokio::test]
async fn webhooks_are_retried_with_the_same_id_and_a_new_timestamp() {
    let failures = [StatusCode::FOUND, StatusCode::BAD_REQUEST, StatusCode::SERVICE_UNAVAILABLE];
    let mut clerk = Instance::start(folder(), &failures).await;
    clerk.succeeds(&["user", "create", "--id", "user_ada", "--email", "ada@example.com"]).await;
    let (first, event) = clerk.delivery().await;
    for _ in failures {
        let (again, same) = clerk.delivery().await;
        assert_eq!((&again["svix-id"], &same), (&first["svix-id"], &event));
    }
    assert!(clerk.deliveries.try_recv().is_err(), "an accepted webhook is not sent again");
}

#[tokio::test]
async fn keys_users_and_undelivered_webhooks_survive_a_restart() {
    let never = vec![StatusCode::SERVICE_UNAVAILABLE; 1000];
    let mut clerk = Instance::start(folder(), &never).await;
    let output = clerk.command(&["user", "create", "--id", "user_ada", "--email", "ada@example.com"]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("user.created not delivered yet (503)"));
    let (headers, event) = clerk.delivery().await;
    let (key, secret) = (clerk.clerk.jwks(), clerk.clerk.secrets().webhook_secret.clone());

    let mut clerk = Instance::start(clerk.folder, &[]).await;
    assert_eq!(clerk.clerk.jwks(), key);
    assert_eq!(clerk.clerk.secrets().webhook_secret, secret);
    clerk.clerk.resume();
    let (again, same) = clerk.delivery().await;
    assert_eq!((&again["svix-id"], same), (&headers["svix-id"], event));
    clerk.succeeds(&["token", "--user", "user_ada"]).await;
}

#[tokio::test]
async fn a_damaged_signing_secret_is_replaced_and_the_other_secrets_stay() {
    let clerk = Instance::start(folder(), &[]).await;
    let (keys, secret_key) = (clerk.clerk.jwks(), clerk.clerk.secrets().secret_key.clone());
    let secret = clerk.clerk.secrets().webhook_secret.clone();
    let path = clerk.folder.path().join("clerk-secrets.json");
    let secrets = std::fs::read_to_string(&path).expect("it is there").replace(&secret, "whsec_short");
    std::fs::write(&path, secrets).expect("writable");

    let mut clerk = Instance::start(clerk.folder, &[]).await;
    assert_eq!((clerk.clerk.jwks(), &clerk.clerk.secrets().secret_key), (keys, &secret_key));
    clerk.succeeds(&["user", "create", "--id", "user_ada", "--email", "ada@example.com"]).await;
    // It is verified with the new secret.
    clerk.delivery().await;
    let stored = std::fs::read_to_string(path).expect("it is there");
    assert!(stored.contains(&clerk.clerk.secrets().webhook_secret), "it is the same after another restart");
}

#[tokio::test]
async fn invalid_commands_are_rejected_with_the_reason() {
    let clerk = Instance::start(folder(), &[]).await;
    let create = ["user", "create", "--id", "user_ada", "--email", "ada@example.com"];
    clerk.succeeds(&create).await;
    let deleted = ["user", "create", "--id", "user_bob", "--email", "bob@example.com"];
    clerk.succeeds(&deleted).await;
    clerk.succeeds(&["user", "delete", "--id", "user_bob"]).await;
    let cases: [(&[&str], &str); 9] = [
        (&create, "A user has the id user_ada already"),
        (&deleted, "The user user_bob was deleted, and Clerk never reuses an id"),
        (&["user", "create", "--id", "a/b", "--email", "a@example.com"], "An id has only letters, digits"),
        (&["user", "create", "--id", "user_eve", "--email", "eve"], "\"eve\" is not an email address"),
        (&["user", "update", "--id", "user_eve"], "No user has the id user_eve"),
        (&["user", "delete", "--id", "user_eve"], "No user has the id user_eve"),
        (&["sign-in", "--user", "user_eve"], "No user has the id user_eve"),
        (&["token", "--user", "user_eve"], "No user has the id user_eve"),
        (&["sign-out", "--session", "sess_1"], "No session has the id sess_1"),
    ];
    for (arguments, expected) in cases {
        let errors = clerk.fails(arguments).await;
        assert!(errors.contains(expected), "{arguments:?} printed {errors}");
    }

    let other_port = command(1, clerk.folder.path(), &["token", "--user", "user_ada"]).await;
    let errors = String::from_utf8_lossy(&other_port.stderr);
    assert!(errors.contains("the local stack is not running on port 1. Start it with `make run`"), "{errors}");
    let never_run = command(clerk.port, folder().path(), &["token", "--user", "user_ada"]).await;
    assert!(String::from_utf8_lossy(&never_run.stderr).contains("the local stack has never run"));

    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    // Another stack may run on the default port of the application.
    let run = clerk.command(&["run", "--web-port", "0", "--dynamodb-port", &port]).await;
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(errors.contains(&format!("port {port} is not available. Set DYNAMODB_PORT to another")), "{errors}");

    for origin in ["", "localhost:5173", "http://localhost:5173/", "http://Localhost:5173", "http://localhost:80", "*"]
    {
        let run = clerk.command(&["run", "--dynamodb-port", &port, "--origins", origin]).await;
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(errors.contains("write it as browsers do"), "{origin}: {errors}");
    }
}

#[tokio::test]
async fn sample_events_report_that_they_sign_a_user_up() {
    let clerk = Instance::start(folder(), &[]).await;
    for is_new in [true, false] {
        let output = clerk.command(&["event", "profile", "get-profile"]).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert_eq!(errors.contains("signed up user_example"), is_new, "{errors}");
    }
}

#[tokio::test]
async fn help_lists_only_the_options_of_a_command() {
    for (arguments, has_clerk_port, has_web_port) in [
        (&["run", "--help"][..], true, true),
        (&["user", "create", "--help"], true, false),
        (&["resource", "--help"], false, false),
    ] {
        let help = command(1, folder().path(), arguments).await.stdout;
        let help = String::from_utf8(help).expect("UTF-8");
        let has = |option: &str| help.contains(option);
        assert_eq!((has("--clerk-port"), has("--web-port")), (has_clerk_port, has_web_port), "{help}");
    }
}

#[tokio::test]
async fn the_backend_api_is_closed_without_the_secret_key() {
    let clerk = Instance::start(folder(), &[]).await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", clerk.port);
    for path in ["/v1/users", "/v1/users/user_ada", "/v1/sessions?user_id=user_ada"] {
        let answer = http.get(url(path)).bearer_auth("sk_test_wrong").send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{path}");
    }
    let configuration = http.get(url("/.well-known/openid-configuration")).send().await.expect("an answer");
    let configuration: Value = configuration.json().await.expect("JSON");
    let keys = http.get(configuration["jwks_uri"].as_str().expect("a URL")).send().await.expect("an answer");
    assert_eq!(keys.json::<Value>().await.expect("JSON"), clerk.clerk.jwks());
}

/// Runs `reconcile` against an instance and its receiver of webhooks.
async fn reconcile(clerk: &Instance, extra: &[&str]) -> std::process::Output {
    let mut arguments = vec!["reconcile", "--webhook-url", &clerk.webhook_url, "--page", "2"];
    arguments.extend(extra);
    clerk.command(&arguments).await
}

#[tokio::test]
async fn interrupted_reconciliation_continues_with_the_next_user() {
    let mut clerk = Instance::start(folder(), &[]).await;
    let mut instance_id = Value::Null;
    for number in 0..5 {
        let (id, email) = (format!("user_{number}"), format!("{number}@example.com"));
        clerk.succeeds(&["user", "create", "--id", &id, "--email", &email]).await;
        instance_id = clerk.delivery().await.1["instance_id"].clone();
    }
    let output = reconcile(&clerk, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = "users: 5, changed: 5, already current: 0, failed: 0";
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), counts);
    for number in 0..5 {
        let (_, event) = clerk.delivery().await;
        assert_eq!(event["instance_id"], instance_id);
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("user.updated"), &json!(format!("user_{number}"))));
    }

    // The third user is rejected once.
    *clerk.answers.lock().await = vec![StatusCode::BAD_REQUEST, StatusCode::OK, StatusCode::OK];
    let output = reconcile(&clerk, &[]).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("stopped at user 2. Run it again to continue there"),
        "{errors}"
    );
    let output = reconcile(&clerk, &[]).await;
    let rest = "users: 3, changed: 3, already current: 0, failed: 0";
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), rest);
    let output = reconcile(&clerk, &["--restart"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), counts);

    let rejected = reconcile(&clerk, &["--secret-key", "sk_test_wrong"]).await;
    assert!(String::from_utf8_lossy(&rejected.stderr).contains("Clerk rejects this CLERK_SECRET_KEY"));
    let unreachable = reconcile(&clerk, &["--api-url", "http://127.0.0.1:1"]).await;
    let errors = String::from_utf8_lossy(&unreachable.stderr);
    assert!(
        errors.contains("Clerk's Backend API does not respond at http://127.0.0.1:1. Set CLERK_API_URL"),
        "{errors}"
    );
}

#[tokio::test]
async fn reconciling_counts_the_outcomes_of_events() {
    let mut clerk = Instance::start(folder(), &[]).await;
    for number in 0..4 {
        let (id, email) = (format!("user_{number}"), format!("{number}@example.com"));
        clerk.succeeds(&["user", "create", "--id", &id, "--email", &email]).await;
        clerk.delivery().await;
    }
    *clerk.outcomes.lock().await = vec!["known", "invalid", "known", "changed"];
    let output = reconcile(&clerk, &[]).await;
    let counts = "users: 4, changed: 1, already current: 2, failed: 1";
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), counts);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("user_2 failed"), "{errors}");
}

#[tokio::test]
async fn reconciling_honors_retry_after() {
    let mut clerk = Instance::start(folder(), &[]).await;
    clerk.succeeds(&["user", "create", "--id", "user_ada", "--email", "ada@example.com"]).await;
    clerk.delivery().await;
    *clerk.answers.lock().await = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    let output = reconcile(&clerk, &[]).await;
    let counts = "users: 1, changed: 1, already current: 0, failed: 0";
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), counts);
    let (first, _) = clerk.delivery().await;
    for _ in 0..2 {
        assert_eq!(clerk.delivery().await.0["svix-id"], first["svix-id"], "the same message, sent again");
    }
}
