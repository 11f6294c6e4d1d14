use std::collections::{BTreeMap, BTreeSet};

use api::Operation::Create;
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
            for (method, path, body) in sample.requests(&sample.item(id)) {
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
    for sample in Sample::all() {
        let item = sample.missing_item();
        let mut allowed = BTreeMap::<_, BTreeSet<_>>::new();
        for (method, path, _) in sample.requests(&item) {
            let head = (method == Method::GET).then_some(Method::HEAD);
            allowed.entry(path).or_default().extend([method].into_iter().chain(head).map(|method| method.to_string()));
        }
        for (path, allowed) in allowed {
            let all = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
            for method in all.into_iter().filter(|method| !allowed.contains(method.as_str())) {
                let response = Response::to(request(method, &path).json(&json!({}))).await;
                response.is_problem(405, "method_not_allowed");
                let allow: BTreeSet<_> =
                    response.header("allow").split(',').map(|name| name.trim().to_owned()).collect();
                assert_eq!(allow, allowed, "{response:?}");
            }
        }
    }
}

#[tokio::test]
async fn other_paths_are_404() {
    for sample in Sample::with(&[Create]) {
        let ada = User::sign_up("Ada");
        let item = ada.create(&sample).await.header("location").to_owned();
        for path in [format!("{}/", sample.path), format!("{item}/"), format!("{item}/unknown"), format!("{item}/a/b")]
        {
            ada.get(&path).await.is_problem(404, "route_not_found");
        }
    }
}
