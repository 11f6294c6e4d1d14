//! Rejects requests of other web pages. Every page that the developer visits can send requests to ports of the developer's
//! machine, and by DNS rebinding even under its own host name.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// The code of a rejected page.
pub(crate) const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";

/// The web pages that may use a listener.
enum Pages {
    /// None, only programs.
    None,
    /// Pages of these origins, such as the front ends of an API.
    Of(Vec<String>),
    /// Its own pages, and those of these origins. Any page may link to it.
    Own(Vec<String>),
}

/// Checks a request's host, and the origin of the page that sent it.
pub(crate) struct Guard {
    hosts: Vec<String>,
    pages: Pages,
}

impl Guard {
    /// For a listener on the loopback interface that serves programs.
    pub(crate) fn programs(port: u16) -> Self {
        Self { hosts: loopback(port), pages: Pages::None }
    }

    /// For a listener that containers call by `host`, which includes the port.
    pub(crate) fn containers(host: String) -> Self {
        Self { hosts: vec![host], pages: Pages::None }
    }

    /// For an API on the loopback interface that serves programs, and pages of `origins`.
    pub(crate) fn api(port: u16, origins: Vec<String>) -> Self {
        Self { hosts: loopback(port), pages: Pages::Of(origins) }
    }

    /// For a web server on the loopback interface whose own origins are among `origins`.
    pub(crate) fn web(port: u16, origins: Vec<String>) -> Self {
        Self { hosts: loopback(port), pages: Pages::Own(origins) }
    }

    /// Puts the guard before all routes that the router has so far.
    pub(crate) fn layer(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), check))
    }

    fn is_known_host(&self, request: &Request) -> bool {
        let is_known = |host: &str| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
        // A request in absolute form names the host in its target as well.
        let target = request.uri().authority().is_none_or(|authority| is_known(authority.as_str()));
        target && single(request.headers(), header::HOST.as_str()).is_ok_and(|host| host.is_some_and(is_known))
    }

    fn is_allowed_page(&self, request: &Request) -> bool {
        let headers = request.headers();
        let (Ok(origin), Ok(site)) = (single(headers, "origin"), single(headers, "sec-fetch-site")) else {
            return false;
        };
        let is_listed = |origins: &[String]| origin.is_none_or(|origin| origins.iter().any(|known| known == origin));
        // Browsers send "none" for a URL that the user types.
        let is_own = site.is_none_or(|site| ["same-origin", "none"].contains(&site));
        match &self.pages {
            Pages::None => origin.is_none() && site.is_none(),
            Pages::Of(origins) => is_listed(origins) && (is_own || origin.is_some()),
            Pages::Own(origins) => is_listed(origins) && (is_own || is_visit(request)),
        }
    }
}

/// The hosts of a port on the loopback interface.
fn loopback(port: u16) -> Vec<String> {
    let names = ["localhost", "127.0.0.1"];
    let default = names.iter().filter(|_| port == 80).map(|name| (*name).to_owned());
    names.iter().map(|name| format!("{name}:{port}")).chain(default).collect()
}

/// Whether the browser follows a link at the top level, where the linking page cannot read the response.
fn is_visit(request: &Request) -> bool {
    let is = |name, value: &str| single(request.headers(), name) == Ok(Some(value));
    request.method() == Method::GET && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// The only value of a header, if it is present. A header that is duplicated or not text is an error.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().map_err(drop)).transpose()?;
    if values.next().is_some() { Err(()) } else { Ok(value) }
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if !guard.is_known_host(&request) {
        let detail = format!("This port serves only http://{}.", guard.hosts.join(" and http://"));
        return forbidden("host_not_allowed", &detail);
    }
    if !guard.is_allowed_page(&request) {
        let detail = match guard.pages {
            Pages::None => "Web pages cannot use this port. Call it from a program.",
            Pages::Of(_) | Pages::Own(_) => {
                "Pages of this origin cannot use the local stack. Start it with your front end's origin in WEB_ORIGINS."
            }
        };
        return forbidden(ORIGIN_NOT_ALLOWED, detail);
    }
    next.run(request).await
}

/// The code of a response of the local stack itself, as an extension of it.
#[derive(Clone)]
pub(crate) struct Rejected {
    pub(crate) code: &'static str,
    pub(crate) cause: Option<String>,
}

impl Rejected {
    /// Adds itself to a response, for the stack's log.
    pub(crate) fn with(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

fn forbidden(code: &'static str, detail: &str) -> Response {
    Rejected { code, cause: None }.with(problem(StatusCode::FORBIDDEN, "Forbidden", code, detail))
}

/// A problem (RFC 9457) of the local stack itself.
pub(crate) fn problem(status: StatusCode, title: &str, code: &str, detail: &str) -> Response {
    let body =
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;

    const APP: &str = "http://localhost:3000";

    type Headers = &'static [(&'static str, &'static str)];

    /// Whether a request with these headers is served.
    async fn serves(guard: Guard, method: Method, target: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router = guard.layer(Router::new().fallback(async || "served"));
        let response = router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("it answers");
        if response.status() == StatusCode::FORBIDDEN {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert!(!response.headers().contains_key("access-control-allow-origin"), "no page can read the response");
        }
        response.status() == StatusCode::OK
    }

    fn guards() -> [Guard; 3] {
        let origins = || vec![APP.to_owned()];
        [Guard::programs(3000), Guard::api(3000, origins()), Guard::web(3000, origins())]
    }

    #[tokio::test]
    async fn rebound_hosts_are_rejected() {
        let served = ["localhost:3000", "127.0.0.1:3000", "LocalHost:3000"];
        let rejected = [
            "evil.example:3000",
            "evil.example",
            "localhost",
            "localhost:3001",
            "localhost.:3000",
            "localhost.evil.example:3000",
            "evil@localhost:3000",
            "127.0.0.1.evil.example:3000",
            "127.0.0.2:3000",
            "0.0.0.0:3000",
            "[::1]:3000",
            "192.168.0.1:3000",
            "",
            "localhost:3000,evil.example",
        ];
        for (hosts, expected) in [(&served[..], true), (&rejected[..], false)] {
            for host in hosts {
                for guard in guards() {
                    let is_served = serves(guard, Method::POST, "/", &[("host", host)]).await;
                    assert_eq!(is_served, expected, "{host}");
                }
            }
        }
        for guard in guards() {
            assert!(!serves(guard, Method::GET, "/", &[]).await, "a request without a host");
        }
        for guard in guards() {
            let hosts = [("host", "localhost:3000"), ("host", "evil.example")];
            assert!(!serves(guard, Method::GET, "/", &hosts).await, "two hosts");
        }
        for guard in guards() {
            let target = "http://evil.example:3000/";
            assert!(!serves(guard, Method::GET, target, &[("host", "localhost:3000")]).await, "an absolute target");
        }
        assert!(serves(Guard::programs(80), Method::GET, "/", &[("host", "localhost")]).await);
    }

    #[tokio::test]
    async fn only_pages_of_known_origins_are_served() {
        // The headers of a request, and whether it is served to programs, by an API and by a web server.
        let cases: [(Headers, [bool; 3]); 14] = [
            (&[], [true, true, true]),
            (&[("origin", APP)], [false, true, true]),
            (&[("origin", APP), ("sec-fetch-site", "same-origin")], [false, true, true]),
            (&[("origin", APP), ("sec-fetch-site", "same-site")], [false, true, false]),
            (&[("origin", APP), ("sec-fetch-site", "cross-site")], [false, true, false]),
            (&[("sec-fetch-site", "none")], [false, true, true]),
            (&[("sec-fetch-site", "same-site")], [false, false, false]),
            (&[("sec-fetch-site", "cross-site")], [false, false, false]),
            (&[("sec-fetch-site", "unheard-of")], [false, false, false]),
            (&[("origin", "null")], [false, false, false]),
            (&[("origin", "")], [false, false, false]),
            (&[("origin", "http://localhost:3001"), ("sec-fetch-site", "same-site")], [false, false, false]),
            (&[("origin", "http://localhost:30000")], [false, false, false]),
            (&[("origin", APP), ("origin", "http://evil.example")], [false, false, false]),
        ];
        for (headers, expected) in cases {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                for (guard, expected) in guards().into_iter().zip(expected) {
                    let headers: Vec<_> = [("host", "localhost:3000")].iter().chain(headers).copied().collect();
                    let is_served = serves(guard, method.clone(), "/", &headers).await;
                    assert_eq!(is_served, expected, "{method} {headers:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn other_sites_can_link_to_pages_but_not_embed_them() {
        let visit = |method, dest| {
            let headers = [
                ("host", "localhost:3000"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", dest),
            ];
            let [programs, api, web] = guards();
            async move {
                assert!(!serves(programs, Method::GET, "/", &headers).await);
                assert!(!serves(api, Method::GET, "/", &headers).await);
                serves(web, method, "/", &headers).await
            }
        };
        assert!(visit(Method::GET, "document").await);
        assert!(!visit(Method::GET, "iframe").await);
        assert!(!visit(Method::POST, "document").await);
    }
}
