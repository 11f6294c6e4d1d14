use base64::Engine;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    client::{Answer, Person, request},
    stack::stack,
};

const ROUTES: [(Method, &str); 7] = [
    (Method::GET, "/chats"),
    (Method::POST, "/chats"),
    (Method::GET, "/chats/01890a5d-ac96-774b-bcce-b302099a8057"),
    (Method::PATCH, "/chats/01890a5d-ac96-774b-bcce-b302099a8057"),
    (Method::DELETE, "/chats/01890a5d-ac96-774b-bcce-b302099a8057"),
    (Method::GET, "/profile"),
    (Method::PUT, "/profile"),
];

async fn every_route(code: &str, challenge: &str, signed: impl Fn(RequestBuilder) -> RequestBuilder) {
    for (method, path) in ROUTES {
        let request = signed(request(method.clone(), path)).json(&json!({ "title": "x" }));
        let answer = Answer::to(request).await;
        answer.is_problem(401, code);
        assert!(answer.header("www-authenticate").starts_with(challenge), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_accessible() {
    every_route("token_missing", "Bearer", |request| request).await;
    every_route("token_missing", "Bearer", |request| request.header("authorization", "Basic YTpi")).await;
    every_route("token_missing", "Bearer", |request| request.header("authorization", "Bearer ")).await;
}

#[tokio::test]
async fn a_token_is_read_from_the_authorization_header_alone() {
    let token = Person::sign_up("Ada").token();
    let answer = Answer::to(request(Method::GET, &format!("/chats?token={token}&access_token={token}"))).await;
    answer.is_problem(401, "token_missing");
    let cookie = request(Method::GET, "/chats").header("cookie", format!("__session={token}"));
    Answer::to(cookie).await.is_problem(401, "token_missing");
    let lower_case = request(Method::GET, "/chats").header("authorization", format!("bearer {token}"));
    assert_eq!(Answer::to(lower_case).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_not_clerks_opens_nothing() {
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("token_malformed", challenge, |request| request.bearer_auth("nonsense")).await;

    let token = Person::sign_up("Ada").token();
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut letters: Vec<char> = signature.chars().collect();
    letters[0] = if letters[0] == 'A' { 'B' } else { 'A' };
    let forged = format!("{message}.{}", letters.into_iter().collect::<String>());
    every_route("token_bad_signature", challenge, |request| request.bearer_auth(&forged)).await;
}

/// A token lives on after sign-out; here it is worth nothing from the moment Clerk's webhook has landed.
#[tokio::test]
async fn signing_out_ends_the_session_for_the_very_next_call() {
    let ada = Person::sign_up("Ada");
    let session = stack().local(&["sign-in", "--user", &ada.id]);
    let token = ada.token();
    assert!(token_session(&token).contains(&session), "the token is of the session");
    assert_eq!(ada.post("/chats", &json!({ "title": "plans" })).await.status, 201);
    let before = ada.get("/chats").await.body;

    stack().local(&["sign-out", "--session", &session]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("session_ended", challenge, |request| request.bearer_auth(&token)).await;
    // What is asked for makes no difference: nothing is told about it.
    for path in ["/chats?limit=0", "/chats/nonsense"] {
        Answer::to(request(Method::GET, path).bearer_auth(&token)).await.is_problem(401, "session_ended");
    }

    // Signed in again, she finds everything as it was: the ended session wrote nothing.
    let fresh = stack().local(&["token", "--user", &ada.id]);
    let after = Answer::to(request(Method::GET, "/chats").bearer_auth(fresh)).await;
    assert_eq!((after.status, after.body), (200, before));
}

fn token_session(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("three parts");
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    String::from_utf8(claims).expect("UTF-8")
}

#[tokio::test]
async fn who_is_banned_is_out_until_the_ban_is_lifted() {
    let ada = Person::sign_up("Ada");
    let token = ada.token();
    stack().local(&["user", "ban", "--id", &ada.id]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("account_inactive", challenge, |request| request.bearer_auth(&token)).await;
    assert!(!stack().run(&["token", "--user", &ada.id]).status.success());
    stack().local(&["user", "unban", "--id", &ada.id]);
    let fresh = stack().local(&["token", "--user", &ada.id]);
    assert_eq!(Answer::to(request(Method::GET, "/profile").bearer_auth(fresh)).await.body["isActive"], true);
}

#[tokio::test]
async fn who_is_deleted_is_out_at_once_and_gets_no_more_tokens() {
    let ada = Person::sign_up("Ada");
    let token = ada.token();
    stack().local(&["user", "delete", "--id", &ada.id]);
    let challenge = "Bearer error=\"invalid_token\"";
    every_route("account_inactive", challenge, |request| request.bearer_auth(&token)).await;
    let output = stack().run(&["token", "--user", &ada.id]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "only a token goes to standard output");
}
