use std::time::Duration;

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{Client, config};

use crate::{http_client, usage::Meter};

/// The connection to DynamoDB that the table handles share. Cloning it is cheap.
#[derive(Clone)]
pub struct Database(pub(crate) Client);

impl Database {
    /// Reads region, credentials and endpoint from the environment, as every AWS SDK does. Makes no request yet.
    ///
    /// A call ends within 6 s, three attempts included, so that the caller gets an answer before the function's
    /// time-out of 25 s (`template.yaml`), also where one request follows the other. The connect time-out is short
    /// because an environment that Lambda froze thaws with dead connections.
    pub async fn connect() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_millis(2500))
            .operation_timeout(Duration::from_secs(6))
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts)
            .load()
            .await;
        Self::from(config::Builder::from(&config))
    }
}

/// A connection that is configured otherwise.
impl From<config::Builder> for Database {
    fn from(config: config::Builder) -> Self {
        Self(Client::from_conf(config.interceptor(Meter).build()))
    }
}
