//! `cargo ops doctor`: the checks of a deployed stack. Settings are the stack's parameters, URLs its outputs.

mod monitoring;
mod permissions;
mod streams;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use clap::Args;
use erasure::DeployedStack;
use local::{
    doctor::{Check, Place::Aws as AWS, Target, report},
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
    /// Origin of a front end that is not in `AllowedOrigins`
    #[arg(long, value_parser = local::origin)]
    origin: Vec<String>,
    /// A session token to verify step by step
    #[arg(long)]
    token: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A stack's id, parameters and outputs.
struct Described {
    id: String,
    parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

impl Doctor {
    pub(crate) async fn run(self, config: &SdkConfig, stack: &str) -> Result<()> {
        let cloudformation = aws_sdk_cloudformation::Client::new(config);
        let found = async {
            let described = describe(&cloudformation, stack).await?;
            Ok::<_, anyhow::Error>((described, DeployedStack::find(&cloudformation, stack.to_owned()).await?))
        };
        let (described, DeployedStack { tables, resources, .. }) = match found.await {
            Ok(found) => found,
            Err(error) => return report(&[Check::not_running(AWS, &error)], self.json),
        };
        let tables: BTreeMap<_, _> = tables.into_iter().collect();
        let template = Template::load()?;
        let parameter = |name: &str| described.parameters.get(name).map(String::as_str).unwrap_or_default();
        let output = |name: &str| described.outputs.get(name).cloned().unwrap_or_default();
        let physical = |id: &str| resources.get(id).map(String::as_str).unwrap_or_default();
        let target = Target {
            place: AWS,
            settings: SETTINGS.map(|(name, variable)| (variable.to_owned(), parameter(name).to_owned())).into(),
            front_ends: parameter("AllowedOrigins")
                .split(',')
                .filter(|origin| !origin.is_empty())
                .map(str::to_owned)
                .chain(self.origin)
                .collect(),
            api: output("ApiUrl"),
            webhook: output("WebhookUrl"),
            live: output("LiveUrl"),
            secret: secret(config, &output("WebhookSecretArn")).await,
            tables: template.tables.iter().map(|table| (table.clone(), tables.get(&table.name).cloned())).collect(),
            functions: template.functions.clone(),
            database: aws_sdk_dynamodb::Client::new(config),
        };
        let mut checks = target.examine(self.token.as_deref()).await?;
        let granted = permissions::check(config, &described.id, &template, &target, &resources).await;
        checks.push(Check::of("permissions", AWS, granted));
        checks.push(streams::check(config, &template, &resources).await);
        checks.push(match parameter("Stage") {
            "prod" => Check::of("alarms", AWS, monitoring::alarms(config, &output("AlarmTopicArn")).await),
            _ => Check::skipped("alarms", "Only the stage prod has alarms."),
        });
        let last_event = monitoring::last_event(config, physical("ClerkWebhookFunction")).await;
        checks.push(Check::of("last-event", AWS, last_event));
        let erasure = monitoring::erasure(config, physical("ScheduledErasureFunction")).await;
        checks.push(Check::of("erasure", AWS, erasure));
        let known = [("STACK", stack), ("Stage", parameter("Stage"))];
        let outputs = described.outputs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in known.into_iter().chain(outputs) {
            for fix in checks.iter_mut().filter_map(|check| check.fix.as_mut()) {
                *fix = fix.replace(&format!("<{name}>"), value);
            }
        }
        report(&checks, self.json)
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
    let id = stack.stack_id().context("the stack has no id")?.to_owned();
    Ok(Described { id, parameters: parameters.collect(), outputs: outputs.collect() })
}

async fn secret(config: &SdkConfig, arn: &str) -> Result<String, String> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let value = client.get_secret_value().secret_id(arn).send().await.map_err(|error| aws::describe(&error))?;
    value.secret_string.ok_or_else(|| "it is not a text".to_owned())
}
