//! Events of API Gateway (payload format 2.0) and function URLs, as requests and responses.
//!
//! Anyone can send a request that makes an unusual event, and a panic ends the process. So nothing here panics, and what
//! is too large is rejected before it reaches a type that has a limit: a `Uri` 65,534 bytes, a `HeaderMap` 32,768 entries.

use std::{
    collections::BTreeMap,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_runtime::{LambdaInvocation, tower::Service};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, error::Category};
use tokio::task::futures::TaskLocalFuture;

use crate::{Code, Problem};

/// The longest path and query, in bytes, as the event has them. Percent-encoding makes at most three of each, which is
/// within a `Uri`'s limit. API Gateway accepts 10,240 bytes of request line and headers.
const MAX_URI: usize = 16 * 1024;
/// The largest list of headers, counted as HTTP/2 does (RFC 9113, section 6.5.2): names, values, and 32 bytes for each.
const MAX_HEADERS: usize = 64 * 1024;

/// What a path may not hold as it is (RFC 3986, section 3.3); API Gateway hands paths over decoded.
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
/// What a query may not hold as it is (RFC 3986, section 3.4).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

tokio::task_local! {
    /// The bytes of the event that the current task answers.
    pub(crate) static RAW: Bytes;
}

/// Gives the handler an event's bytes as [`RAW`], and `lambda_runtime` a `null` to parse: where it cannot parse an event,
/// it reports an invocation error, and the client gets no problem.
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

/// The event is JSON, but not an HTTP request: no client of the API sent it. The message holds nothing of the event.
#[derive(Debug, thiserror::Error)]
#[error("the event is not an HTTP request in payload format 2.0")]
pub struct NotHttp;

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

/// Makes an event into a request. One that cannot be served has the [`Problem`] that answers it as an extension.
pub fn request(event: &[u8]) -> Result<Request<Body>, NotHttp> {
    let mut request = Request::default();
    // What the log shows where the event's own method cannot be read.
    *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
    let filled = match str::from_utf8(event).map(serde_json::from_str) {
        Ok(Ok(event)) => fill(&mut request, event),
        Ok(Err(error)) if error.classify() == Category::Data => return Err(NotHttp),
        Ok(Err(_)) | Err(_) => Err(invalid("The request cannot be decoded. Send headers in ASCII.")),
    };
    if let Err(problem) = filled {
        request.extensions_mut().insert(problem);
    }
    Ok(request)
}

fn fill(request: &mut Request<Body>, event: Event) -> Result<(), Problem> {
    *request.method_mut() = Method::from_bytes(event.request_context.http.method.as_bytes())
        .map_err(|_| invalid("The method is not an HTTP method."))?;
    *request.uri_mut() = uri(&event.raw_path.unwrap_or_default(), &event.raw_query_string.unwrap_or_default())?;
    *request.headers_mut() = headers(event.headers.unwrap_or_default(), &event.cookies.unwrap_or_default())?;
    let body = event.body.unwrap_or_default();
    *request.body_mut() = if event.is_base64_encoded {
        BASE64_STANDARD.decode(body).map_err(|_| invalid("The body is not valid base64."))?.into()
    } else {
        body.into()
    };
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

/// The event's headers, less those that HTTP does not allow: one of them must not cost the client a response.
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

/// A response as Lambda expects it, in payload format 2.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseEvent {
    status_code: u16,
    headers: BTreeMap<String, String>,
    cookies: Vec<String>,
    body: String,
    is_base64_encoded: bool,
}

/// Makes a response into what Lambda expects. It fails where the body does.
pub async fn response(response: Response<Body>) -> Result<ResponseEvent, axum::Error> {
    let (parts, body) = response.into_parts();
    let mut headers = BTreeMap::<String, String>::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == header::SET_COOKIE {
            cookies.push(value.into_owned());
        } else {
            // Repeated headers are one list (RFC 9110, section 5.3).
            let line = headers.entry(name.to_string()).or_default();
            let comma = if line.is_empty() { "" } else { ", " };
            line.extend([comma, &value]);
        }
    }
    let (body, is_base64_encoded) = match String::from_utf8(to_bytes(body, usize::MAX).await?.into()) {
        Ok(text) => (text, false),
        Err(binary) => (BASE64_STANDARD.encode(binary.as_bytes()), true),
    };
    Ok(ResponseEvent { status_code: parts.status.as_u16(), headers, cookies, body, is_base64_encoded })
}
