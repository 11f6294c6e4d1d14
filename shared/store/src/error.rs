use std::error::Error as StdError;

use aws::REJECTED_CREDENTIALS;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

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
        let message = aws::describe(&error);
        if refused { Self::Internal(message) } else { Self::Unavailable(message) }
    }
}

impl From<serde_dynamo::Error> for Error {
    /// Without the error's own text, which quotes the value that it is about.
    fn from(_: serde_dynamo::Error) -> Self {
        Self::Internal("an item cannot be read".to_owned())
    }
}
