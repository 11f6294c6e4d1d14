//! The event by which API Gateway asks whether a WebSocket may open (`$connect`).
//!
//! It becomes a request for [`PATH`] with the token as an `Authorization` header. Nothing else of it is read.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, Uri, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::NewConnection;

/// The path of the request.
pub const PATH: &str = "/$connect";
/// The subprotocol of the messages, which the client must offer and the response must name, or browsers close the socket
/// (RFC 6455, section 4.1).
pub const PROTOCOL: HeaderValue = HeaderValue::from_static("live.v1");
/// The prefix of the subprotocol that carries the token, since browsers cannot set other headers of a WebSocket.
const TOKEN_PREFIX: &str = "bearer.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    multi_value_headers: Map<String, Value>,
    request_context: RequestContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    event_type: String,
    connection_id: String,
    connected_at: u64,
}

/// The request of an event, if it is a `$connect`.
pub fn request(event: &[u8]) -> Option<Request> {
    let Event { multi_value_headers, request_context } = serde_json::from_slice(event).ok()?;
    let RequestContext { event_type, connection_id: id, connected_at } = request_context;
    if event_type != "CONNECT" {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static(PATH);
    if let Some(token) = token(&multi_value_headers) {
        request.headers_mut().insert(header::AUTHORIZATION, token);
    }
    request.extensions_mut().insert(NewConnection { id, connected_at });
    Some(request)
}

/// The token, if the client offers exactly the protocol and one token. Header names come in any case.
fn token(headers: &Map<String, Value>) -> Option<HeaderValue> {
    let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header::SEC_WEBSOCKET_PROTOCOL.as_str()));
    let lines = lines.filter_map(|(_, lines)| lines.as_array()).flatten().filter_map(Value::as_str);
    let offered: Vec<_> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let token = match offered.as_slice() {
        [protocol, token] if PROTOCOL == **protocol => token,
        [token, protocol] if PROTOCOL == **protocol => token,
        _ => return None,
    };
    HeaderValue::try_from(format!("Bearer {}", token.strip_prefix(TOKEN_PREFIX)?)).ok()
}

/// The response to a `$connect` event. API Gateway reads nothing else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectResponse {
    status_code: u16,
    headers: ConnectHeaders,
}

/// The names are written as in AWS's documentation, which does not say whether case matters.
#[derive(Serialize)]
struct ConnectHeaders {
    #[serde(rename = "Sec-WebSocket-Protocol", skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
}

impl From<Response> for ConnectResponse {
    fn from(response: Response) -> Self {
        let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        Self {
            status_code: response.status().as_u16(),
            headers: ConnectHeaders { protocol: protocol.map(str::to_owned) },
        }
    }
}
