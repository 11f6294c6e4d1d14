//! Who calls the API: somebody who is signed in, or nobody.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;
use uuid::Uuid;

use crate::stack::stack;

/// Clerk's tokens live for a minute; a fresh one is fetched well before.
const TOKEN_AGE: Duration = Duration::from_secs(30);

/// An answer of the API, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the stack answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the answer arrives whole");
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    /// Checks that this is a problem in the API's form, and nothing else.
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

/// A request to the API in nobody's name.
pub(crate) fn request(method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("{}{path}", stack().api()))
}

/// Somebody who has signed up in this test alone.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    token: Mutex<Option<(String, Instant)>>,
}

impl Person {
    /// Signs up; Clerk's webhook has arrived when this returns.
    pub(crate) fn sign_up(name: &str) -> Self {
        let unique = Uuid::now_v7().simple().to_string();
        let (id, email) = (format!("user_{unique}"), format!("{unique}@example.com"));
        stack().local(&["user", "create", "--id", &id, "--email", &email, "--first-name", name]);
        Self { id, email, token: Mutex::default() }
    }

    /// Somebody whom Clerk knows and whose webhook never arrives here is the same as one whose call arrives first; this
    /// is the session token of either.
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

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PATCH, path).json(body)).await
    }

    /// Creates a chat and gives its id.
    pub(crate) async fn create_chat(&self, title: &str) -> String {
        let created = self.post("/chats", &serde_json::json!({ "title": title })).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body["id"].as_str().expect("a chat has an id").to_owned()
    }
}
