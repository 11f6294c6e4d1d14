//! Forwards requests to a listener that web pages cannot reach.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, Uri, header, uri::Scheme},
    response::Response,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::guard::problem;

/// A listener on one of the loopback interface's 2^24 IP addresses and a port, both random. A web page can neither guess
/// them nor point a host name of its own there. Where only 127.0.0.1 is configured, as on macOS, only the port is random.
pub(crate) async fn hidden_listener() -> Result<TcpListener> {
    let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
    // Without the network's address and the broadcast address.
    let address = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
    match TcpListener::bind((address, 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
    }
}

/// The path and query of a request, as sent.
pub(crate) fn path_and_query(request: &Request) -> &str {
    request.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// Forwards requests to one listener.
#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    target: SocketAddr,
}

impl Proxy {
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), target }
    }

    /// Forwards every request.
    pub(crate) fn router(self) -> Router {
        Router::new().fallback(async move |request| self.pass(request).await)
    }

    /// Sends a request to its own path.
    pub(crate) async fn pass(&self, request: Request) -> Response {
        let target = path_and_query(&request).to_owned();
        self.send(request, &target).await
    }

    /// Sends a request to `path_and_query`, and streams the response.
    pub(crate) async fn send(&self, mut request: Request, path_and_query: &str) -> Response {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.target.to_string());
        let Ok(uri) = uri.path_and_query(path_and_query).build() else {
            return problem(StatusCode::BAD_REQUEST, "Bad Request", "invalid_path", "The path is malformed.");
        };
        *request.uri_mut() = uri;
        // It describes the connection on which the request arrived.
        request.headers_mut().remove(header::CONNECTION);
        let Ok(response) = self.client.request(request).await else {
            let detail = "This part of the local stack does not respond. See the output of `make run`.";
            return problem(StatusCode::BAD_GATEWAY, "Bad Gateway", "bad_gateway", detail);
        };
        response.map(Body::new)
    }
}
