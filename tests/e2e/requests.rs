use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Person, request};

/// Every bad input has its own answer, and the sentence names what is wrong.
#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let ada = Person::sign_up("Ada");
    let chat = format!("/chats/{}", ada.create_chat("plans").await);
    let cases = [
        (Method::GET, "/chats?limit=0", "", 400, "invalid_query", "limit"),
        (Method::GET, "/chats?limit=101", "", 400, "invalid_query", "1 to 100"),
        (Method::GET, "/chats?limit=many", "", 400, "invalid_query", "1 to 100"),
        (Method::GET, "/chats?limit=1&limit=2", "", 400, "invalid_query", "duplicate"),
        (Method::GET, "/chats?cursor=nonsense", "", 400, "invalid_query", "cursor"),
        (Method::GET, "/chats?cursor=", "", 400, "invalid_query", "cursor"),
        (Method::GET, "/chats/nonsense", "", 400, "invalid_id", "UUIDv7"),
        (Method::GET, "/chats/67e55044-10b1-426f-9247-bb680e5fe0c8", "", 400, "invalid_id", "UUIDv7"),
        (Method::GET, "/chats/%FF", "", 400, "invalid_id", "id"),
        (Method::PATCH, "/chats/nonsense", "{\"title\":\"x\"}", 400, "invalid_id", "UUIDv7"),
        (Method::DELETE, "/chats/nonsense", "", 400, "invalid_id", "UUIDv7"),
        (Method::POST, "/chats", "", 400, "invalid_json", "JSON"),
        (Method::POST, "/chats", "{", 400, "invalid_json", "JSON"),
        (Method::POST, "/chats", "{\"title\":\"x\"} more", 400, "invalid_json", "JSON"),
        (Method::POST, "/chats", "{\"title\":\"\\ud800\"}", 400, "invalid_json", "JSON"),
        (Method::POST, "/chats", "null", 422, "invalid_body", "object"),
        (Method::POST, "/chats", "[]", 422, "invalid_body", "object"),
        (Method::PATCH, &chat, "[\"x\"]", 422, "invalid_body", "object"),
        (Method::POST, "/chats", "{}", 422, "invalid_body", "title"),
        (Method::POST, "/chats", "{\"title\":1}", 422, "invalid_body", "title"),
        (Method::POST, "/chats", "{\"title\":null}", 422, "invalid_body", "title"),
        (Method::POST, "/chats", "{\"title\":\" \"}", 422, "invalid_body", "at least one character"),
        (Method::POST, "/chats", "{\"title\":\"a\\nb\"}", 422, "invalid_body", "control"),
        (Method::POST, "/chats", "{\"title\":\"x\",\"titel\":\"y\"}", 422, "invalid_body", "titel"),
        (Method::POST, "/chats", "{\"title\":\"x\",\"title\":\"y\"}", 422, "invalid_body", "duplicate"),
        (Method::POST, "/chats", "{\"title\":\"x\",\"id\":\"nonsense\"}", 422, "invalid_body", "UUIDv7"),
        (Method::PATCH, &chat, "{}", 422, "invalid_body", "title"),
        (Method::PATCH, &chat, "{\"title\":\"x\",\"version\":3}", 422, "invalid_body", "version"),
        (Method::PUT, "/profile", "{\"email\":\"nonsense\"}", 422, "invalid_body", "ada@example.com"),
        (Method::PUT, "/profile", "{\"imageUrl\":\"javascript:alert(1)\"}", 422, "invalid_body", "https://"),
        (Method::PUT, "/profile", "{\"nickname\":\"A\"}", 422, "invalid_body", "nickname"),
        (Method::PUT, "/chats", "{}", 405, "method_not_allowed", "Allow"),
        (Method::POST, "/profile", "{}", 405, "method_not_allowed", "Allow"),
        (Method::POST, &chat, "{}", 405, "method_not_allowed", "Allow"),
        (Method::GET, "/", "", 404, "route_not_found", "path"),
        (Method::GET, "/nowhere", "", 404, "route_not_found", "path"),
        (Method::GET, "/chats/", "", 404, "route_not_found", "path"),
        (Method::GET, "/chats/a/b", "", 404, "route_not_found", "path"),
    ];
    for (method, path, body, status, code, hint) in cases {
        let mut request = ada.request(method.clone(), path).header("content-type", "application/json");
        if !body.is_empty() {
            request = request.body(body);
        }
        let answer = Answer::to(request).await;
        println!("{method} {path} {body}");
        answer.is_problem(status, code);
        let detail = answer.body["detail"].as_str().expect("a sentence");
        assert!(detail.contains(hint), "{method} {path} {body}: {detail:?} does not say {hint:?}");
        assert!(detail.ends_with('.') && !detail.ends_with(".."), "{detail:?}");
    }
    assert_eq!(ada.get(&chat).await.body["version"], 1, "none of this changed anything");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let answer = Answer::to(request(Method::PUT, "/chats")).await;
    answer.is_problem(405, "method_not_allowed");
    let allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
    assert!(allow.contains(&"GET") && allow.contains(&"POST"), "{allow:?}");
}

#[tokio::test]
async fn bodies_are_json_of_at_most_16_kib() {
    let ada = Person::sign_up("Ada");
    let post = async |content_type: &str, body: String| {
        Answer::to(ada.request(Method::POST, "/chats").header("content-type", content_type).body(body)).await
    };
    let padded = |length: usize| {
        let empty = json!({ "title": "x" }).to_string();
        format!("{}{}", " ".repeat(length - empty.len()), empty)
    };
    assert_eq!(post("application/json", padded(16 * 1024)).await.status, 201);
    post("application/json", padded(16 * 1024 + 1)).await.is_problem(413, "body_too_large");
    assert_eq!(post("application/json; charset=utf-8", padded(100)).await.status, 201);
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        post(other, padded(100)).await.is_problem(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn titles_are_counted_in_characters() {
    let ada = Person::sign_up("Ada");
    let longest = "ä".repeat(200);
    let created = ada.post("/chats", &json!({ "title": longest })).await;
    assert_eq!((created.status, &created.body["title"]), (201, &json!(longest)));
    ada.post("/chats", &json!({ "title": "ä".repeat(201) })).await.is_problem(422, "invalid_body");
}
