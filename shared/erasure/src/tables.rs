//! The tables of a stack with users' items.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow, ensure};
use aws_sdk_cloudformation::types::StackStatus;
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeyType},
};

/// The partition key of every table with users' items.
const OWNER: &str = "userId";

/// The tables of a stack with users' items.
#[derive(Debug)]
pub struct Tables {
    /// Reaches the tables.
    pub client: Client,
    /// The name of the table of accounts.
    pub users: String,
    /// The table of ended sessions.
    pub sessions: Table,
    /// The tables of resources.
    pub resources: Vec<Table>,
    /// The status of the deployed stack, such as `UPDATE_COMPLETE`. None for the local stack.
    pub status: Option<String>,
}

/// A table with one partition for each user.
#[derive(Debug)]
pub struct Table {
    /// The resource's name, such as `chats` of `ChatsTable`.
    pub resource: String,
    /// The table's name.
    pub name: String,
    /// The sort key, if it has one.
    pub sort_key: Option<String>,
}

/// The resources of a deployed stack and its nested stacks. Logical ids begin with those of the nested stacks.
#[derive(Debug, Default)]
pub struct DeployedStack {
    /// The logical id and the name of each table that the stack uses, according to the outputs of nested stacks: its own, and
    /// existing ones that its parameters name.
    pub tables: Vec<(String, String)>,
    /// The physical ids of all resources by logical id.
    pub resources: BTreeMap<String, String>,
    /// The status, such as `UPDATE_COMPLETE`.
    pub status: String,
}

impl DeployedStack {
    /// Finds them.
    pub async fn find(cloudformation: &aws_sdk_cloudformation::Client, stack: String) -> Result<Self> {
        let mut found = Self::default();
        let mut stacks = vec![(String::new(), stack)];
        while let Some((prefix, stack)) = stacks.pop() {
            let resources = cloudformation.list_stack_resources().stack_name(&stack).into_paginator().items().send();
            let resources = resources.collect::<Result<Vec<_>, _>>().await.map_err(described);
            for resource in resources.with_context(|| format!("the resources of {stack} cannot be listed"))? {
                let id = format!("{prefix}{}", resource.logical_resource_id().unwrap_or_default());
                if resource.resource_type() == Some("AWS::CloudFormation::Stack") {
                    let name = resource.physical_resource_id().context("a nested stack has no name")?;
                    stacks.push((id.clone(), name.to_owned()));
                }
                found.resources.extend(resource.physical_resource_id.map(|name| (id, name)));
            }
            let described = cloudformation.describe_stacks().stack_name(&stack).send().await.map_err(described);
            let described = described.with_context(|| format!("the stack {stack} cannot be described"))?.stacks;
            let described = described.and_then(|mut stacks| stacks.pop()).context("a stack is gone")?;
            if prefix.is_empty() {
                described.stack_status.as_ref().map_or("", StackStatus::as_str).clone_into(&mut found.status);
            }
            for output in described.outputs.unwrap_or_default() {
                let (Some(key), Some(name)) = (output.output_key, output.output_value) else { continue };
                if key.ends_with("Table") {
                    found.tables.push((format!("{prefix}{key}"), name));
                }
            }
        }
        Ok(found)
    }
}

impl Tables {
    /// The tables that a deployed stack uses.
    pub async fn of_stack(
        cloudformation: &aws_sdk_cloudformation::Client,
        client: Client,
        stack: String,
    ) -> Result<Self> {
        let stack = DeployedStack::find(cloudformation, stack).await?;
        Ok(Self { status: Some(stack.status), ..Self::new(client, stack.tables).await? })
    }

    /// Selects the tables with users' items from `tables`, which have logical ids and names.
    pub async fn new(client: Client, tables: Vec<(String, String)>) -> Result<Self> {
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
        Ok(Self { client, users, sessions, resources, status: None })
    }

    /// Fails during a deployment, when the stack may not yet name all its tables: a user would be erased from the others and
    /// then be taken for erased.
    pub(crate) fn check_complete(&self) -> Result<()> {
        let status = self.status.as_deref();
        ensure!(
            status.is_none_or(|status| status.ends_with("_COMPLETE")),
            "the stack is being deployed, or its deployment has failed ({}); try again afterwards",
            status.unwrap_or_default()
        );
        Ok(())
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
    pub fn items(&self, client: &Client, user: &str) -> QueryFluentBuilder {
        client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#owner = :user")
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_values(":user", string(user))
            .consistent_read(true)
    }
}

/// An SDK error without text of the response, since what prints it may be stored in a log.
pub fn described<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    anyhow!(aws::describe(&error))
}

/// A string as an attribute.
pub fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}
