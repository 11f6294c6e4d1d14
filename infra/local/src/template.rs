//! `template.yaml`, as far as the local stack follows it, so that the two cannot drift apart.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use yaml_serde::Value;

const TEMPLATE: &str = include_str!("../../../template.yaml");

/// What the template declares.
#[derive(Debug)]
pub struct Template {
    /// The tables.
    pub tables: Vec<Table>,
    /// The functions.
    pub functions: Vec<Function>,
    /// What API Gateway says to browsers of other origins.
    pub(crate) cors: Cors,
}

/// An API's `CorsConfiguration`, without the origins, which are a parameter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Cors {
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) expose_headers: Vec<String>,
    pub(crate) max_age: u32,
}

/// A table; its local name is its logical id.
#[derive(Debug)]
pub struct Table {
    /// The logical id.
    pub name: String,
    /// What `CreateTable` takes.
    pub create: serde_json::Value,
    /// The attribute that holds the time an item expires at.
    pub ttl_attribute: Option<String>,
}

/// A function.
#[derive(Debug)]
pub struct Function {
    /// The logical id.
    pub name: String,
    /// The binary, which is what cargo-lambda calls it.
    pub binary: String,
    /// Environment variables that hold a table's name, with that name.
    pub tables: BTreeMap<String, String>,
    /// The paths of the HTTP API that lead to it, as `/chats/{id}`; none for the default route.
    pub routes: Vec<Option<String>>,
    /// Whether it has a function URL.
    pub has_url: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resource {
    r#type: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiProperties {
    cors_configuration: Cors,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableProperties {
    attribute_definitions: serde_json::Value,
    billing_mode: String,
    key_schema: serde_json::Value,
    local_secondary_indexes: Option<serde_json::Value>,
    time_to_live_specification: Option<TimeToLive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionMetadata {
    build_properties: BuildProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildProperties {
    binary: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionProperties {
    environment: Environment,
    #[serde(default)]
    events: BTreeMap<String, Event>,
    function_url_config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    r#type: String,
    properties: EventProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventProperties {
    path: Option<String>,
}

impl Template {
    /// The project's template.
    pub fn load() -> Result<Self> {
        Self::parse(TEMPLATE).context("template.yaml cannot be read")
    }

    /// A template of this kind.
    pub fn parse(text: &str) -> Result<Self> {
        let document: Document = yaml_serde::from_str(text)?;
        let of_type =
            |kind: &'static str| document.resources.iter().filter(move |(_, resource)| resource.r#type == kind);
        let tables = of_type("AWS::DynamoDB::Table")
            .map(|(name, resource)| Table::new(name, resource).with_context(|| name.clone()))
            .collect::<Result<Vec<_>>>()?;
        let is_table = |name: &str| tables.iter().any(|table| table.name == name);
        let functions = of_type("AWS::Serverless::Function")
            .map(|(name, resource)| Function::new(name, resource, is_table).with_context(|| name.clone()))
            .collect::<Result<_>>()?;
        let api = of_type("AWS::Serverless::HttpApi").next().context("there is no API")?.1;
        let ApiProperties { cors_configuration } = yaml_serde::from_value(api.properties.clone()).context("the API")?;
        Ok(Self { tables, functions, cors: cors_configuration })
    }
}

impl Table {
    fn new(name: &str, resource: &Resource) -> Result<Self> {
        let properties: TableProperties = yaml_serde::from_value(resource.properties.clone())?;
        Ok(Self {
            name: name.to_owned(),
            create: json!({
                "TableName": name,
                "AttributeDefinitions": properties.attribute_definitions,
                "BillingMode": properties.billing_mode,
                "KeySchema": properties.key_schema,
                "LocalSecondaryIndexes": properties.local_secondary_indexes,
            }),
            ttl_attribute: properties.time_to_live_specification.map(|ttl| ttl.attribute_name),
        })
    }
}

impl Function {
    fn new(name: &str, resource: &Resource, is_table: impl Fn(&str) -> bool) -> Result<Self> {
        let metadata: FunctionMetadata = yaml_serde::from_value(resource.metadata.clone())?;
        let properties: FunctionProperties = yaml_serde::from_value(resource.properties.clone())?;
        let table = |value: Value| match value {
            Value::Tagged(tagged) if tagged.tag == "Ref" => {
                tagged.value.as_str().filter(|name| is_table(name)).map(str::to_owned)
            }
            _ => None,
        };
        let variables = properties.environment.variables.into_iter();
        let events = properties.events.into_values().filter(|event| event.r#type == "HttpApi");
        Ok(Self {
            name: name.to_owned(),
            binary: metadata.build_properties.binary,
            tables: variables.filter_map(|(name, value)| Some((name, table(value)?))).collect(),
            routes: events.map(|event| event.properties.path).collect(),
            has_url: properties.function_url_config.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_declares_what_the_stack_needs() {
        let template = Template::load().expect("the template is right");
        let tables: Vec<_> =
            template.tables.iter().map(|table| (table.name.as_str(), table.ttl_attribute.as_deref())).collect();
        for declared in [("ChatsTable", Some("expiresAt")), ("SessionsTable", Some("expiresAt")), ("UsersTable", None)]
        {
            assert!(tables.contains(&declared), "{tables:?} lack {declared:?}");
        }
        let key = |name, kind| json!({ "AttributeName": name, "KeyType": kind });
        let chats = template.tables.iter().find(|table| table.name == "ChatsTable").expect("it is declared");
        assert_eq!(chats.create["KeySchema"], json!([key("userId", "HASH"), key("chatId", "RANGE")]));

        let function = |binary| template.functions.iter().find(|function| function.binary == binary).expect(binary);
        let chats = function("chats");
        assert_eq!(chats.tables["CHATS_TABLE"], "ChatsTable");
        let routes = ["/chats", "/chats/{id}"].map(|path| Some(path.to_owned()));
        assert!(routes.iter().chain([&None]).all(|route| chats.routes.contains(route)), "{chats:?}");
        assert!(!chats.has_url);
        assert_eq!(function("profile").routes, [Some("/profile".to_owned())]);
        let webhook = function("clerk-webhook");
        assert!(webhook.has_url && webhook.routes.is_empty(), "{webhook:?}");
    }
}
