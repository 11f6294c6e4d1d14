//! Events of API Gateway (payload format 2.0) and function URLs.
//!
//! `lambda_http` converts them into requests. It panics on a path that is not part of a URL, on more than 65,534 bytes of
//! URL or 32,768 headers, on an invalid host, and on a body that is declared as base64 but is not. Any client can send
//! such requests, and a panic ends the process. So events are validated here before `lambda_http` gets them.

use std::task::{Context, Poll};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{aws_lambda_events::apigw::ApiGatewayV2httpRequest, request::LambdaRequest};
use lambda_runtime::{LambdaInvocation, tower::Service};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, error::Category};
use tokio::task::futures::TaskLocalFuture;

use crate::{Code, Problem};

/// The longest path and query, in bytes, as in the event. Percent-encoding makes at most three of each, which is
/// within a `Uri`'s limit. API Gateway accepts 10,240 bytes of request line and headers.
const MAX_URI: usize = 16 * 1024;
/// The largest list of headers, counted as in HTTP/2 (RFC 9113, section 6.5.2): names, values, and 32 bytes for each.
const MAX_HEADERS: usize = 64 * 1024;

/// The characters that a path must not contain unencoded (RFC 3986, section 3.3). API Gateway decodes paths.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// The characters that a query must not contain unencoded (RFC 3986, section 3.4).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

tokio::task_local! {
    /// The bytes of the current task's event.
    pub(crate) static RAW: Bytes;
}

/// Passes an event's bytes to the handler as [`RAW`], and `null` to `lambda_runtime`: if that cannot parse an event, it
/// reports an invocation error, and the client gets no problem.
#[derive(Clone)]
pub(crate) struct RawEvents<S>(pub(crate) S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for RawEvents<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let event = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        RAW.scope(event, self.0.call(invocation))
    }
}

/// The event is JSON, but not an HTTP request, so no client of the API sent it. The message contains no part of it.
#[derive(Debug, thiserror::Error)]
#[error("the event is not an HTTP request in payload format 2.0")]
pub struct InvalidEvent;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RequestContext,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

/// Converts an event into one that `lambda_http` accepts. An event that cannot be served comes with its [`Problem`].
pub fn request(event: &[u8]) -> Result<(LambdaRequest, Option<Problem>), InvalidEvent> {
    let mut request = ApiGatewayV2httpRequest::default();
    // The log's method if the event's cannot be read, and a path that `lambda_http` accepts.
    request.request_context.http.method = Method::from_bytes(b"-").unwrap_or_default();
    request.raw_path = Some("/".to_owned());
    let filled = match str::from_utf8(event).map(serde_json::from_str) {
        Ok(Ok(event)) => fill(&mut request, event),
        Ok(Err(error)) if error.classify() == Category::Data => return Err(InvalidEvent),
        Ok(Err(_)) | Err(_) => Err(invalid("The request cannot be decoded. Send headers in ASCII.")),
    };
    Ok((LambdaRequest::ApiGatewayV2(request), filled.err()))
}

/// Host and stage stay empty: routing uses only the path, and the host may be invalid.
fn fill(request: &mut ApiGatewayV2httpRequest, event: Event) -> Result<(), Problem> {
    request.request_context.http.method = Method::from_bytes(event.request_context.http.method.as_bytes())
        .map_err(|_| invalid("The method is not an HTTP method."))?;
    let uri = uri(&event.raw_path.unwrap_or_default(), &event.raw_query_string.unwrap_or_default())?;
    request.raw_path = Some(uri.path().to_owned());
    request.raw_query_string = uri.query().map(str::to_owned);
    request.headers = headers(event.headers.unwrap_or_default(), &event.cookies.unwrap_or_default())?;
    request.headers.remove(header::HOST);
    if event.is_base64_encoded && event.body.as_ref().is_some_and(|body| BASE64_STANDARD.decode(body).is_err()) {
        return Err(invalid("The body is not valid base64."));
    }
    request.is_base64_encoded = event.is_base64_encoded;
    request.body = event.body;
    Ok(())
}

fn uri(path: &str, query: &str) -> Result<Uri, Problem> {
    if path.len() + query.len() > MAX_URI {
        let detail = format!("Path and query are longer than {MAX_URI} bytes. Shorten them.");
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let question_mark = if query.is_empty() { "" } else { "?" };
    let (path, query) = (utf8_percent_encode(path, PATH), utf8_percent_encode(query, QUERY));
    Uri::try_from(format!("{slash}{path}{question_mark}{query}"))
        .map_err(|_| invalid("Path and query are not part of a valid URL."))
}

/// The event's headers without those that HTTP does not allow, which are dropped.
fn headers(headers: Map<String, Value>, cookies: &[String]) -> Result<HeaderMap, Problem> {
    let cookies = (!cookies.is_empty()).then(|| (header::COOKIE.to_string(), cookies.join("; ").into()));
    let mut map = HeaderMap::new();
    let mut size = 0;
    for (name, value) in headers.into_iter().chain(cookies) {
        let Value::String(value) = value else { continue };
        size += name.len() + value.len() + 32;
        if size > MAX_HEADERS {
            let detail = format!("The headers are larger than {MAX_HEADERS} bytes. Send fewer or shorter ones.");
            return Err(Problem::new(Code::HeadersTooLarge, detail));
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    Ok(map)
}

fn invalid(detail: &str) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}
