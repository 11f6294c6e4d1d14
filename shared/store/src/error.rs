use std::{any::type_name, error::Error as StdError, iter::successors};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use crate::sdk::REJECTED_CREDENTIALS;

/// Why an operation did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition holds no such item.
    #[error("there is no such item")]
    NotFound,
    /// Clerk has told that the account was deleted or banned.
    #[error("the account is not active")]
    AccountInactive,
    /// Clerk has told that the session is over.
    #[error("the session has ended")]
    SessionEnded,
    /// What the caller says of themselves is not what the token says. Holds the member's name.
    #[error("{0} contradicts the token")]
    Contradicted(&'static str),
    /// The item is not at the version the caller expected.
    #[error("the item has changed; its version is {current}")]
    Changed {
        /// The version it is at.
        current: u64,
    },
    /// The id belongs to an item that was created otherwise.
    #[error("the id is taken")]
    Taken,
    /// DynamoDB did not answer in time, or asks to be asked again later. Nothing is known to have been written.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A fault of ours: a permission, a table or a request that is wrong, or an item that cannot be read.
    #[error("the database refused: {0}")]
    Internal(String),
}

impl Error {
    /// Tells a database that stays away from a request it will never accept.
    pub(crate) fn from_sdk<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
        const RETRYABLE: [&str; 7] = [
            "InternalServerError",
            "LimitExceededException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "ServiceUnavailable",
            "ThrottlingException",
            "TransactionConflictException",
        ];
        let refused = error.as_service_error().is_some_and(|service| {
            // An answer without a code is none of DynamoDB's, but of something on the way to it.
            let retryable = |code| RETRYABLE.contains(&code) || REJECTED_CREDENTIALS.contains(&code);
            let refused = service.code().is_some_and(|code| !retryable(code));
            let server_side = error.raw_response().is_some_and(|response| response.status().is_server_error());
            refused && !server_side
        });
        let message = describe(&error);
        if refused { Self::Internal(message) } else { Self::Unavailable(message) }
    }
}

/// What a log may say of an SDK's error: operation, kind, HTTP status, the service's error code, and the request id. None
/// of it is text of the response, which may hold a secret or a user's data, also in an error's message or in what a
/// parser says of it. Without a response, it is what the connection failed of.
pub fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
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
    // Below an error of another kind than the connection's, credentials are fetched and their response is parsed.
    let depth = match error {
        SdkError::DispatchFailure(failure) if failure.is_other() => 2,
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => usize::MAX,
        _ => 0,
    };
    let sources = successors(error.source(), |&error| error.source()).take(depth);
    sources.fold(kind, |text, source| format!("{text}: {source}"))
}

/// Whether a value of a response is an error code or a request id by its form.
fn is_identifier(value: &str) -> bool {
    value.len() <= 80 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

impl From<serde_dynamo::Error> for Error {
    /// Without the error's own text, which quotes the value that it is about.
    fn from(_: serde_dynamo::Error) -> Self {
        Self::Internal("an item cannot be read".to_owned())
    }
}
