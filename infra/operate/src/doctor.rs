//! `cargo ops doctor`: the checks of a deployed stack. Settings are the stack's parameters, URLs its outputs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use clap::Args;
use local::{
    doctor::{Place as Where, Target, report},
    template::Template,
};

/// The parameters with the functions' settings, and the names of these.
const SETTINGS: [(&str, &str); 6] = [
    ("ClerkIssuer", "CLERK_ISSUER"),
    ("ClerkJwtKey", "CLERK_JWT_KEY"),
    ("ClerkAuthorizedParties", "CLERK_AUTHORIZED_PARTIES"),
    ("ClerkAudience", "CLERK_AUDIENCE"),
    ("ClerkMaxTokenLifetime", "CLERK_MAX_TOKEN_LIFETIME"),
    ("ClerkInstanceId", "CLERK_INSTANCE_ID"),
];

#[derive(Args)]
pub(crate) struct Doctor {
    /// A session token to verify step by step
    #[arg(long)]
    token: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A stack's parameters and outputs.
struct Described {
    parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

impl Doctor {
    pub(crate) async fn run(self, config: &SdkConfig, stack: &str) -> Result<()> {
        let cloudformation = aws_sdk_cloudformation::Client::new(config);
        let described = describe(&cloudformation, stack).await?;
        let output = |name: &str| described.outputs.get(name).cloned().unwrap_or_default();
        let tables = tables(&cloudformation, stack).await?;
        let setting = |(parameter, variable): (&str, &str)| {
            Some((variable.to_owned(), described.parameters.get(parameter)?.clone()))
        };
        let origins = described.parameters.get("AllowedOrigins").map(String::as_str).unwrap_or_default();
        let target = Target {
            place: Where::Aws,
            settings: SETTINGS.into_iter().filter_map(setting).collect(),
            front_ends: origins.split(',').filter(|origin| !origin.is_empty()).map(str::to_owned).collect(),
            api: output("ApiUrl"),
            webhook: output("WebhookUrl"),
            live: output("LiveUrl"),
            secret: secret(config, &output("WebhookSecretArn")).await,
            tables: Template::load()?
                .tables
                .into_iter()
                .map(|table| (table.clone(), tables.get(&table.name).cloned()))
                .collect(),
            database: aws_sdk_dynamodb::Client::new(config),
        };
        report(&target.examine(self.token.as_deref()).await?, self.json)
    }
}

async fn describe(client: &aws_sdk_cloudformation::Client, stack: &str) -> Result<Described> {
    let described = client.describe_stacks().stack_name(stack).send().await;
    let described = described.map_err(|error| anyhow::anyhow!(aws::describe(&error)));
    let described = described.with_context(|| format!("the stack {stack} cannot be described"))?;
    let stack = described.stacks().first().context("the stack is missing")?;
    let parameters = stack
        .parameters()
        .iter()
        .filter_map(|parameter| Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned())));
    let outputs = stack
        .outputs()
        .iter()
        .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    Ok(Described { parameters: parameters.collect(), outputs: outputs.collect() })
}

/// The names of the tables by logical id, which begins with those of the nested stacks.
async fn tables(client: &aws_sdk_cloudformation::Client, stack: &str) -> Result<BTreeMap<String, String>> {
    let mut tables = BTreeMap::new();
    let mut stacks = vec![(String::new(), stack.to_owned())];
    while let Some((prefix, stack)) = stacks.pop() {
        let resources = client.list_stack_resources().stack_name(&stack).into_paginator().items().send();
        let resources = resources.collect::<Result<Vec<_>, _>>().await;
        let resources = resources.map_err(|error| anyhow::anyhow!(aws::describe(&error)));
        for resource in resources.with_context(|| format!("the resources of {stack} cannot be listed"))? {
            let id = format!("{prefix}{}", resource.logical_resource_id().unwrap_or_default());
            let name = resource.physical_resource_id().unwrap_or_default().to_owned();
            match resource.resource_type() {
                Some("AWS::CloudFormation::Stack") => stacks.push((id, name)),
                Some("AWS::DynamoDB::Table") => drop(tables.insert(id, name)),
                _ => {}
            }
        }
    }
    Ok(tables)
}

async fn secret(config: &SdkConfig, arn: &str) -> Result<String, String> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let value = client.get_secret_value().secret_id(arn).send().await.map_err(|error| aws::describe(&error))?;
    value.secret_string.ok_or_else(|| "it is not a text".to_owned())
}
