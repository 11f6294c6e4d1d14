use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    config::{self, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig},
};

use crate::capacity::CapacityInterceptor;

/// The connection to DynamoDB that the table handles share. Cloning it is cheap.
#[derive(Clone)]
pub struct Database(pub(crate) Client);

impl Database {
    /// Configured through `var`, which looks up an environment variable: see [`aws::sdk_config`]. Makes no request yet.
    ///
    /// A call ends within 6 s, three attempts included, so that the client gets a response before the function's timeout
    /// of 25 s (`template.yaml`), even if the function makes several calls in sequence.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_millis(2500))
            .operation_timeout(Duration::from_secs(6))
            .build();
        let (config, refresh) = aws::sdk_config("DYNAMODB", var);
        let config = config::Builder::from(&config)
            .retry_classifier(refresh)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            // The attempt's timeout includes its stream.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        Self::from(config)
    }
}

/// A connection with another configuration.
impl From<config::Builder> for Database {
    fn from(config: config::Builder) -> Self {
        Self(Client::from_conf(config.interceptor(CapacityInterceptor).build()))
    }
}
