//! Events of API Gateway and function URLs (payload format 2.0), and their responses.
//!
//! Any client can send a path that is not part of a URL, an invalid host or a body that is not base64. A panic ends the
//! process, so such an event becomes a request with a [`Problem`].

use std::{
    borrow::Cow,
    task::{Context, Poll},
};

use axum::{
    body::{self, Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_runtime::{LambdaInvocation, tower::Service};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize, Serializer};
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

/// Converts an event into a request. One that cannot be served has its [`Problem`] as an extension.
pub fn request(event: &[u8]) -> Result<Request, InvalidEvent> {
    let mut request = Request::new(Body::empty());
    // The log's method if the event's cannot be read.
    *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
    let filled = match str::from_utf8(event).map(serde_json::from_str) {
        Ok(Ok(event)) => fill(&mut request, event),
        Ok(Err(error)) if error.classify() == Category::Data => return Err(InvalidEvent),
        Ok(Err(_)) | Err(_) => Err(invalid("The request cannot be decoded. Send headers in ASCII.")),
    };
    if let Err(problem) = filled {
        request.extensions_mut().insert(problem);
    }
    Ok(request)
}

fn fill(request: &mut Request, event: Event) -> Result<(), Problem> {
    *request.method_mut() = Method::from_bytes(event.request_context.http.method.as_bytes())
        .map_err(|_| invalid("The method is not an HTTP method."))?;
    *request.uri_mut() = uri(&event.raw_path.unwrap_or_default(), &event.raw_query_string.unwrap_or_default())?;
    *request.headers_mut() = headers(event.headers.unwrap_or_default(), &event.cookies.unwrap_or_default())?;
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        BASE64_STANDARD.decode(body).map_err(|_| invalid("The body is not valid base64."))?
    } else {
        body.into()
    };
    *request.body_mut() = body.into();
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

/// The response to an event
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventResponse {
    status_code: u16,
    #[serde(serialize_with = "serialize_headers")]
    headers: HeaderMap,
    cookies: Vec<String>,
    body: String,
    is_base64_encoded: bool,
}

impl EventResponse {
    /// Fails if the body cannot be read.
    pub(crate) async fn of(response: Response) -> Result<Self, axum::Error> {
        let (mut head, body) = response.into_parts();
        let body = body::to_bytes(body, usize::MAX).await?;
        let (body, is_base64_encoded) = match str::from_utf8(&body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (BASE64_STANDARD.encode(&body), true),
        };
        let cookies = head.headers.get_all(header::SET_COOKIE).iter().map(|cookie| text(cookie).into_owned()).collect();
        head.headers.remove(header::SET_COOKIE);
        Ok(Self { status_code: head.status.as_u16(), headers: head.headers, cookies, body, is_base64_encoded })
    }
}

/// Values of one name are combined (RFC 9110, section 5.3).
fn serialize_headers<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    let values = |name| headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(", ");
    serializer.collect_map(headers.keys().map(|name| (name.as_str(), values(name))))
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use axum::response::{AppendHeaders, IntoResponse};
    use serde_json::json;

    use super::*;

    async fn event_response(response: impl IntoResponse) -> Value {
        serde_json::to_value(EventResponse::of(response.into_response()).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn cookies_are_separate_and_other_headers_of_one_name_are_combined() {
        let headers = [("set-cookie", "a=1"), ("vary", "origin"), ("set-cookie", "b=2, c"), ("vary", "accept")];
        let response = event_response((AppendHeaders(headers), "é\"")).await;
        let headers = json!({ "content-type": "text/plain; charset=utf-8", "vary": "origin, accept" });
        let expected = json!({
            "statusCode": 200, "headers": headers, "cookies": ["a=1", "b=2, c"], "body": "é\"", "isBase64Encoded": false,
        });
        assert_eq!(response, expected);
    }

    #[tokio::test]
    async fn a_body_that_is_not_text_is_base64() {
        let response = event_response(vec![0xff, 0, 1]).await;
        assert_eq!((&response["body"], &response["isBase64Encoded"]), (&json!("/wAB"), &json!(true)));
    }

    #[tokio::test]
    async fn a_request_has_the_content_of_its_event() {
        let event = |body, is_base64_encoded| {
            let event = json!({
                "rawPath": "/chats/a b", "rawQueryString": "limit=1", "headers": { "accept": "*/*", "x": 1 },
                "cookies": ["a=1", "b=2"], "body": body, "isBase64Encoded": is_base64_encoded,
                "requestContext": { "http": { "method": "PUT" } },
            });
            request(event.to_string().as_bytes()).unwrap()
        };
        for (text, is_base64_encoded) in [("{}", false), ("e30=", true)] {
            let (head, body) = event(text, is_base64_encoded).into_parts();
            assert_eq!((head.method, head.uri.to_string()), (Method::PUT, "/chats/a%20b?limit=1".to_owned()));
            let expected = [("accept", "*/*"), ("cookie", "a=1; b=2")];
            assert_eq!(
                head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(body::to_bytes(body, usize::MAX).await.unwrap(), "{}");
        }
        assert!(event("!", true).extensions().get::<Problem>().is_some());
    }
}
