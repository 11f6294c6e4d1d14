//! Where a command acts: on the local stack, or on one in AWS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_cloudformation::types::Stack;
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};
use clap::Args;

/// More than the SDK makes by itself: a table that is busy is waited for.
const ATTEMPTS: u32 = 10;

#[derive(Args)]
pub(crate) struct Place {
    /// The deployed stack's name; the local stack without it
    #[arg(long, env = "STACK", global = true)]
    stack: Option<String>,
    /// Port of the local stack's DynamoDB
    #[arg(long, env = "DYNAMODB_PORT", default_value_t = 8000, global = true)]
    dynamodb_port: u16,
    /// Where the local stack keeps its data [default: .local in the project]
    #[arg(long, env = "LOCAL_DATA", global = true)]
    data: Option<PathBuf>,
    /// File of the root certificates to trust for AWS, in PEM, instead of Amazon's
    #[arg(long, env = "AWS_CA_BUNDLE", global = true)]
    ca_bundle: Option<PathBuf>,
}

/// The tables of a stack.
pub(crate) struct Tables {
    pub(crate) client: Client,
    pub(crate) users: String,
    pub(crate) chats: String,
    pub(crate) sessions: String,
}

impl Place {
    pub(crate) async fn open(self) -> Result<Tables> {
        let config =
            aws_config::defaults(BehaviorVersion::latest()).http_client(aws::http_client(self.ca_bundle.as_deref()));
        let Some(stack) = self.stack else {
            let data = self.data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local"));
            let file = std::fs::read_to_string(data.join("aws-credentials"));
            let file = file.context("the local stack has never run; start it with `make run`, or set --stack")?;
            let key = file.lines().find_map(|line| line.strip_prefix("aws_access_key_id = "));
            let key = key.context("the local stack's access key is missing; start it once with `make run FRESH=1`")?;
            let credentials = Credentials::new(key, "local", None, None, "local");
            let config = config
                .region(Region::from_static("us-east-1"))
                .credentials_provider(credentials)
                .endpoint_url(format!("http://127.0.0.1:{}", self.dynamodb_port))
                .load()
                .await;
            let [users, chats, sessions] = ["UsersTable", "ChatsTable", "SessionsTable"].map(str::to_owned);
            return Ok(Tables { client: Client::new(&config), users, chats, sessions });
        };
        let config = config.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS)).load().await;
        let [users, chats, sessions] =
            outputs(&config, &stack, ["UsersTableName", "ChatsTableName", "SessionsTableName"]).await?;
        Ok(Tables { client: Client::new(&config), users, chats, sessions })
    }
}

/// The outputs of a deployed stack.
async fn outputs<const N: usize>(config: &SdkConfig, stack: &str, names: [&str; N]) -> Result<[String; N]> {
    let answer = aws_sdk_cloudformation::Client::new(config).describe_stacks().stack_name(stack).send().await;
    let answer = answer.map_err(described).with_context(|| format!("the stack {stack} cannot be described"))?;
    let stacks = answer.stacks.unwrap_or_default();
    let found = names.map(|name| {
        let outputs = stacks.iter().flat_map(Stack::outputs);
        outputs
            .filter(|output| output.output_key() == Some(name))
            .find_map(|output| output.output_value())
            .map(str::to_owned)
    });
    if let Some((name, _)) = names.iter().zip(&found).find(|(_, value)| value.is_none()) {
        bail!("the stack {stack} has no output {name}");
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// An SDK's error without text of the response. What these commands print may be kept as a job's log.
pub(crate) fn described<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    anyhow!(aws::describe(&error))
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}
