//! Events of API Gateway (payload format 2.0) and function URLs.
//!
//! `lambda_http` turns an event into a request and panics where it cannot: on a path or a host that is no part of a URL,
//! or a body that is not the base64 it claims to be. Anyone can send such things, so they are mended or refused first.

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::{
    aws_lambda_events::apigw::ApiGatewayV2httpRequest,
    http::{HeaderName, HeaderValue},
    request::LambdaRequest,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

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

/// The event is none that this function serves.
#[derive(Debug, thiserror::Error)]
pub enum NotARequest {
    /// Not an event of API Gateway or a function URL.
    #[error("the event is not an HTTP request in payload format 2.0: {0}")]
    Form(#[from] serde_json::Error),
    /// A body that cannot be decoded.
    #[error("the event says that its body is base64, which it is not")]
    Base64,
}

/// Makes an event, which is JSON, into one that `lambda_http` can read.
pub fn request(event: &str) -> Result<LambdaRequest, NotARequest> {
    let mut event = serde_json::from_str(event).or_else(|_| mended(event))?;

    let path = event.raw_path.unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    event.raw_path = Some(format!("{slash}{}", utf8_percent_encode(&path, PATH)));
    event.raw_query_string = event.raw_query_string.map(|query| utf8_percent_encode(&query, QUERY).to_string());
    // Without a host the request's address is its path alone, which is all that routing looks at.
    event.headers.remove("host");
    event.request_context.domain_name = None;

    if event.is_base64_encoded
        && let Some(body) = &event.body
    {
        BASE64_STANDARD.decode(body).map_err(|_| NotARequest::Base64)?;
    }
    Ok(LambdaRequest::ApiGatewayV2(event))
}

/// An event that cannot be read as it is, less the headers that HTTP does not allow: one of them must not cost the
/// caller an answer.
fn mended(event: &str) -> Result<ApiGatewayV2httpRequest, serde_json::Error> {
    let mut event: Value = serde_json::from_str(event)?;
    if let Some(headers) = event.get_mut("headers").and_then(Value::as_object_mut) {
        headers.retain(|name, value| {
            HeaderName::try_from(name).is_ok()
                && value.as_str().is_some_and(|value| HeaderValue::from_str(value).is_ok())
        });
    }
    serde_json::from_value(event)
}
