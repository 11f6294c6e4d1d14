//! The API and the function URLs, as API Gateway and Lambda serve them. Only the template's routes reach a function.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::any,
};

use crate::{
    functions::url_path,
    guard::{Guard, problem},
    invoker::Invoker,
    proxy::path_and_query,
    template::{Cors, Template},
};

/// The router of the API's port. `origins` are the front ends'.
pub(crate) fn router(template: &Template, functions: &Invoker, port: u16, origins: Vec<String>) -> Router {
    let mut routes = Vec::new();
    let mut urls = Router::new();
    for function in &template.functions {
        // cargo-lambda sends every path below this one to the function.
        let prefix = url_path(&function.binary);
        let (at, functions, name) = (prefix.clone(), functions.clone(), function.binary.clone());
        let to_function = async move |request: Request| {
            let target = path_and_query(&request).to_owned();
            if target.contains(&at) {
                // cargo-lambda would remove the prefix from the rest as well. No function has such a path.
                return problem(StatusCode::NOT_FOUND, "Not Found", "route_not_found", "No such path.");
            }
            let path = format!("{at}/{}", target.strip_prefix('/').unwrap_or(&target));
            functions.forward(&name, request, path).await
        };
        routes.extend(function.routes.iter().map(|route| (route.as_deref(), to_function.clone())));
        if function.has_url {
            urls = urls.nest_service(&prefix, any(to_function));
        }
    }
    let api = api_of(routes).layer(middleware::from_fn_with_state(Arc::new(template.cors.clone()), cors));
    Guard::api(port, origins).layer(urls.fallback_service(api))
}

/// The routes of functions, as API Gateway selects them: a whole path before one with `{proxy+}`, and the longer of two.
fn api_of<T: 'static>(mut routes: Vec<(Option<&str>, impl Handler<T, ()>)>) -> Router {
    routes.sort_by_key(|(path, _)| path.map(|path| (!path.ends_with("{proxy+}"), path.split('/').count())));
    routes.into_iter().fold(Router::new(), |others, (path, to_function)| match path {
        // Separate routers, since axum rejects a route that overlaps with {*proxy}.
        Some(path) => {
            Router::new().route(&path.replace("{proxy+}", "{*proxy}"), any(to_function)).fallback_service(others)
        }
        None => others.fallback(to_function),
    })
}

/// Adds the CORS headers that API Gateway adds by its configuration. The guard has checked the origin. Preflights reach the
/// function, as they do on AWS for routes of every method.
async fn cors(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = next.run(request).await;
    let Some(origin) = origin else { return response };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let mut list = |name: HeaderName, values: &[String]| {
        if let Ok(value) = values.join(",").parse() {
            headers.insert(name, value);
        }
    };
    if is_preflight {
        list(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
        list(header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
        list(header::ACCESS_CONTROL_MAX_AGE, &[cors.max_age.to_string()]);
    } else {
        list(header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_most_specific_route_is_selected() {
        let declared = [
            (None, "default"),
            (Some("/boards"), "boards"),
            (Some("/boards/{proxy+}"), "boards"),
            (Some("/boards/{board}/cards"), "cards"),
            (Some("/boards/{board}/cards/{proxy+}"), "cards"),
        ];
        for routes in [declared.to_vec(), declared.into_iter().rev().collect()] {
            let api = api_of(routes.into_iter().map(|(path, name)| (path, async move || name)).collect());
            for (path, function) in [
                ("/", "default"),
                ("/boards", "boards"),
                ("/boards/1", "boards"),
                ("/boards/1/elsewhere", "boards"),
                ("/boards/1/cards", "cards"),
                ("/boards/1/cards/2", "cards"),
                ("/cards", "default"),
            ] {
                let request = Request::builder().uri(path).body(axum::body::Body::empty()).expect("a request");
                let response = api.clone().oneshot(request).await.expect("infallible");
                let body = to_bytes(response.into_body(), 100).await.expect("a body");
                assert_eq!(body, function, "{path}");
            }
        }
    }
}
