use std::{any::type_name, error::Error, iter::successors};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

/// An SDK error for a log: operation, kind, HTTP status, the service's error code and the request id; without a response,
/// why the connection failed. The text of a response is omitted, since it may contain a secret or a user's data, also in
/// error messages and parser errors.
pub fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let name = type_name::<E>();
    let kind = format!("{}: {error}", name.rsplit("::").next().unwrap_or(name));
    if let Some(response) = error.raw_response() {
        let status = response.status().as_u16();
        let named = |name, value: Option<&str>| {
            value.filter(|value| is_identifier(value)).map(|value| format!(", {name} {value}"))
        };
        let code = named("code", error.as_service_error().and_then(ProvideErrorMetadata::code)).unwrap_or_default();
        let request_id = named("request id", error.request_id()).unwrap_or_default();
        return format!("{kind}, HTTP status {status}{code}{request_id}");
    }
    // The deeper sources of other errors can quote a response, such as that of the credentials.
    let depth = match error {
        SdkError::DispatchFailure(failure) if failure.is_other() => 2,
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => usize::MAX,
        _ => 0,
    };
    let sources = successors(error.source(), |&error| error.source()).take(depth);
    sources.fold(kind, |text, source| format!("{text}: {source}"))
}

/// Whether a value of a response has the form of an error code or a request id.
fn is_identifier(value: &str) -> bool {
    value.len() <= 80 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
