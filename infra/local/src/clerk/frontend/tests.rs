//! The endpoints, as Clerk's SDK calls them in a browser.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{cookie_suffix, cookies::client_name, picture, publishable_key};
use crate::{
    clerk::{Clerk, ORIGIN, routes},
    web,
};

/// The origin of a second front end.
const OTHER_ORIGIN: &str = "http://localhost:3100";

struct Instance {
    clerk: Arc<Clerk>,
    folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// A header of the response.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    #[track_caller]
    fn is_error(&self, status: StatusCode, code: &str) {
        assert_eq!((self.status, &self.body["errors"][0]["code"]), (status, &json!(code)), "{}", self.body);
        assert!(self.body["errors"][0]["long_message"].is_string());
    }
}

async fn send(router: Router, request: Request) -> Answer {
    let response = router.oneshot(request).await.expect("it answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
}

impl Instance {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("_headers"), "/*\n").expect("written");
        // Nothing listens on this port, so webhooks stay in the outbox.
        let url = "http://127.0.0.1:9".to_owned();
        let origins = vec![ORIGIN.to_owned(), OTHER_ORIGIN.to_owned()];
        let clerk = Clerk::load(folder.path(), url.clone(), origins, url).expect("it starts");
        Self { clerk, folder }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { instance: self, cookies: BTreeMap::new() }
    }

    /// Calls the Backend API.
    async fn backend(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", self.clerk.secrets().secret_key));
        let router = routes::router(Arc::clone(&self.clerk));
        send(router, request.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn allow_several_sessions(&self) {
        let answer = self.backend("PATCH", "/v1/instance", &json!({ "single_session_mode": false })).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }

    /// The events that were sent, in order.
    fn events(&self) -> Vec<(String, Value)> {
        self.clerk.read(|state| {
            let events = state.outbox.values();
            let data = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["data"].clone();
            events.map(|message| (message.kind.clone(), data(&message.body))).collect()
        })
    }

    fn kinds(&self) -> Vec<String> {
        self.events().into_iter().map(|(kind, _)| kind).collect()
    }
}

/// A browser that keeps its cookies.
struct Browser<'a> {
    instance: &'a Instance,
    cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await
    }

    async fn send(&mut self, method: &str, path: &str, form: &str) -> Answer {
        self.send_with(method, &format!("/clerk{path}"), &[], form).await
    }

    async fn send_with(&mut self, method: &str, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:3000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let Instance { clerk, folder } = self.instance;
        let application = web::router(folder.path()).expect("the application is built");
        let router = web::with_clerk(3000, application, clerk, clerk.origins.clone());
        let answer = send(router, request.body(Body::from(form.to_owned())).expect("a request")).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().expect("ASCII").split_once('=').expect("a name");
            let value = rest.split(';').next().expect("a value");
            if value.is_empty() {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        answer
    }

    /// Signs a user up, and returns the session's id.
    async fn sign_up(&mut self, email: &str) -> String {
        let answer = self.post("/v1/client/sign_ups", &format!("email_address={}", email.replace('+', "%2B"))).await;
        assert_eq!(answer.body["response"]["status"], "complete", "{}", answer.body);
        text(&answer.body["response"]["created_session_id"])
    }

    /// The ids of its sessions, and of the one that was used last.
    async fn sessions(&mut self) -> (Vec<String>, Value) {
        let client = self.get("/v1/client").await.body["response"].clone();
        let sessions = client["sessions"].as_array().expect("a client").clone();
        (sessions.iter().map(|session| text(&session["id"])).collect(), client["last_active_session_id"].clone())
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn claims(token: &Value) -> Value {
    let token = text(token);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    serde_json::from_slice(&claims).expect("JSON")
}

#[tokio::test]
async fn sign_up_opens_a_session_in_the_browser() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    assert_eq!(browser.get("/v1/client").await.body, json!({ "response": null, "client": null }));

    let form = "email_address=ada%40example.com&first_name=Ada&last_name=";
    let answer = browser.post("/v1/client/sign_ups", form).await;
    let (sign_up, client) = (&answer.body["response"], &answer.body["client"]);
    assert_eq!((&sign_up["status"], &sign_up["first_name"]), (&json!("complete"), &json!("Ada")));
    let session = &client["sessions"][0];
    assert_eq!(session["id"], sign_up["created_session_id"]);
    assert_eq!((&session["id"], &session["client_id"]), (&client["last_active_session_id"], &client["id"]));
    assert_eq!((&session["user"]["id"], &session["user"]["last_name"]), (&sign_up["created_user_id"], &json!(null)));
    assert_eq!(session["public_user_data"]["identifier"], "ada@example.com");
    let claims = claims(&session["last_active_token"]["jwt"]);
    assert_eq!((&claims["sub"], &claims["sid"]), (&session["user"]["id"], &session["id"]));
    assert_eq!(clerk.kinds(), ["user.created", "session.created"]);
    assert_eq!(browser.get("/v1/client").await.body["response"]["sessions"][0]["id"], session["id"]);
}

#[tokio::test]
async fn unknown_users_sign_up_and_known_ones_sign_in() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let unknown = browser.post("/v1/client/sign_ins", "identifier=ada%40example.com").await;
    unknown.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_identifier_not_found");
    assert_eq!(unknown.body["errors"][0]["meta"]["param_name"], "identifier");
    browser.sign_up("ada@example.com").await;

    let mut other = clerk.browser();
    let taken = other.post("/v1/client/sign_ups", "email_address=Ada%40Example.com").await;
    taken.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_identifier_exists");
    assert_eq!(taken.body["errors"][0]["meta"]["param_name"], "email_address");
    let malformed = other.post("/v1/client/sign_ups", "email_address=ada").await;
    malformed.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_param_format_invalid");
    let entered = other.post("/v1/client/sign_ins", "identifier=ADA%40example.com").await;
    assert_eq!(entered.body["response"]["status"], "complete");
    assert_eq!(entered.body["response"]["created_session_id"], entered.body["client"]["sessions"][0]["id"]);
    assert_eq!(clerk.kinds(), ["user.created", "session.created", "session.created"]);
}

#[tokio::test]
async fn test_email_addresses_need_the_code() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let form = "email_address=ada%2Bclerk_test%40example.com&first_name=Ada";
    let answer = browser.post("/v1/client/sign_ups", form).await;
    let sign_up = &answer.body["response"];
    assert_eq!(
        (&sign_up["status"], &sign_up["unverified_fields"]),
        (&json!("missing_requirements"), &json!(["email_address"]))
    );
    assert_eq!(
        (&answer.body["client"]["sign_up"]["id"], &answer.body["client"]["sessions"]),
        (&sign_up["id"], &json!([]))
    );
    let path = format!("/v1/client/sign_ups/{}", text(&sign_up["id"]));
    browser.post(&format!("{path}/prepare_verification"), "strategy=email_code").await;
    let wrong = browser.post(&format!("{path}/attempt_verification"), "strategy=email_code&code=111111").await;
    wrong.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_code_incorrect");
    assert_eq!(wrong.body["errors"][0]["meta"]["param_name"], "code");
    let updated = browser.post(&format!("{path}?_method=PATCH"), "last_name=Lovelace").await;
    assert_eq!(updated.body["response"]["status"], "missing_requirements");
    assert!(clerk.kinds().is_empty());

    let stranger = clerk.browser().post(&format!("{path}/attempt_verification"), "code=424242").await;
    stranger.is_error(StatusCode::NOT_FOUND, "resource_not_found");
    let done = browser.post(&format!("{path}/attempt_verification"), "strategy=email_code&code=424242").await;
    assert_eq!((&done.body["response"]["status"], &done.body["client"]["sign_up"]), (&json!("complete"), &json!(null)));
    let user = &done.body["client"]["sessions"][0]["user"];
    assert_eq!((&user["first_name"], &user["last_name"]), (&json!("Ada"), &json!("Lovelace")));

    let mut other = clerk.browser();
    let answer = other.post("/v1/client/sign_ins", "identifier=ada%2Bclerk_test%40example.com").await;
    let sign_in = &answer.body["response"];
    assert_eq!(sign_in["status"], "needs_first_factor");
    assert_eq!(sign_in["supported_first_factors"][0]["strategy"], "email_code");
    let path = format!("/v1/client/sign_ins/{}", text(&sign_in["id"]));
    let password = other.post(&format!("{path}/attempt_first_factor"), "strategy=password&password=x").await;
    password.is_error(StatusCode::UNPROCESSABLE_ENTITY, "strategy_for_user_invalid");
    let prepared = other.post(&format!("{path}/prepare_first_factor"), "strategy=email_code").await;
    assert_eq!(prepared.body["response"]["first_factor_verification"]["status"], "unverified");
    let wrong = other.post(&format!("{path}/attempt_first_factor"), "strategy=email_code&code=").await;
    wrong.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_code_incorrect");
    assert_eq!(other.get(&path).await.body["response"]["id"], sign_in["id"]);
    let done = other.post(&format!("{path}/attempt_first_factor"), "strategy=email_code&code=424242").await;
    assert_eq!((&done.body["response"]["status"], &done.body["client"]["sign_in"]), (&json!("complete"), &json!(null)));
    assert_eq!(other.sessions().await.0.len(), 1);
}

#[tokio::test]
async fn a_browser_holds_sessions_of_several_users() {
    let clerk = Instance::new();
    clerk.allow_several_sessions().await;
    let mut browser = clerk.browser();
    let ada = browser.sign_up("ada@example.com").await;
    let eve = browser.sign_up("eve@example.com").await;
    assert_eq!(browser.sessions().await, (vec![ada.clone(), eve.clone()], json!(eve)));
    assert_eq!(browser.get("/v1/me").await.body["response"]["email_addresses"][0]["email_address"], "eve@example.com");
    let me = browser.get(&format!("/v1/me?_clerk_session_id={ada}")).await;
    assert_eq!(me.body["response"]["email_addresses"][0]["email_address"], "ada@example.com");

    let touched = browser.post(&format!("/v1/client/sessions/{ada}/touch"), "").await;
    assert_eq!(touched.body["response"]["id"], json!(ada));
    let unknown = browser.post(&format!("/v1/client/sessions/{ada}/touch"), "active_organization_id=org_unknown").await;
    unknown.is_error(StatusCode::NOT_FOUND, "resource_not_found");
    assert_eq!(browser.sessions().await.1, json!(ada));
    let removed = browser.post(&format!("/v1/client/sessions/{ada}/remove"), "").await;
    assert_eq!(
        (&removed.body["response"]["status"], &removed.body["response"]["last_active_token"]),
        (&json!("removed"), &json!(null))
    );
    assert_eq!(browser.sessions().await, (vec![eve.clone()], json!(eve)));
    let ended = browser.post(&format!("/v1/client/sessions/{eve}/end"), "").await;
    assert_eq!(ended.body["response"]["status"], "ended");
    assert_eq!(browser.sessions().await, (vec![], json!(null)));
    let again = browser.get("/v1/me").await;
    again.is_error(StatusCode::UNAUTHORIZED, "authentication_invalid");
    assert_eq!(clerk.kinds()[4..], ["session.removed", "session.ended"]);
}

#[tokio::test]
async fn a_browser_has_one_session_by_default() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    clerk.browser().sign_up("eve@example.com").await;
    let single = async |browser: &mut Browser<'_>| {
        browser.get("/v1/environment").await.body["auth_config"]["single_session_mode"].clone()
    };
    assert_eq!(single(&mut browser).await, true);
    let session = browser.sign_up("ada@example.com").await;
    for (path, form) in [
        ("/v1/client/sign_ins", "identifier=eve%40example.com"),
        ("/v1/client/sign_ups", "email_address=bob%40example.com"),
    ] {
        browser.post(path, form).await.is_error(StatusCode::BAD_REQUEST, "session_exists");
    }
    assert_eq!(browser.sessions().await.0, std::slice::from_ref(&session));

    clerk.allow_several_sessions().await;
    assert_eq!(single(&mut browser).await, false);
    let again = browser.post("/v1/client/sign_ins", "identifier=ada%40example.com").await;
    again.is_error(StatusCode::BAD_REQUEST, "identifier_already_signed_in");
    assert_eq!(again.body["errors"][0]["meta"]["session_id"], json!(session));
    browser.post("/v1/client/sign_ins", "identifier=eve%40example.com").await;
    assert_eq!(browser.sessions().await.0.len(), 2);
}

#[tokio::test]
async fn sign_out_ends_every_session_of_the_browser_and_no_other() {
    let clerk = Instance::new();
    clerk.allow_several_sessions().await;
    let (mut browser, mut other) = (clerk.browser(), clerk.browser());
    browser.sign_up("ada@example.com").await;
    browser.sign_up("eve@example.com").await;
    other.post("/v1/client/sign_ins", "identifier=ada%40example.com").await;
    let client = browser.post("/v1/client/sessions?_method=DELETE", "").await;
    assert_eq!((client.status, &client.body["response"]["sessions"]), (StatusCode::OK, &json!([])));
    assert_eq!(other.sessions().await.0.len(), 1);
    assert_eq!(clerk.kinds()[5..], ["session.removed", "session.removed"]);
}

#[tokio::test]
async fn tokens_are_issued_only_to_the_browser_of_the_session() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let session = browser.sign_up("ada@example.com").await;
    let path = format!("/v1/client/sessions/{session}/tokens");
    let token = browser.post(&path, "organization_id=").await;
    assert_eq!((token.status, &claims(&token.body["jwt"])["sid"]), (StatusCode::OK, &json!(session)));
    assert_eq!(token.header("cache-control"), "no-store");
    let mut other = clerk.browser();
    other.sign_up("eve@example.com").await;
    for stranger in [&mut other, &mut clerk.browser()] {
        stranger.post(&path, "").await.is_error(StatusCode::UNAUTHORIZED, "authentication_invalid");
    }
    let mut forged = clerk.browser();
    let name = client_name(&clerk.clerk);
    forged.cookies.insert(name.clone(), "made-up".to_owned());
    forged.sign_up("bob@example.com").await;
    assert_ne!(forged.cookies[&name], "made-up");
    let template = browser.post(&format!("{path}/supabase"), "").await;
    template.is_error(StatusCode::NOT_FOUND, "resource_not_found");
}

#[tokio::test]
async fn users_change_their_names_and_delete_their_account() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    browser.post("/v1/client/sign_ups", "email_address=ada%40example.com&first_name=Ada&last_name=Byron").await;
    let changed = browser.post("/v1/me?_method=PATCH", "first_name=&last_name=Lovelace").await;
    let names = (&changed.body["response"]["first_name"], &changed.body["response"]["last_name"]);
    assert_eq!(names, (&json!(null), &json!("Lovelace")));
    assert_eq!(changed.body["client"]["sessions"][0]["user"]["last_name"], "Lovelace");
    let (kind, data) = clerk.events().pop().expect("an event");
    assert_eq!((kind.as_str(), &data["last_name"]), ("user.updated", &json!("Lovelace")));
    let token = &browser.get("/v1/client").await.body["response"]["sessions"][0]["last_active_token"]["jwt"];
    assert_eq!(claims(token)["lastName"], "Lovelace");

    let unknown = browser.post("/v1/me?_method=PATCH", "username=ada&first_name=Ada").await;
    unknown.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_param_unknown");
    let deleted = browser.post("/v1/me?_method=DELETE", "").await;
    assert_eq!((&deleted.body["response"]["deleted"], &deleted.body["client"]["sessions"]), (&json!(true), &json!([])));
    assert_eq!(clerk.kinds()[3..], ["session.removed", "user.deleted"]);
}

#[tokio::test]
async fn users_upload_and_remove_their_picture() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    browser.sign_up("ada@example.com").await;
    let placeholder = browser.get("/v1/me").await.body["response"]["image_url"].clone();
    assert_eq!(placeholder, format!("{ORIGIN}/clerk/avatar_placeholder.svg"));
    let path = "/clerk/v1/me/profile_image";
    let headers = [("content-type", "multipart/form-data; boundary=part")];
    let form = |name: &str, format: &str, content: &str| {
        format!(
            "--part\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\nContent-Type: {format}\r\n\r\n{content}\r\n--part--\r\n"
        )
    };
    let answer = browser.send_with("POST", path, &headers, &form("file", "image/png", "PNG")).await;
    let url = text(&answer.body["response"]["public_url"]);
    let user = &answer.body["client"]["sessions"][0]["user"];
    assert_eq!((&user["image_url"], &user["has_image"]), (&json!(url), &json!(true)));
    let (kind, data) = clerk.events().pop().expect("an event");
    assert_eq!((kind.as_str(), &data["image_url"]), ("user.updated", &json!(url)));
    let own = url.strip_prefix(ORIGIN).expect("on this origin");
    let picture = clerk.browser().send_with("GET", own, &[], "").await;
    assert_eq!((picture.status, picture.header("content-type")), (StatusCode::OK, "image/png"));
    assert_eq!(picture.header("x-content-type-options"), "nosniff");

    let accepted = "x".repeat(10_000_000);
    assert_eq!(
        browser.send_with("POST", path, &headers, &form("file", "image/png", &accepted)).await.status,
        StatusCode::OK
    );
    let large = "x".repeat(picture::MAX_REQUEST);
    for (name, format, content, code) in [
        ("file", "image/svg+xml", "<svg/>", "avatar_file_type_invalid"),
        ("file", "text/html", "<p>", "avatar_file_type_invalid"),
        ("file", "image/png", large.as_str(), "avatar_file_size_exceeded"),
        ("other", "image/png", "PNG", "form_param_missing"),
    ] {
        let answer = browser.send_with("POST", path, &headers, &form(name, format, content)).await;
        answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, code);
    }
    let elsewhere = browser.post("/v1/client/sign_ins", &format!("identifier={accepted}")).await;
    assert_eq!(elsewhere.status, StatusCode::PAYLOAD_TOO_LARGE, "only pictures can be that large");
    let malformed = browser.send_with("POST", path, &headers, "file=a").await;
    malformed.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_param_format_invalid");

    browser.post("/v1/me/profile_image?_method=DELETE", "").await;
    assert_eq!(browser.get("/v1/me").await.body["response"]["image_url"], placeholder);
    assert_eq!(clerk.events().last().map(|(_, data)| data["image_url"].clone()), Some(json!(null)));
    assert_eq!(clerk.browser().send_with("GET", own, &[], "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn users_see_and_revoke_their_sessions_in_other_browsers() {
    let clerk = Instance::new();
    let (mut browser, mut other, mut stranger) = (clerk.browser(), clerk.browser(), clerk.browser());
    let here = browser.sign_up("ada@example.com").await;
    let elsewhere = other.post("/v1/client/sign_ins", "identifier=ada%40example.com").await;
    let elsewhere = text(&elsewhere.body["response"]["created_session_id"]);
    stranger.sign_up("eve@example.com").await;
    let sessions = browser.get("/v1/me/sessions/active").await.body;
    let sessions: Vec<_> = sessions.as_array().expect("a list").iter().map(|session| text(&session["id"])).collect();
    assert_eq!(sessions, [here, elsewhere.clone()]);
    let revoke = format!("/v1/me/sessions/{elsewhere}/revoke");
    stranger.post(&revoke, "").await.is_error(StatusCode::NOT_FOUND, "resource_not_found");
    assert_eq!(browser.post(&revoke, "").await.body["response"]["status"], "revoked");
    assert_eq!(other.sessions().await.0, [""; 0]);
    assert_eq!(browser.sessions().await.0.len(), 1);
    assert_eq!(clerk.kinds().last().map(String::as_str), Some("session.revoked"));
}

#[tokio::test]
async fn banned_and_deleted_users_are_signed_out() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    for (email, method, action) in [("ada@example.com", "POST", "/ban"), ("eve@example.com", "DELETE", "")] {
        let session = browser.sign_up(email).await;
        let user = text(&browser.get("/v1/me").await.body["response"]["id"]);
        assert_eq!(
            clerk.backend(method, &format!("/v1/users/{user}{action}"), &json!({})).await.status,
            StatusCode::OK
        );
        assert_eq!(browser.sessions().await.0, [""; 0], "{email}");
        let token = browser.post(&format!("/v1/client/sessions/{session}/tokens"), "").await;
        token.is_error(StatusCode::UNAUTHORIZED, "authentication_invalid");
    }
    let banned = browser.post("/v1/client/sign_ins", "identifier=ada%40example.com").await;
    banned.is_error(StatusCode::FORBIDDEN, "user_banned");
    let deleted = browser.post("/v1/client/sign_ins", "identifier=eve%40example.com").await;
    deleted.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_identifier_not_found");
}

/// A user with an organization, in its browser.
struct Admin<'a> {
    browser: Browser<'a>,
    organization: String,
    session: String,
}

impl<'a> Admin<'a> {
    async fn new(clerk: &'a Instance) -> Self {
        let mut browser = clerk.browser();
        let session = browser.sign_up("ada@example.com").await;
        let created = browser.post("/v1/organizations", "name=Acme+%26+Co&slug=").await;
        let organization = text(&created.body["response"]["id"]);
        Self { browser, organization, session }
    }

    /// Adds a user as a member, and returns their browser, session and id.
    async fn add(&self, email: &str) -> (Browser<'a>, String, String) {
        let clerk = self.browser.instance;
        let mut browser = clerk.browser();
        let session = browser.sign_up(email).await;
        let user = text(&browser.get("/v1/me").await.body["response"]["id"]);
        let path = format!("/v1/organizations/{}/memberships", self.organization);
        let added = clerk.backend("POST", &path, &json!({ "user_id": user, "role": "org:member" })).await;
        assert_eq!(added.status, StatusCode::OK, "{}", added.body);
        (browser, session, user)
    }
}

/// Makes an organization the active one, and returns the session.
async fn select(browser: &mut Browser<'_>, session: &str, organization: &str) -> Value {
    let form = format!("active_organization_id={organization}");
    browser.post(&format!("/v1/client/sessions/{session}/touch"), &form).await.body["response"].clone()
}

#[tokio::test]
async fn users_create_organizations_and_switch_between_them() {
    let clerk = Instance::new();
    let Admin { mut browser, organization, session } = Admin::new(&clerk).await;
    assert_eq!(clerk.kinds()[2..], ["organization.created", "organizationMembership.created"]);
    let (_, member) = clerk.events().pop().expect("an event");
    assert_eq!((&member["organization"]["slug"], &member["role"]), (&json!("acme-co"), &json!("org:admin")));
    assert_eq!(member["public_user_data"]["identifier"], "ada@example.com");
    let own = &browser.get("/v1/me").await.body["response"]["organization_memberships"][0];
    assert_eq!((&own["organization"]["id"], &own["organization"]["members_count"]), (&json!(organization), &json!(1)));
    let second = browser.post("/v1/organizations", "name=Second").await.body["response"]["id"].clone();
    let page = browser.get("/v1/me/organization_memberships?paginated=true&limit=1&offset=1").await.body;
    assert_eq!(page["response"]["total_count"], 2);
    assert_eq!(page["response"]["data"][0]["organization"]["id"], second);
    for list in ["organization_invitations", "organization_suggestions"] {
        let none = browser.get(&format!("/v1/me/{list}?limit=10&offset=0")).await.body;
        assert_eq!(none["response"], json!({ "data": [], "total_count": 0 }), "{list}");
    }

    let selected = select(&mut browser, &session, &organization).await;
    assert_eq!(selected["last_active_organization_id"], json!(organization));
    let expected = json!({ "id": organization, "slg": "acme-co", "rol": "admin" });
    assert_eq!(claims(&selected["last_active_token"]["jwt"])["o"], expected);
    let tokens = format!("/v1/client/sessions/{session}/tokens");
    assert_eq!(claims(&browser.post(&tokens, "").await.body["jwt"])["o"], expected);
    // The page of another tab has another organization, or none.
    let other = format!("organization_id={}", text(&second));
    assert_eq!(claims(&browser.post(&tokens, &other).await.body["jwt"])["o"]["slg"], "second");
    assert_eq!(claims(&browser.post(&tokens, "organization_id=").await.body["jwt"])["o"], json!(null));
    let none = select(&mut browser, &session, "").await;
    assert_eq!(none["last_active_organization_id"], json!(null));

    let namesake = browser.post("/v1/organizations", "name=Second").await.body["response"]["slug"].clone();
    assert!(text(&namesake).starts_with("second-"), "{namesake}");

    for (form, parameter, code) in [
        ("name=", "name", "form_param_missing"),
        ("name=A&slug=acme-co", "slug", "form_identifier_exists"),
        ("name=A&slug=A+b", "slug", "form_param_format_invalid"),
    ] {
        let answer = browser.post("/v1/organizations", form).await;
        answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, code);
        assert_eq!(answer.body["errors"][0]["meta"]["param_name"], parameter);
    }
}

#[tokio::test]
async fn tokens_have_the_custom_permissions_of_the_role() {
    let clerk = Instance::new();
    let admin = Admin::new(&clerk).await;
    let (mut eve, of_eve, _) = admin.add("eve@example.com").await;
    let Admin { mut browser, organization, session } = admin;
    let roles = json!({ "org:admin": ["org:notes:unpin", "org:billing:read", "org:notes:read"] });
    assert_eq!(clerk.backend("PATCH", "/v1/instance", &json!({ "roles": roles })).await.status, StatusCode::NO_CONTENT);
    let claims_of = |session: &Value| claims(&session["last_active_token"]["jwt"]);
    let admins = claims_of(&select(&mut browser, &session, &organization).await);
    assert_eq!((&admins["o"]["per"], &admins["o"]["fpm"]), (&json!("unpin,read"), &json!("3,2")));
    assert_eq!(admins["fea"], "o:notes,o:billing");
    let members = claims_of(&select(&mut eve, &of_eve, &organization).await);
    assert_eq!(
        (&members["o"]["rol"], &members["o"]["per"], &members["fea"]),
        (&json!("member"), &json!(null), &json!(null))
    );
    // Clerk's components also know Clerk's own permissions.
    let own = &browser.get("/v1/me").await.body["response"]["organization_memberships"][0]["permissions"];
    assert!(own.as_array().is_some_and(|own| own.contains(&json!("org:sys_memberships:manage"))), "{own}");
    let known = browser.get(&format!("/v1/organizations/{organization}/roles?limit=20&offset=0")).await.body;
    let keys = known["response"]["data"].as_array().expect("roles").iter().map(|role| text(&role["key"]));
    assert_eq!(keys.collect::<Vec<_>>(), ["org:admin", "org:member"]);

    let malformed = json!({ "roles": { "org:admin": ["notes:unpin"] } });
    let answer = clerk.backend("PATCH", "/v1/instance", &malformed).await;
    answer.is_error(StatusCode::UNPROCESSABLE_ENTITY, "form_param_format_invalid");
}

#[tokio::test]
async fn members_leave_and_an_admin_stays() {
    let clerk = Instance::new();
    let admin = Admin::new(&clerk).await;
    let (mut eve, of_eve, eves_id) = admin.add("eve@example.com").await;
    let Admin { mut browser, organization, .. } = admin;
    assert_eq!(select(&mut eve, &of_eve, &organization).await["last_active_organization_id"], json!(organization));
    let leave = format!("/v1/me/organization_memberships/{organization}?_method=DELETE");
    let last = browser.post(&leave, "").await;
    last.is_error(StatusCode::BAD_REQUEST, "organization_minimum_permissions_needed");

    let left = eve.post(&leave, "").await;
    assert_eq!(left.body["response"]["deleted"], true);
    let session = &left.body["client"]["sessions"][0];
    assert_eq!(session["last_active_organization_id"], json!(null));
    assert_eq!(claims(&session["last_active_token"]["jwt"])["o"], json!(null));
    assert_eq!(session["user"]["organization_memberships"], json!([]));
    let (kind, member) = clerk.events().pop().expect("an event");
    assert_eq!(kind, "organizationMembership.deleted");
    assert_eq!(member["public_user_data"]["user_id"], json!(eves_id));
    let stale = select(&mut eve, &of_eve, &organization).await;
    assert_eq!(stale["last_active_organization_id"], json!(null));
    eve.post(&leave, "").await.is_error(StatusCode::FORBIDDEN, "organization_not_found_or_unauthorized");
}

#[tokio::test]
async fn only_admins_change_an_organization_and_its_members() {
    let clerk = Instance::new();
    let admin = Admin::new(&clerk).await;
    let (mut eve, _, eves_id) = admin.add("eve@example.com").await;
    let (_, _, bobs_id) = admin.add("bob@example.com").await;
    let Admin { mut browser, organization, .. } = admin;
    let mut stranger = clerk.browser();
    stranger.sign_up("mallory@example.com").await;
    let path = format!("/v1/organizations/{organization}");
    let member = format!("{path}/memberships/{bobs_id}");
    for (user, code) in [(&mut eve, "missing_permission"), (&mut stranger, "organization_not_found_or_unauthorized")] {
        for change in [
            format!("{path}?_method=PATCH"),
            format!("{path}?_method=DELETE"),
            format!("{member}?_method=DELETE"),
            format!("{member}?_method=PATCH"),
        ] {
            user.post(&change, "name=Mine&role=org%3Aadmin").await.is_error(StatusCode::FORBIDDEN, code);
        }
    }
    for read in ["", "/memberships", "/roles"] {
        let read = format!("{path}{read}");
        assert_eq!(eve.get(&read).await.status, StatusCode::OK, "{read}");
        stranger.get(&read).await.is_error(StatusCode::FORBIDDEN, "organization_not_found_or_unauthorized");
    }

    let renamed = browser.post(&format!("{path}?_method=PATCH"), "name=Acme+Ltd").await;
    assert_eq!(
        (&renamed.body["response"]["name"], &renamed.body["response"]["slug"]),
        (&json!("Acme Ltd"), &json!("acme-co"))
    );
    let promoted = browser.post(&format!("{path}/memberships/{eves_id}?_method=PATCH"), "role=org%3Aadmin").await;
    assert_eq!(promoted.body["response"]["role_name"], "Admin");
    browser.post(&format!("{member}?_method=DELETE"), "").await;
    let members = eve.get(&format!("{path}/memberships")).await.body["response"].clone();
    assert_eq!((&members["total_count"], &members["data"][1]["role"]), (&json!(2), &json!("org:admin")));
    let before = clerk.kinds().len();
    assert_eq!(eve.post(&format!("{path}?_method=DELETE"), "").await.body["response"]["deleted"], true);
    let ended = ["organizationMembership.deleted", "organizationMembership.deleted", "organization.deleted"];
    assert_eq!(clerk.kinds()[before..], ended);
    assert_eq!(browser.get("/v1/me").await.body["response"]["organization_memberships"], json!([]));
}

#[tokio::test]
async fn deleted_users_leave_their_organizations() {
    let clerk = Instance::new();
    let admin = Admin::new(&clerk).await;
    let (mut eve, ..) = admin.add("eve@example.com").await;
    let before = clerk.kinds().len();
    eve.post("/v1/me?_method=DELETE", "").await;
    assert_eq!(clerk.kinds()[before..], ["session.removed", "organizationMembership.deleted", "user.deleted"]);
    let Admin { mut browser, organization, .. } = admin;
    let members = browser.get(&format!("/v1/organizations/{organization}/memberships")).await.body;
    let (admin, count) = (&members["response"]["data"][0], &members["response"]["total_count"]);
    assert_eq!((count, &admin["organization"]["members_count"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn cookies_tell_servers_whether_a_user_is_signed_in() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let suffix = cookie_suffix(&clerk.clerk.publishable_key());
    let answer = browser.post("/v1/client/sign_ups", "email_address=ada%40example.com").await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|one| one.to_str().expect("ASCII")).collect();
    let cookie = |name: &str| *cookies.iter().find(|one| one.starts_with(&format!("{name}="))).expect("a cookie");
    for (name, path) in [(format!("__client_{suffix}"), "/clerk"), (format!("__refresh_{suffix}"), "/")] {
        let cookie = cookie(&name);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        assert!(cookie.split("; ").any(|part| part == format!("Path={path}")), "{cookie}");
    }
    let uat = [String::from("__client_uat"), format!("__client_uat_{suffix}")];
    for name in &uat {
        assert!(!cookie(name).contains("HttpOnly"), "Clerk's SDK reads it");
        assert!(browser.cookies[name].parse::<u64>().is_ok_and(|seconds| seconds > 1_000_000_000));
    }
    browser.post("/v1/client/sessions?_method=DELETE", "").await;
    for name in &uat {
        assert_eq!(browser.cookies[name], "0");
    }
}

#[test]
fn cookies_have_the_suffix_of_the_publishable_key() {
    let key = publishable_key("http://127.0.0.1:4500");
    assert_eq!(key, "pk_live_MTI3LjAuMC4xOjQ1MDAk");
    assert_eq!(cookie_suffix(&key), "l57Io3xR");
}

#[tokio::test]
async fn a_handshake_returns_with_a_token_or_signed_out() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let session = browser.sign_up("ada@example.com").await;
    let path = "/v1/client/handshake?redirect_url=http%3A%2F%2Flocalhost%3A3000%2Fdashboard%3Fa%3Db";
    let back = browser.get(path).await;
    assert_eq!(
        (back.status, back.header("location")),
        (StatusCode::TEMPORARY_REDIRECT, "http://localhost:3000/dashboard?a=b")
    );
    assert_eq!(claims(&json!(browser.cookies["__session"]))["sid"], json!(session));
    let suffixed = format!("__session_{}", cookie_suffix(&clerk.clerk.publishable_key()));
    assert!(browser.cookies.contains_key(&suffixed));

    browser.post(&format!("/v1/client/sessions/{session}/end"), "").await;
    assert_eq!(browser.get(path).await.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(!browser.cookies.contains_key("__session") && !browser.cookies.contains_key(&suffixed));
    assert_eq!(browser.cookies["__client_uat"], "0");
    // Or the server would send the browser here again, without end.
    for client in [None, Some("unknown")] {
        let mut lost = clerk.browser();
        lost.cookies.insert("__client_uat".to_owned(), "1700000000".to_owned());
        lost.cookies.extend(client.map(|client| (client_name(&clerk.clerk), client.to_owned())));
        lost.get(path).await;
        assert_eq!(lost.cookies["__client_uat"], "0");
    }
    for elsewhere in ["https%3A%2F%2Fevil.example", "%2Fdashboard", "http%3A%2F%2Flocalhost%3A3001%2F", ""] {
        let answer = browser.get(&format!("/v1/client/handshake?redirect_url={elsewhere}")).await;
        answer.is_error(StatusCode::BAD_REQUEST, "invalid_url");
    }
}

#[tokio::test]
async fn a_server_refreshes_only_sessions_of_the_refresh_token() {
    let clerk = Instance::new();
    let (mut browser, mut other) = (clerk.browser(), clerk.browser());
    let session = browser.sign_up("ada@example.com").await;
    other.sign_up("eve@example.com").await;
    let name = format!("__refresh_{}", cookie_suffix(&clerk.clerk.publishable_key()));
    let path = format!("/v1/sessions/{session}/refresh");
    let refreshed = clerk.backend("POST", &path, &json!({ "refresh_token": browser.cookies[&name] })).await;
    let cookie = text(&refreshed.body["cookies"][0]);
    let token = cookie.split(';').next().and_then(|pair| pair.strip_prefix("__session=")).expect("a token");
    assert_eq!(claims(&json!(token))["sid"], json!(session));
    for token in [other.cookies[&name].as_str(), "", "made-up"] {
        let refused = clerk.backend("POST", &path, &json!({ "refresh_token": token })).await;
        refused.is_error(StatusCode::UNAUTHORIZED, "authentication_invalid");
    }
    browser.post("/v1/client/sessions?_method=DELETE", "").await;
    let over = clerk.backend("POST", &path, &json!({ "refresh_token": browser.cookies[&name] })).await;
    over.is_error(StatusCode::UNPROCESSABLE_ENTITY, "session_not_active");
    let keys = clerk.backend("GET", "/v1/jwks", &json!({})).await;
    assert_eq!(keys.body, clerk.clerk.jwks());
}

#[tokio::test]
async fn unknown_endpoints_are_errors_in_clerks_format() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    for (method, path) in [("GET", "/v1/me/passkeys"), ("POST", "/v1/environment"), ("POST", "/v1/client?_method=PUT")]
    {
        let answer = browser.send(method, path, "").await;
        answer.is_error(StatusCode::NOT_FOUND, "resource_not_found");
        assert!(answer.body["errors"][0]["message"].as_str().is_some_and(|message| message.contains("/v1/")), "{path}");
    }
}

#[tokio::test]
async fn only_the_scripts_of_the_packages_are_served() {
    let clerk = Instance::new();
    let dist = clerk.folder.path().join("@clerk/clerk-js/dist");
    std::fs::create_dir_all(&dist).expect("written");
    std::fs::write(dist.join("clerk.browser.js"), "{}").expect("written");
    std::fs::write(clerk.folder.path().join("secret.js"), "{}").expect("written");
    let get = |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        send(super::router(&clerk.clerk, clerk.folder.path()), request)
    };
    for version in ["6", "6.40.0", "latest"] {
        let script = get(&format!("/npm/@clerk/clerk-js@{version}/dist/clerk.browser.js")).await;
        assert_eq!((script.status, script.header("content-type")), (StatusCode::OK, "text/javascript"));
    }
    for path in [
        "clerk-js@6/dist/missing.js",
        "clerk-js@6/dist/..%2f..%2f..%2fsecret.js",
        "clerk-js@6/dist/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.js",
        "..%2f..@6/dist/secret.js",
        "%2e%2e@6/dist/%2e%2e%2fsecret.js",
        "ui@1/dist/ui.browser.js",
    ] {
        get(&format!("/npm/@clerk/{path}")).await.is_error(StatusCode::NOT_FOUND, "resource_not_found");
    }
    assert_eq!(get("/avatar_placeholder.svg").await.header("content-type"), "image/svg+xml");
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let session = browser.sign_up("ada@example.com").await;
    let url = "http://127.0.0.1:9".to_owned();
    let again = Clerk::load(clerk.folder.path(), url.clone(), vec![ORIGIN.to_owned()], url).expect("it starts");
    let again = Instance { clerk: again, folder: tempfile::tempdir().expect("a folder") };
    std::fs::write(again.folder.path().join("_headers"), "/*\n").expect("written");
    let mut reopened = Browser { instance: &again, cookies: browser.cookies.clone() };
    assert_eq!(reopened.sessions().await, (vec![session.clone()], json!(session)));
}

#[tokio::test]
async fn only_own_pages_send_requests() {
    let clerk = Instance::new();
    let rejected: [&[(&str, &str)]; 5] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
        &[("origin", "http://localhost:3001")],
        &[("origin", "null")],
    ];
    let paths = ["sign_ups", "sign_ins", "sessions?_method=DELETE", "sessions/sess_1/tokens"];
    for headers in rejected {
        for path in paths.map(|path| format!("/clerk/v1/client/{path}")) {
            let answer = clerk.browser().send_with("POST", &path, headers, "email_address=a%40b").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    for site in ["same-origin", "none"] {
        let headers = [("sec-fetch-site", site), ("origin", ORIGIN)];
        let form = format!("email_address={site}%40example.com");
        let answer = clerk.browser().send_with("POST", "/clerk/v1/client/sign_ups", &headers, &form).await;
        assert_eq!(answer.status, StatusCode::OK, "{site}");
    }
}

#[tokio::test]
async fn no_page_can_be_framed() {
    let clerk = Instance::new();
    std::fs::write(clerk.folder.path().join("index.html"), "the application").expect("written");
    for path in ["/", "/profile", "/clerk/v1/client", "/clerk/nothing"] {
        let answer = clerk.browser().send_with("GET", path, &[], "").await;
        let headers = ["content-security-policy", "x-frame-options"].map(|name| answer.header(name));
        assert_eq!(headers, ["frame-ancestors 'none'", "DENY"], "{path}");
    }
}

#[tokio::test]
async fn folders_do_not_redirect_to_another_host() {
    let clerk = Instance::new();
    std::fs::create_dir(clerk.folder.path().join("evil.example")).expect("written");
    std::fs::write(clerk.folder.path().join("index.html"), "the application").expect("written");
    let answer = clerk.browser().send_with("GET", "//evil.example", &[], "").await;
    assert_eq!((answer.header("location"), answer.status), ("", StatusCode::OK));
}

#[tokio::test]
async fn tokens_and_pictures_are_for_the_origin_of_the_page() {
    let clerk = Instance::new();
    let mut browser = clerk.browser();
    let session = browser.sign_up("ada@example.com").await;
    let refresh_token =
        browser.cookies[&format!("__refresh_{}", cookie_suffix(&clerk.clerk.publishable_key()))].clone();
    let tokens = format!("/clerk/v1/client/sessions/{session}/tokens");
    let refresh = format!("/v1/sessions/{session}/refresh");
    for (origin, expected) in [(ORIGIN, ORIGIN), (OTHER_ORIGIN, OTHER_ORIGIN), ("http://localhost:3200", ORIGIN)] {
        let page = format!("{origin}/a?b");
        let client = browser.send_with("GET", "/clerk/v1/client", &[("referer", &page)], "").await;
        let session = &client.body["response"]["sessions"][0];
        assert_eq!(claims(&session["last_active_token"]["jwt"])["azp"], expected);
        assert_eq!(session["user"]["image_url"], format!("{expected}/clerk/avatar_placeholder.svg"));
        let body = json!({ "refresh_token": refresh_token, "request_origin": origin });
        let refreshed = text(&clerk.backend("POST", &refresh, &body).await.body["cookies"][0]);
        let token = refreshed.split(['=', ';']).nth(1).expect("a token");
        assert_eq!(claims(&json!(token))["azp"], expected);
    }
    let token = browser.send_with("POST", &tokens, &[("origin", OTHER_ORIGIN), ("referer", ORIGIN)], "").await;
    assert_eq!(claims(&token.body["jwt"])["azp"], OTHER_ORIGIN);
    let path = "/clerk/v1/client/handshake?redirect_url=http%3A%2F%2Flocalhost%3A3100%2F";
    browser.send_with("GET", path, &[], "").await;
    assert_eq!(claims(&json!(browser.cookies["__session"]))["azp"], OTHER_ORIGIN);
}
