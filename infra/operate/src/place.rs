//! The stack of a command: the local one, or one on AWS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::{Client, config::Credentials, error::SdkError};
use clap::Args;
use erasure::{Tables, described};

/// More than the SDK's default, to wait for throttled tables.
const ATTEMPTS: u32 = 10;

#[derive(Args)]
pub(crate) struct Place {
    /// Name of the deployed stack [default: the local stack, except of doctor]
    #[arg(long, env = "STACK", global = true)]
    stack: Option<String>,
    /// Port of the local stack's DynamoDB
    #[arg(long, env = "DYNAMODB_PORT", default_value_t = 8000, global = true)]
    dynamodb_port: u16,
    /// Folder of the local stack's data [default: .local in the project]
    #[arg(long, env = "LOCAL_DATA", global = true)]
    data: Option<PathBuf>,
    /// File of root certificates to trust for AWS instead of Amazon's, in PEM
    #[arg(long, env = "AWS_CA_BUNDLE", global = true)]
    ca_bundle: Option<PathBuf>,
}

impl Place {
    /// The configuration for AWS, and the name of the deployed stack.
    pub(crate) async fn deployed(self) -> Result<(SdkConfig, String)> {
        let config =
            aws_config::defaults(BehaviorVersion::latest()).http_client(aws::http_client(self.ca_bundle.as_deref()));
        let stack = self.stack.context("set --stack. `cargo dev doctor` checks the local stack")?;
        Ok((config.load().await, stack))
    }

    pub(crate) async fn open(self) -> Result<Tables> {
        let config =
            aws_config::defaults(BehaviorVersion::latest()).http_client(aws::http_client(self.ca_bundle.as_deref()));
        let Some(stack) = self.stack else {
            let data = self.data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local"));
            let file = std::fs::read_to_string(data.join("aws-credentials"));
            let file = file.context("the local stack has never run. Start it with `make run`, or set --stack")?;
            let key = file.lines().find_map(|line| line.strip_prefix("aws_access_key_id = "));
            let key = key.context("the local stack's access key is missing. Start it once with `make run FRESH=1`")?;
            let credentials = Credentials::new(key, "local", None, None, "local");
            let config = config
                .region(Region::from_static("us-east-1"))
                .credentials_provider(credentials)
                .endpoint_url(format!("http://127.0.0.1:{}", self.dynamodb_port))
                .load()
                .await;
            let client = Client::new(&config);
            let listed = client.list_tables().into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
            let names = listed.map_err(|error| match error {
                SdkError::DispatchFailure(_) => anyhow!(
                    "the local stack is not running on port {}. Start it with `make run`, or set DYNAMODB_PORT or --stack",
                    self.dynamodb_port
                ),
                error => described(error).context("tables cannot be listed"),
            })?;
            // In the local stack, a table's name is its logical id.
            return Tables::new(client, names.into_iter().map(|name| (name.clone(), name)).collect()).await;
        };
        let config = config.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS)).load().await;
        Tables::of_stack(&aws_sdk_cloudformation::Client::new(&config), Client::new(&config), stack).await
    }
}
