use std::error::Error as StdError;

use aws::REJECTED_CREDENTIALS;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no such item.
    #[error("no such item")]
    NotFound,
    /// Clerk reported that the account was deleted or banned.
    #[error("the account is not active")]
    AccountInactive,
    /// Clerk reported that the session has ended.
    #[error("the session has ended")]
    SessionEnded,
    /// A user-supplied value does not match the token's. Holds the member's name.
    #[error("{0} does not match the token")]
    ClaimMismatch(&'static str),
    /// The item is not at the version that the precondition names.
    #[error("the item has changed; its version is {current}")]
    VersionMismatch {
        /// Its version.
        current: u64,
    },
    /// DynamoDB cannot store the value of the member.
    #[error("{0} cannot be stored")]
    Unstorable(&'static str),
    /// The user has an item with this id and other content.
    #[error("the id is in use")]
    IdConflict,
    /// DynamoDB did not respond in time, or asked for a retry. Nothing is known to have been written.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A wrong permission, table or request, or an item that cannot be read. A retry does not help.
    #[error("the database rejected the request: {0}")]
    Internal(String),
}

impl Error {
    /// Distinguishes an unavailable database from a request that it will never accept.
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
        let is_rejected = error.as_service_error().is_some_and(|service| {
            let retryable = |code| RETRYABLE.contains(&code) || REJECTED_CREDENTIALS.contains(&code);
            // A response without a code comes from a proxy, not from DynamoDB.
            let is_final = service.code().is_some_and(|code| !retryable(code));
            let server_side = error.raw_response().is_some_and(|response| response.status().is_server_error());
            is_final && !server_side
        });
        let message = aws::describe(&error);
        if is_rejected { Self::Internal(message) } else { Self::Unavailable(message) }
    }
}

impl From<serde_dynamo::Error> for Error {
    /// Without the error's own text, which quotes the value.
    fn from(_: serde_dynamo::Error) -> Self {
        Self::Internal("an item cannot be read".to_owned())
    }
}
