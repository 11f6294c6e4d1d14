//! What browsers ask of the development Clerk: a page to sign up and in on as anyone, and the part of Clerk's Frontend
//! API that gives tokens. The front end's own origin serves it, as it does for Clerk behind a proxy, so that its cookie is
//! no third party's.

use std::sync::Arc;

use axum::{
    Form, Json, Router,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Clerk,
    routes::{Answer, Clerks, Refusal, UserBody, announce, over, sign_in, sign_up, token},
    state::{Session, Status, User},
};

/// Says which browser it is, as Clerk's cookie of this name does.
const CLIENT: &str = "__client";
/// How many people the page offers to sign in as.
const OFFERED: usize = 8;
const STYLE: &str = include_str!("sign-in.css");

pub(super) fn router(clerk: Arc<Clerk>) -> Router {
    Router::new()
        .route("/sign-in", get(show).post(submit_sign_in))
        .route("/sign-up", post(submit_sign_up))
        .route("/v1/client", get(read_client))
        .route("/v1/client/sessions/{id}/tokens", post(create_token))
        .route("/v1/client/sessions/{id}/end", post(end_session))
        .layer(middleware::from_fn(from_this_machine))
        .with_state(clerk)
}

/// Lets no page of another site in, neither by a request of its own nor by a name of its own for this machine.
async fn from_this_machine(request: Request, next: Next) -> Response {
    if is_from_this_machine(&request) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "Open this at http://localhost.").into_response()
}

fn is_from_this_machine(request: &Request) -> bool {
    let value = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = value("host").split(':').next().unwrap_or_default();
    let is_forged = value("sec-fetch-site") == "cross-site" && !request.method().is_safe();
    ["localhost", "127.0.0.1"].contains(&host) && !is_forged
}

/// Where the browser goes once somebody has signed in: a path of this origin.
#[derive(Deserialize)]
struct Return {
    #[serde(default)]
    redirect_url: String,
}

impl Return {
    fn path(&self) -> &str {
        let is_path = self.redirect_url.starts_with('/') && !self.redirect_url.starts_with("//");
        if is_path && !self.redirect_url.contains('\\') { &self.redirect_url } else { "/" }
    }
}

async fn show(State(clerk): Clerks, Query(back): Query<Return>) -> Markup {
    page(&clerk, &back, "", "")
}

#[derive(Deserialize)]
struct SignIn {
    email: String,
    #[serde(flatten)]
    back: Return,
}

async fn submit_sign_in(State(clerk): Clerks, jar: CookieJar, Form(form): Form<SignIn>) -> Response {
    let email = form.email.trim();
    let user = clerk.read(|state| state.users.values().find(|user| user.email == email).cloned());
    let Some(user) = user else {
        let message = format!("Nobody has signed up as {email} yet.");
        return (StatusCode::UNPROCESSABLE_ENTITY, page(&clerk, &form.back, email, &message)).into_response();
    };
    enter(&clerk, jar, user, &form.back).unwrap_or_else(|refusal| refused(&clerk, &form.back, email, refusal))
}

#[derive(Deserialize)]
struct SignUp {
    email: String,
    first_name: String,
    last_name: String,
    #[serde(flatten)]
    back: Return,
}

async fn submit_sign_up(State(clerk): Clerks, jar: CookieJar, Form(form): Form<SignUp>) -> Response {
    let SignUp { email, first_name, last_name, back } = form;
    let email = email.trim();
    let some = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    if clerk.read(|state| state.users.values().any(|user| user.email == email)) {
        let message = format!("Somebody has signed up as {email} already; sign in instead.");
        return (StatusCode::UNPROCESSABLE_ENTITY, page(&clerk, &back, email, &message)).into_response();
    }
    let body = UserBody {
        email_address: Some(vec![email.to_owned()]),
        first_name: some(first_name),
        last_name: some(last_name),
        ..UserBody::default()
    };
    let entered = sign_up(&clerk, body).and_then(|user| {
        drop(announce(&clerk, user.json(), &[("user.created", user.json())])?);
        enter(&clerk, jar, user, &back)
    });
    entered.unwrap_or_else(|refusal| refused(&clerk, &back, email, refusal))
}

/// Opens a session in this browser; one that it had before ends.
fn enter(clerk: &Arc<Clerk>, jar: CookieJar, user: User, back: &Return) -> Answer {
    if let Some(session) = current(clerk, &jar) {
        drop(over(clerk, &session.id, Status::Ended, "session.ended")?);
    }
    let client = Uuid::new_v4().simple().to_string();
    let session = sign_in(clerk, user.id, Some(client.clone()))?;
    drop(announce(clerk, session.json(), &[("session.created", session.json())])?);
    let cookie = Cookie::build((CLIENT, client)).path("/clerk").http_only(true).same_site(SameSite::Lax).permanent();
    Ok((jar.add(cookie), Redirect::to(back.path())).into_response())
}

fn refused(clerk: &Clerk, back: &Return, email: &str, Refusal(status, _, message): Refusal) -> Response {
    (status, page(clerk, back, email, &message)).into_response()
}

/// The session of the browser that asks.
fn current(clerk: &Clerk, jar: &CookieJar) -> Option<Session> {
    let client = jar.get(CLIENT)?.value();
    clerk.read(|state| {
        let mut sessions = state.sessions.values();
        let is_its = |session: &&Session| session.client.as_deref() == Some(client) && session.status == Status::Active;
        sessions.find(is_its).cloned()
    })
}

async fn read_client(State(clerk): Clerks, jar: CookieJar) -> Response {
    let session = current(&clerk, &jar).and_then(|session| {
        let user = clerk.read(|state| state.users.get(&session.user_id).cloned())?;
        Some((session, user))
    });
    let response = session.map_or(Value::Null, |(session, user)| {
        let Session { id, user_id, .. } = session;
        let session = json!({ "object": "session", "id": id, "user_id": user_id, "user": user.json() });
        json!({ "object": "client", "sessions": [session], "last_active_session_id": id })
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "response": response }))).into_response()
}

/// The session `id`, if it is this browser's.
fn own(clerk: &Clerk, jar: &CookieJar, id: &str) -> Result<Session, Refusal> {
    current(clerk, jar).filter(|session| session.id == id).ok_or_else(|| {
        Refusal(StatusCode::UNAUTHORIZED, "authentication_invalid", "This browser has no such session.".to_owned())
    })
}

async fn create_token(State(clerk): Clerks, jar: CookieJar, Path(id): Path<String>) -> Answer {
    token(&clerk, &own(&clerk, &jar, &id)?.id)
}

async fn end_session(State(clerk): Clerks, jar: CookieJar, Path(id): Path<String>) -> Answer {
    over(&clerk, &own(&clerk, &jar, &id)?.id, Status::Ended, "session.ended")
}

fn page(clerk: &Clerk, back: &Return, email: &str, message: &str) -> Markup {
    let mut users: Vec<User> = clerk.read(|state| state.users.values().filter(|user| !user.banned).cloned().collect());
    users.sort_by_key(|user| std::cmp::Reverse(user.created_at));
    let hidden = html! { input type="hidden" name="redirect_url" value=(back.path()); };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Sign in" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Sign in" }
                    p.note { "This is the development Clerk: anybody may be anyone, and nothing leaves this machine." }
                    @if !message.is_empty() { p.problem role="alert" { (message) } }
                    form method="post" action="/clerk/sign-in" {
                        (hidden)
                        label { "E-mail address" input type="email" name="email" value=(email) required autocomplete="email"; }
                        button { "Sign in" }
                    }
                    @if !users.is_empty() {
                        h2 { "People who have signed up" }
                        ul {
                            @for user in users.iter().take(OFFERED) {
                                li {
                                    form method="post" action="/clerk/sign-in" {
                                        (hidden)
                                        button.person name="email" value=(user.email) { (user.email) }
                                    }
                                }
                            }
                        }
                    }
                    h2 { "Sign up" }
                    form method="post" action="/clerk/sign-up" {
                        (hidden)
                        label { "E-mail address" input type="email" name="email" value=(email) required autocomplete="email"; }
                        label { "First name" input name="first_name" autocomplete="given-name"; }
                        label { "Last name" input name="last_name" autocomplete="family-name"; }
                        button { "Sign up" }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Method, header::HeaderName},
    };
    use tower::ServiceExt;

    use super::*;
    use crate::clerk::ORIGIN;

    struct Instance(Arc<Clerk>, #[expect(dead_code, reason = "it lives as long as the instance")] tempfile::TempDir);

    impl Instance {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            // Nobody listens there, so webhooks stay on their way.
            let address = "http://127.0.0.1:9".to_owned();
            let clerk = Clerk::load(folder.path(), address.clone(), ORIGIN.to_owned(), address).expect("it starts");
            Self(clerk, folder)
        }

        async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], form: &str) -> Response {
            let mut request = Request::builder().method(method).uri(path).header("host", "localhost:3000");
            for (name, value) in headers {
                let name = HeaderName::try_from(*name).expect("a name");
                request.headers_mut().expect("a request").insert(name, value.parse().expect("a value"));
            }
            if !form.is_empty() {
                request = request.header("content-type", "application/x-www-form-urlencoded");
            }
            let request = request.body(Body::from(form.to_owned())).expect("a request");
            self.0.browser().oneshot(request).await.expect("it answers")
        }

        async fn sign_up(&self, email: &str, back: &str) -> Response {
            let form = format!("email={email}&first_name=Ada&last_name=&redirect_url={back}");
            self.send(Method::POST, "/sign-up", &[], &form).await
        }
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn a_browser_has_tokens_of_its_own_session_and_of_no_other_and_none_once_it_is_over() {
        let clerk = Instance::new();
        let entered = clerk.sign_up("ada@example.com", "/").await;
        assert_eq!((entered.status(), header(&entered, "location")), (StatusCode::SEE_OTHER, "/"));
        let cookie = header(&entered, "set-cookie").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a cookie");

        let client = text(clerk.send(Method::GET, "/v1/client", &[("cookie", cookie)], "").await).await;
        let client: Value = serde_json::from_str(&client).expect("JSON");
        let session = client.pointer("/response/last_active_session_id").and_then(Value::as_str).expect("a session");
        let tokens = format!("/v1/client/sessions/{session}/tokens");
        let token = clerk.send(Method::POST, &tokens, &[("cookie", cookie)], "").await;
        assert_eq!(token.status(), StatusCode::OK);

        let eve = clerk.sign_up("eve@example.com", "/").await;
        let other = header(&eve, "set-cookie").split(';').next().expect("a cookie").to_owned();
        for headers in [&[][..], &[("cookie", other.as_str())]] {
            assert_eq!(clerk.send(Method::POST, &tokens, headers, "").await.status(), StatusCode::UNAUTHORIZED);
        }
        let end = format!("/v1/client/sessions/{session}/end");
        assert_eq!(clerk.send(Method::POST, &end, &[("cookie", cookie)], "").await.status(), StatusCode::OK);
        let token = clerk.send(Method::POST, &tokens, &[("cookie", cookie)], "").await;
        assert_eq!(token.status(), StatusCode::UNAUTHORIZED);
        let client = text(clerk.send(Method::GET, "/v1/client", &[("cookie", cookie)], "").await).await;
        assert_eq!(client, r#"{"response":null}"#);
    }

    #[tokio::test]
    async fn the_way_back_stays_on_this_origin() {
        let clerk = Instance::new();
        let ways = ["/profile", "https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example"];
        for (number, (way, goes)) in ways.into_iter().zip(["/profile", "/", "/", "/"]).enumerate() {
            let entered = clerk.sign_up(&format!("{number}@example.com"), way).await;
            assert_eq!(header(&entered, "location"), goes, "{way}");
        }
    }

    #[tokio::test]
    async fn other_sites_are_refused_by_whichever_name() {
        let clerk = Instance::new();
        for headers in [[("host", "evil.example")], [("sec-fetch-site", "cross-site")]] {
            let response = clerk.send(Method::POST, "/sign-up", &headers, "email=a%40b&first_name=&last_name=").await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn what_people_enter_is_text_on_the_page() {
        let clerk = Instance::new();
        let form = "email=%3Cscript%3E%40example.com";
        let refused = clerk.send(Method::POST, "/sign-in", &[], form).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = text(refused).await;
        assert!(page.contains("&lt;script&gt;@example.com") && !page.contains("<script>"), "{page}");
    }
}
