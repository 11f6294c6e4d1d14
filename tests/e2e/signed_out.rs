use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::client::{Answer, Person, request};

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

#[tokio::test]
async fn who_is_deleted_gets_no_more_tokens() {
    let ada = Person::sign_up("Ada");
    crate::stack::stack().local(&["user", "delete", "--id", &ada.id]);
    let output = crate::stack::stack().run(&["token", "--user", &ada.id]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "only a token goes to standard output");
}
