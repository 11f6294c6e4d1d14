use axum::{
    Json,
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::error::Category;

use crate::{Auth, Code, Problem, rejection::sentence, session::session_problem_or};

/// The largest body that a client may send.
const MAX_BYTES: usize = 16 * 1024;

/// A JSON body of a request or a response.
pub struct Body<T>(pub T);

impl<T: Serialize> IntoResponse for Body<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequest<S> for Body<T>
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        match read(&parts.headers, body).await {
            Ok(value) => Ok(Self(value)),
            Err(problem) => Err(session_problem_or(problem, &mut parts, state).await),
        }
    }
}

async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: axum::body::Body) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "The body must be JSON. Send it with the header Content-Type: application/json.",
        ));
    }
    let body = axum::body::to_bytes(body, MAX_BYTES).await.map_err(|_| {
        Problem::new(Code::BodyTooLarge, format!("The body is larger than {MAX_BYTES} bytes. Send less."))
    })?;
    let body =
        str::from_utf8(&body).map_err(|_| Problem::new(Code::InvalidJson, "The body is not JSON: it is not UTF-8."))?;
    parse(body)
}

/// Whether the body is declared as JSON, or not declared at all.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    };
    headers.get(header::CONTENT_TYPE).map(essence).is_none_or(|essence| essence == "application/json")
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Problem> {
    // serde also reads a struct from an array, by position, which an API should not accept.
    if !body.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(body) {
            Ok(_) => invalid("", "it must be a JSON object"),
            Err(error) => not_json(&error),
        });
    }
    let mut json = serde_json::Deserializer::from_str(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.classify() != Category::Data {
            return not_json(&error);
        }
        // At the top level the path is only a dot.
        invalid(path.trim_start_matches('.'), &without_position(&error))
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn invalid(member: &str, reason: &str) -> Problem {
    Problem::new(Code::InvalidBody, sentence("The body", member, reason))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::InvalidJson, format!("The body is not JSON: {error}."))
}

/// serde's message without " at line 1 column 2", which adds little once the member is named.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&position).unwrap_or(&message).to_owned()
}
