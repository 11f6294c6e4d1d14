//! The stack of a command: the local one, or one on AWS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeyType},
};
use clap::Args;

/// More than the SDK's default, to wait for throttled tables.
const ATTEMPTS: u32 = 10;
/// The partition key of every table with users' items.
const OWNER: &str = "userId";

#[derive(Args)]
pub(crate) struct Place {
    /// Name of the deployed stack [default: the local stack]
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

/// The tables of a stack with users' items.
pub(crate) struct Tables {
    pub(crate) client: Client,
    /// The name of the table of accounts.
    pub(crate) users: String,
    /// The table of ended sessions.
    pub(crate) sessions: Table,
    /// The tables of resources.
    pub(crate) resources: Vec<Table>,
}

/// A table with one partition for each user.
pub(crate) struct Table {
    /// The resource's name, such as `chats` of `ChatsTable`.
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) sort_key: Option<String>,
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
        let tables = deployed(&config, stack).await?;
        Tables::new(Client::new(&config), tables).await
    }
}

/// The tables of a deployed stack and its nested stacks: their logical ids, with those of the nested stacks before them, and
/// their names.
async fn deployed(config: &SdkConfig, stack: String) -> Result<Vec<(String, String)>> {
    let client = aws_sdk_cloudformation::Client::new(config);
    let mut tables = Vec::new();
    let mut stacks = vec![(String::new(), stack)];
    while let Some((prefix, stack)) = stacks.pop() {
        let resources = client.list_stack_resources().stack_name(&stack).into_paginator().items().send();
        let resources = resources.collect::<Result<Vec<_>, _>>().await.map_err(described);
        for resource in resources.with_context(|| format!("the resources of {stack} cannot be listed"))? {
            let found = match resource.resource_type() {
                Some("AWS::CloudFormation::Stack") => &mut stacks,
                Some("AWS::DynamoDB::Table") => &mut tables,
                _ => continue,
            };
            let id = format!("{prefix}{}", resource.logical_resource_id().unwrap_or_default());
            found.push((id, resource.physical_resource_id.context("a resource of the stack has no name")?));
        }
    }
    Ok(tables)
}

impl Tables {
    /// Selects the tables with users' items from `tables`, which have logical ids and names.
    async fn new(client: Client, tables: Vec<(String, String)>) -> Result<Self> {
        let (mut users, mut sessions, mut resources) = (None, None, Vec::new());
        for (id, name) in tables {
            let described = client.describe_table().table_name(&name).send().await.map_err(described);
            let described = described.with_context(|| format!("the table {name} cannot be described"))?.table;
            let keys = described.map(|table| table.key_schema.unwrap_or_default()).unwrap_or_default();
            let key = |kind| keys.iter().find(|key| key.key_type == kind).map(|key| key.attribute_name.clone());
            if key(KeyType::Hash).as_deref() != Some(OWNER) {
                continue;
            }
            let table = Table { resource: resource(&id), name, sort_key: key(KeyType::Range) };
            match id.as_str() {
                "UsersTable" => users = Some(table.name),
                "SessionsTable" => sessions = Some(table),
                _ => resources.push(table),
            }
        }
        resources.sort_by(|one, other| one.resource.cmp(&other.resource));
        let (users, sessions) = users.zip(sessions).context("the stack has no tables of accounts and sessions")?;
        Ok(Self { client, users, sessions, resources })
    }
}

/// The resource of a table with this logical id: `chats` of `ChatsTable`.
fn resource(id: &str) -> String {
    let id = id.strip_suffix("Table").unwrap_or(id);
    let mut characters = id.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

impl Table {
    /// A query for all of a user's items.
    pub(crate) fn items(&self, client: &Client, user: &str) -> QueryFluentBuilder {
        client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#owner = :user")
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_values(":user", string(user))
            .consistent_read(true)
    }
}

/// An SDK error without text of the response, since the output of these commands may be stored in a job's log.
pub(crate) fn described<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    anyhow!(aws::describe(&error))
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}
