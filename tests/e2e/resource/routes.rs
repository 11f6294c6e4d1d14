use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::{
    client::{Response, User, request},
    sample::Sample,
};

#[tokio::test]
async fn ids_in_paths_that_are_not_uuidv7_are_400() {
    for sample in Sample::all() {
        let ada = User::sign_up("Ada");
        for id in ["nonsense", "67e55044-10b1-426f-9247-bb680e5fe0c8", "01890a5dac96774bbcceb302099a8057", "%FF", "%00"]
        {
            for (method, path, body) in sample.operations(&sample.item(id)) {
                if path != sample.path {
                    let response = ada.send(method, &path, &body).await;
                    response.is_problem(400, "invalid_id");
                    assert!(
                        response.body["detail"].as_str().is_some_and(|detail| detail.contains("id")),
                        "{response:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_with_the_allowed_ones() {
    let other = |allowed: &'static [&str]| {
        let all = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        all.into_iter().filter(|method| !allowed.contains(&method.as_str()))
    };
    for sample in Sample::all() {
        let paths: [(_, &[&str]); 2] = [
            (sample.path.clone(), &["GET", "HEAD", "POST"]),
            (sample.missing_item(), &["DELETE", "GET", "HEAD", "PATCH"]),
        ];
        for (path, allowed) in paths {
            for method in other(allowed) {
                let response = Response::to(request(method, &path).json(&json!({}))).await;
                response.is_problem(405, "method_not_allowed");
                let allow: BTreeSet<_> = response.header("allow").split(',').map(str::trim).collect();
                assert_eq!(allow, allowed.iter().copied().collect(), "{response:?}");
            }
        }
    }
}

#[tokio::test]
async fn other_paths_are_404() {
    for sample in Sample::all() {
        let ada = User::sign_up("Ada");
        let item = ada.create(&sample).await.header("location").to_owned();
        for path in [format!("{}/", sample.path), format!("{item}/"), format!("{item}/unknown"), format!("{item}/a/b")]
        {
            ada.get(&path).await.is_problem(404, "route_not_found");
        }
    }
}
