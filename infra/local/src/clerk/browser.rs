//! The development Clerk's own page to sign up and sign in as any user. It is served on the front end's origin, like Clerk
//! behind a proxy, so that its cookie is first-party.

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use url::{Position, Url};

use super::{
    Clerk,
    frontend::Browser,
    routes::{ClerkError, ClerkResult, Clerks, UserBody, announce, end, sign_up},
    state::{Status, User},
};

/// The number of users that the page lists.
const LISTED_USERS: usize = 8;
const STYLE: &str = include_str!("sign-in.css");

pub(super) fn router(clerk: Arc<Clerk>) -> Router {
    Router::new()
        .route("/sign-in", get(show).post(submit_sign_in))
        .route("/sign-up", post(submit_sign_up))
        .with_state(clerk)
}

/// The path of this origin to which the browser returns after sign-in.
#[derive(Deserialize)]
struct Return {
    #[serde(default)]
    redirect_url: String,
}

impl Return {
    /// The URL as a browser resolves it, without this origin; `/` if it leads to another.
    fn path(&self, origin: &str) -> String {
        let own = Url::parse(origin);
        let resolved = own.and_then(|own| own.join(&self.redirect_url).map(|url| (own.origin() == url.origin(), url)));
        match resolved {
            // Without its origin, a path that begins with two slashes would name another.
            Ok((true, url)) if !url.path().starts_with("//") => url[Position::BeforePath..].to_owned(),
            _ => "/".to_owned(),
        }
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

async fn submit_sign_in(State(clerk): Clerks, browser: Browser, Form(form): Form<SignIn>) -> Response {
    let email = form.email.trim();
    let user = clerk.read(|state| state.users.values().find(|user| user.email == email).cloned());
    let Some(user) = user else {
        let message = format!("No account has the email address {email}. Sign up below.");
        return (StatusCode::UNPROCESSABLE_ENTITY, page(&clerk, &form.back, email, &message)).into_response();
    };
    enter(&clerk, browser, &user, &form.back).unwrap_or_else(|error| rejected(&clerk, &form.back, email, error))
}

#[derive(Deserialize)]
struct SignUp {
    email: String,
    first_name: String,
    last_name: String,
    #[serde(flatten)]
    back: Return,
}

async fn submit_sign_up(State(clerk): Clerks, browser: Browser, Form(form): Form<SignUp>) -> Response {
    let SignUp { email, first_name, last_name, back } = form;
    let email = email.trim();
    let some = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    if clerk.read(|state| state.users.values().any(|user| user.email == email)) {
        let message = format!("An account has the email address {email} already. Sign in instead.");
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
        enter(&clerk, browser, &user, &back)
    });
    entered.unwrap_or_else(|error| rejected(&clerk, &back, email, error))
}

/// Opens a session in this browser, and ends its previous ones.
fn enter(clerk: &Arc<Clerk>, mut browser: Browser, user: &User, back: &Return) -> ClerkResult {
    for (session, _) in browser.sessions() {
        drop(end(clerk, &session.id, Status::Ended, "session.ended")?);
    }
    browser.enter(&user.id)?;
    Ok((browser.cookies(), Redirect::to(&back.path(&clerk.origin))).into_response())
}

fn rejected(clerk: &Clerk, back: &Return, email: &str, error: ClerkError) -> Response {
    (error.status, page(clerk, back, email, &error.message)).into_response()
}

fn page(clerk: &Clerk, back: &Return, email: &str, message: &str) -> Markup {
    let mut users: Vec<User> = clerk.read(|state| state.users.values().filter(|user| !user.banned).cloned().collect());
    users.sort_by_key(|user| std::cmp::Reverse(user.created_at));
    let hidden = html! { input type="hidden" name="redirect_url" value=(back.path(&clerk.origin)); };
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
                    p.note { "This is the development Clerk. You can sign in as any user, and no data leaves this machine." }
                    @if !message.is_empty() { p.problem role="alert" { (message) } }
                    form method="post" action="/clerk/sign-in" {
                        (hidden)
                        label { "Email address" input type="email" name="email" value=(email) required autocomplete="email"; }
                        button { "Sign in" }
                    }
                    @if !users.is_empty() {
                        h2 { "Users" }
                        ul {
                            @for user in users.iter().take(LISTED_USERS) {
                                li {
                                    form method="post" action="/clerk/sign-in" {
                                        (hidden)
                                        button.user name="email" value=(user.email) { (user.email) }
                                    }
                                }
                            }
                        }
                    }
                    h2 { "Sign up" }
                    form method="post" action="/clerk/sign-up" {
                        (hidden)
                        label { "Email address" input type="email" name="email" value=(email) required autocomplete="email"; }
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
        extract::Request,
        http::Method,
    };
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::{clerk::ORIGIN, web};

    struct Instance(Arc<Clerk>, tempfile::TempDir);

    impl Instance {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("_headers"), "/*\n").expect("written");
            // Nothing listens on this port, so webhooks are not delivered.
            let url = "http://127.0.0.1:9".to_owned();
            let clerk = Clerk::load(folder.path(), url.clone(), ORIGIN.to_owned(), url).expect("it starts");
            Self(clerk, folder)
        }

        /// Sends a request to the web server, as a browser on `ORIGIN` does.
        async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], form: &str) -> Response {
            let mut request = Request::builder().method(method).uri(path).header("host", "localhost:3000");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if !form.is_empty() {
                request = request.header("content-type", "application/x-www-form-urlencoded");
            }
            let request = request.body(Body::from(form.to_owned())).expect("a request");
            let router = web::router(3000, self.1.path(), &self.0, vec![ORIGIN.to_owned()]);
            router.expect("the application is built").oneshot(request).await.expect("it answers")
        }

        async fn sign_up(&self, email: &str, back: &str) -> Response {
            let form = format!("email={email}&first_name=Ada&last_name=&redirect_url={back}");
            self.send(Method::POST, "/clerk/sign-up", &[], &form).await
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
    async fn the_page_signs_in_as_one_user_at_a_time() {
        let clerk = Instance::new();
        let entered = clerk.sign_up("ada@example.com", "/").await;
        assert_eq!((entered.status(), header(&entered, "location")), (StatusCode::SEE_OTHER, "/"));
        let mut cookies = entered.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let cookie = cookies.find(|cookie| cookie.starts_with("__client=")).expect("a cookie");
        let cookie = [("cookie", cookie.split(';').next().expect("a value"))];

        let client = |response| async { serde_json::from_str::<Value>(&text(response).await).expect("JSON") };
        let first = client(clerk.send(Method::GET, "/clerk/v1/client", &cookie, "").await).await;
        let form = "email=eve%40example.com&first_name=Eve&last_name=";
        clerk.send(Method::POST, "/clerk/sign-up", &cookie, form).await;
        let second = client(clerk.send(Method::GET, "/clerk/v1/client", &cookie, "").await).await;
        let emails = [first, second].map(|client| {
            let sessions = client.pointer("/response/sessions").and_then(Value::as_array).cloned().unwrap_or_default();
            let email = |session: &Value| session.pointer("/public_user_data/identifier").cloned();
            sessions.iter().map(email).collect::<Vec<_>>()
        });
        assert_eq!(emails, [[Some("ada@example.com".into())], [Some("eve@example.com".into())]]);
    }

    #[tokio::test]
    async fn redirects_stay_on_this_origin() {
        let clerk = Instance::new();
        let cases = [
            ("/profile", "/profile"),
            ("/a%20b?c=d%26e#f", "/a%20b?c=d&e"),
            ("profile", "/profile"),
            ("http%3A%2F%2Flocalhost%3A3000%2Fprofile%3Fa%23b", "/profile?a#b"),
            ("http%3A%2F%2Fada%40localhost%3A3000%2Fprofile", "/profile"),
            ("", "/"),
            ("https%3A%2F%2Fevil.example", "/"),
            ("http%3A%2F%2Flocalhost%3A3001%2F", "/"),
            ("https%3A%2F%2Flocalhost%3A3000%2F", "/"),
            ("http%3A%2F%2Flocalhost%3A3000%40evil.example%2F", "/"),
            ("%2F%2Fevil.example", "/"),
            ("%2F%5Cevil.example", "/"),
            ("%5C%5Cevil.example", "/"),
            ("%2F%09%2Fevil.example", "/"),
            ("%2F%0D%0A%2Fevil.example", "/"),
            ("%20%2F%2Fevil.example", "/"),
            ("%2F.%2F%2Fevil.example", "/"),
            ("%2Fa%2F..%2F%2Fevil.example", "/"),
            ("http%3A%2F%2Flocalhost%3A3000%2F%2Fevil.example", "/"),
            ("javascript%3Aalert(1)", "/"),
            ("data%3Atext%2Fhtml%2Cx", "/"),
        ];
        for (number, (redirect_url, expected)) in cases.into_iter().enumerate() {
            let form = redirect_url.split('#').next().expect("a part");
            let entered = clerk.sign_up(&format!("{number}@example.com"), form).await;
            assert_eq!(header(&entered, "location"), expected, "{redirect_url}");
            let again = format!("email={number}%40example.com&redirect_url={form}");
            let entered = clerk.send(Method::POST, "/clerk/sign-in", &[], &again).await;
            assert_eq!(header(&entered, "location"), expected, "{redirect_url}");
            let path = format!("/clerk/sign-in?redirect_url={form}");
            let page = text(clerk.send(Method::GET, &path, &[], "").await).await;
            let hidden = format!("name=\"redirect_url\" value=\"{}\"", expected.replace('&', "&amp;"));
            assert_eq!(page.matches("name=\"redirect_url\"").count(), page.matches(&hidden).count(), "{redirect_url}");
        }
    }

    #[tokio::test]
    async fn folders_do_not_redirect_to_another_host() {
        let clerk = Instance::new();
        std::fs::create_dir(clerk.1.path().join("evil.example")).expect("written");
        std::fs::write(clerk.1.path().join("index.html"), "the application").expect("written");
        let response = clerk.send(Method::GET, "//evil.example", &[], "").await;
        assert_eq!((header(&response, "location"), response.status()), ("", StatusCode::OK));
        assert_eq!(text(clerk.send(Method::GET, "/", &[], "").await).await, "the application");
    }

    #[tokio::test]
    async fn only_own_pages_submit_forms() {
        let clerk = Instance::new();
        let session = "/clerk/v1/client/sessions/sess_1/tokens";
        let rejected: [&[(&str, &str)]; 5] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
            &[("origin", "http://localhost:3001")],
            &[("origin", "null")],
        ];
        for headers in rejected {
            for path in ["/clerk/sign-up", "/clerk/sign-in", "/clerk/v1/client/sign_ups", session] {
                let response = clerk.send(Method::POST, path, headers, "email=a%40b&first_name=&last_name=").await;
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
            }
        }
        for (number, site) in ["same-origin", "none"].into_iter().enumerate() {
            let headers = [("sec-fetch-site", site), ("origin", ORIGIN)];
            let form = format!("email={number}%40example.com&first_name=&last_name=");
            let response = clerk.send(Method::POST, "/clerk/sign-up", &headers, &form).await;
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{site}");
        }
    }

    #[tokio::test]
    async fn no_page_can_be_framed() {
        let clerk = Instance::new();
        std::fs::write(clerk.1.path().join("index.html"), "the application").expect("written");
        for path in ["/", "/profile", "/clerk/sign-in", "/clerk/v1/client", "/clerk/nothing"] {
            let response = clerk.send(Method::GET, path, &[], "").await;
            let headers = ["content-security-policy", "x-frame-options"].map(|name| header(&response, name));
            assert_eq!(headers, ["frame-ancestors 'none'", "DENY"], "{path}");
        }
    }

    #[tokio::test]
    async fn form_input_is_escaped_on_the_page() {
        let clerk = Instance::new();
        let form = "email=%3Cscript%3E%40example.com";
        let rejected = clerk.send(Method::POST, "/clerk/sign-in", &[], form).await;
        assert_eq!(rejected.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = text(rejected).await;
        assert!(page.contains("&lt;script&gt;@example.com") && !page.contains("<script>"), "{page}");
    }
}
