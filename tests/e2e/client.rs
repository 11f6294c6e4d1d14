//! Clients of the API, signed in and signed out.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, Url, header::HeaderMap};
use serde_json::Value;
use uuid::Uuid;

use crate::{sample::Sample, stack::stack};

/// How long a token is used. Clerk's expire after a minute.
const TOKEN_AGE: Duration = Duration::from_secs(30);

/// A response of the API, with its body.
#[derive(Debug)]
pub(crate) struct Response {
    /// Of the request, for the messages of failed assertions.
    _url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Response {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the stack responds");
        let url = response.url().clone();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the response is complete");
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Self { _url: url, status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    /// Checks that this is a problem (RFC 9457) in the API's form.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {self:?}");
        }
        let challenged = self.headers.contains_key("www-authenticate");
        assert_eq!(challenged, status == 401, "{self:?}");
    }
}

/// A request to the API without a token.
pub(crate) fn request(method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("{}{path}", stack().api()))
}

/// A user that only one test has.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    token: Mutex<Option<(String, Instant)>>,
}

impl User {
    /// Signs up. Clerk's webhook has arrived when this returns.
    pub(crate) fn sign_up(name: &str) -> Self {
        let unique = Uuid::now_v7().simple().to_string();
        let (id, email) = (format!("user_{unique}"), format!("{unique}@example.com"));
        stack().local(&["user", "create", "--id", &id, "--email", &email, "--first-name", name]);
        Self { id, email, token: Mutex::default() }
    }

    /// A session token.
    pub(crate) fn token(&self) -> String {
        let mut token = self.token.lock().expect("no test fails while it holds this");
        match &*token {
            Some((token, since)) if since.elapsed() < TOKEN_AGE => token.clone(),
            _ => {
                let fresh = stack().local(&["token", "--user", &self.id]);
                *token = Some((fresh.clone(), Instant::now()));
                fresh
            }
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        request(method, path).bearer_auth(self.token())
    }

    /// Sends a request, with a body unless it is null.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        send(self.request(method, path), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.send(Method::DELETE, path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Response {
        self.send(Method::PATCH, path, body).await
    }

    /// Sends a request that takes effect only if the item has one of these entity tags.
    pub(crate) async fn send_if_match(&self, method: Method, path: &str, if_match: &str, body: &Value) -> Response {
        send(self.request(method, path).header("if-match", if_match), body).await
    }

    /// Creates an item of a resource.
    pub(crate) async fn create(&self, sample: &Sample) -> Response {
        let created = self.post(&sample.path, &sample.create).await;
        assert_eq!(created.status, 201, "{created:?}");
        created
    }
}

/// Sends a request, with a body unless it is null.
pub(crate) async fn send(request: RequestBuilder, body: &Value) -> Response {
    Response::to(if body.is_null() { request } else { request.json(body) }).await
}
