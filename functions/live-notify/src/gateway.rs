//! API Gateway's connections.

use std::time::Duration;

use api::var;
use aws_sdk_apigatewaymanagement::{
    Client,
    config::{self, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
};
use tokio::sync::Semaphore;

/// The timeout of one attempt. A connection that does not respond in time is closed instead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 2;
/// Each request has a TCP connection of its own.
const MAX_CONCURRENT_REQUESTS: usize = 64;

/// The WebSocket API, to send to its connections and to close them.
pub(crate) struct Gateway {
    client: Client,
    permits: Semaphore,
}

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// The connection is closed, or not open yet.
    Gone,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Gateway {
    /// The API at `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`.
    pub(crate) fn from_env() -> Self {
        let (config, _) = aws::sdk_config("APIGATEWAYMANAGEMENTAPI", var);
        Self::new(config::Builder::from(&config))
    }

    pub(crate) fn new(config: config::Builder) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(Duration::from_millis(100));
        let config = config.timeout_config(timeouts).retry_config(retries).build();
        Self { client: Client::from_conf(config), permits: Semaphore::new(MAX_CONCURRENT_REQUESTS) }
    }

    /// Sends a text message.
    pub(crate) async fn post(&self, connection_id: &str, message: Blob) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await;
        answer(self.client.post_to_connection().connection_id(connection_id).data(message).send().await)
    }

    /// Closes a connection.
    pub(crate) async fn close(&self, connection_id: &str) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await;
        answer(self.client.delete_connection().connection_id(connection_id).send().await)
    }
}

fn answer<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Result<Answer, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Ok(_) => Ok(Answer::Done),
        Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 410) => {
            Ok(Answer::Gone)
        }
        Err(error) => Err(Failure(aws::describe(&error))),
    }
}
