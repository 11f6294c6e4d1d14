//! `template.yaml` and its nested templates, which the local stack reads so that the two cannot differ.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use yaml_serde::Value;

pub use crate::cloudformation::Resource;
use crate::{cloudformation::Stack, functions::workspace};

/// The declarations of the template.
#[derive(Debug)]
pub struct Template {
    /// The tables.
    pub tables: Vec<Table>,
    /// The functions that requests, connections and streams invoke.
    pub functions: Vec<Function>,
    /// The functions that a schedule invokes. The local stack does not run them.
    pub scheduled: Vec<Function>,
    /// All resources, including those of nested stacks, whose logical ids begin with the stack's.
    pub resources: BTreeMap<String, Resource>,
    /// API Gateway's CORS configuration.
    pub(crate) cors: Cors,
    /// The streams of tables that functions are invoked for.
    pub(crate) event_sources: Vec<EventSource>,
    /// The WebSocket API.
    pub(crate) websocket_api: WebSocketApi,
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

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The name of the resource, which is the table's name in the local stack.
    pub name: String,
    /// The request of `CreateTable`.
    pub create: serde_json::Value,
    /// The attribute with the time at which an item expires.
    pub ttl_attribute: Option<String>,
    /// The content of its stream's records, such as `NEW_IMAGE`. Without it the table has no stream.
    pub stream_view_type: Option<String>,
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The logical id.
    pub name: String,
    /// The binary, whose name cargo-lambda uses.
    pub binary: String,
    /// Environment variables with the name of a table, and these names.
    pub tables: BTreeMap<String, String>,
    /// The paths of its routes in the HTTP API, such as `/chats/{proxy+}`. None for the default route.
    pub routes: Vec<Option<String>>,
    /// Whether it has a function URL.
    pub has_url: bool,
}

/// A stream whose records a function is invoked with.
#[derive(Clone, Debug)]
pub(crate) struct EventSource {
    pub(crate) table: String,
    /// The binary of the function.
    pub(crate) function: String,
    /// The events that the function is invoked with; none for all.
    pub(crate) event_names: Option<Vec<String>>,
    pub(crate) delivery: Delivery,
}

/// How the records of a stream are delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Delivery {
    pub(crate) batch_size: usize,
    pub(crate) maximum_retry_attempts: u32,
    #[serde(default)]
    pub(crate) bisect_batch_on_function_error: bool,
    #[serde(default)]
    function_response_types: Vec<String>,
}

impl Delivery {
    /// Whether the function says which records of a batch it has not processed.
    pub(crate) fn reports_failures(&self) -> bool {
        self.function_response_types.iter().any(|kind| kind == "ReportBatchItemFailures")
    }
}

/// A WebSocket API whose clients only receive.
#[derive(Clone, Debug)]
pub(crate) struct WebSocketApi {
    pub(crate) stage: String,
    /// The binary of the function that accepts connections.
    pub(crate) connect: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Globals {
    function: FunctionProperties,
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
    stream_specification: Option<StreamSpecification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSpecification {
    stream_view_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventSourceProperties {
    event_source_arn: String,
    function_name: String,
    filter_criteria: Option<FilterCriteria>,
    #[serde(flatten)]
    delivery: Delivery,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterCriteria {
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    pattern: String,
}

/// A filter's pattern, as far as the local stack applies it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pattern {
    event_name: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WebSocketProperties {
    stage_name: String,
    routes: BTreeMap<String, Route>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Route {
    function_arn: Option<String>,
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

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct FunctionProperties {
    environment: Environment,
    events: BTreeMap<String, Event>,
    function_url_config: Option<Value>,
}

#[derive(Default, Deserialize)]
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
        Self::read(&workspace())
    }

    /// The template in a folder that has the project's layout.
    pub fn read(folder: &Path) -> Result<Self> {
        let stack = Stack::read(&folder.join("template.yaml"))?;
        let resources = stack.resources()?;
        let of_type = |kind: &'static str| resources.iter().filter(move |(_, resource)| resource.kind == kind);
        let tables = of_type("AWS::DynamoDB::Table")
            .map(|(name, resource)| Table::new(name, resource).with_context(|| name.clone()))
            .collect::<Result<Vec<_>>>()?;
        let globals: Globals = yaml_serde::from_value(stack.globals()?).context("the globals")?;
        let (scheduled, functions): (Vec<_>, Vec<_>) =
            of_type("AWS::Serverless::Function").partition(|(_, resource)| is_scheduled(resource));
        let new = |functions: Vec<(&String, &Resource)>| {
            let function = |(name, resource): (&String, _)| {
                Function::new(name, resource, &globals, &tables).with_context(|| name.clone())
            };
            functions.into_iter().map(function).collect::<Result<Vec<_>>>()
        };
        let (scheduled, functions) = (new(scheduled)?, new(functions)?);
        let event_sources = of_type("AWS::Lambda::EventSourceMapping")
            .map(|(name, resource)| EventSource::new(resource, &functions).with_context(|| name.clone()))
            .collect::<Result<_>>()?;
        let (_, websocket_api) =
            of_type("AWS::Serverless::WebSocketApi").next().context("there is no WebSocket API")?;
        let websocket_api = WebSocketApi::new(websocket_api, &functions).context("the WebSocket API")?;
        let (_, api) = of_type("AWS::Serverless::HttpApi").next().context("there is no API")?;
        let ApiProperties { cors_configuration } = properties(api).context("the API")?;
        Ok(Self { tables, functions, scheduled, resources, cors: cors_configuration, event_sources, websocket_api })
    }
}

/// The resource by which roles name a table: the beginning of its name, so that functions may use the table before and after
/// another one replaces it. Connections are not replaced.
pub fn granted_table(id: &str) -> String {
    match id.strip_suffix("Table").filter(|stack| *stack != "LiveConnections") {
        Some(stack) => {
            let tables = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table";
            format!("{tables}/${{AWS::StackName}}-{stack}-*")
        }
        None => id.to_owned(),
    }
}

/// Whether a schedule invokes a function.
fn is_scheduled(resource: &Resource) -> bool {
    let events = properties(resource).map(|properties: FunctionProperties| properties.events);
    events.is_ok_and(|events| events.values().any(|event| event.r#type == "ScheduleV2"))
}

fn properties<T: DeserializeOwned>(resource: &Resource) -> Result<T> {
    Ok(yaml_serde::from_value(resource.properties.clone())?)
}

/// The binary of a function, by a reference to it or its alias.
fn binary(functions: &[Function], reference: &str) -> Result<String> {
    let function = functions.iter().find(|function| function.name == reference);
    Ok(function.with_context(|| format!("there is no function {reference}"))?.binary.clone())
}

impl EventSource {
    fn new(resource: &Resource, functions: &[Function]) -> Result<Self> {
        let EventSourceProperties { event_source_arn, function_name, filter_criteria, delivery } =
            properties(resource)?;
        let filters = filter_criteria.map(|criteria| criteria.filters);
        let event_names = filters.map(|filters| {
            let names = filters.iter().map(|filter| serde_json::from_str(&filter.pattern));
            let names = names.map(|pattern| pattern.map(|pattern: Pattern| pattern.event_name));
            Ok::<_, serde_json::Error>(names.collect::<Result<Vec<_>, _>>()?.concat())
        });
        let event_names = event_names.transpose().context("the local stack knows only filters by eventName")?;
        Ok(Self { table: event_source_arn, function: binary(functions, &function_name)?, event_names, delivery })
    }

    /// Whether the function is invoked with an event of this name.
    pub(crate) fn selects(&self, event_name: &str) -> bool {
        self.event_names.as_ref().is_none_or(|names| names.iter().any(|name| name == event_name))
    }
}

impl WebSocketApi {
    fn new(resource: &Resource, functions: &[Function]) -> Result<Self> {
        let WebSocketProperties { stage_name, mut routes } = properties(resource)?;
        let connect = routes.remove("$connect").and_then(|route| route.function_arn);
        Ok(Self { stage: stage_name, connect: binary(functions, &connect.context("$connect has no function")?)? })
    }
}

impl Table {
    fn new(name: &str, resource: &Resource) -> Result<Self> {
        let properties: TableProperties = properties(resource)?;
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
            stream_view_type: properties.stream_specification.map(|stream| stream.stream_view_type),
        })
    }
}

impl Function {
    fn new(name: &str, resource: &Resource, globals: &Globals, tables: &[Table]) -> Result<Self> {
        let metadata: FunctionMetadata = yaml_serde::from_value(resource.metadata.clone())?;
        let properties: FunctionProperties = properties(resource)?;
        let variables = globals.function.environment.variables.iter().chain(&properties.environment.variables);
        // Also under a name that is not a table's, which the doctor reports.
        let table = |variable: &str, value: &Value| {
            let value = value.as_str().filter(|value| !value.is_empty())?;
            let is_table = variable.ends_with("_TABLE") || tables.iter().any(|table| table.name == value);
            is_table.then(|| value.to_owned())
        };
        let events = properties.events.into_values().filter(|event| event.r#type == "HttpApi");
        Ok(Self {
            name: name.to_owned(),
            binary: metadata.build_properties.binary,
            tables: variables.filter_map(|(name, value)| Some((name.clone(), table(name, value)?))).collect(),
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
        for declared in [("SessionsTable", Some("expiresAt")), ("UsersTable", None)] {
            assert!(tables.contains(&declared), "{tables:?} lack {declared:?}");
        }
        let function = |binary| template.functions.iter().find(|function| function.binary == binary).expect(binary);
        let profile = function("profile");
        assert_eq!(profile.routes, [None, Some("/profile".to_owned())]);
        assert_eq!(profile.tables.keys().collect::<Vec<_>>(), ["SESSIONS_TABLE", "USERS_TABLE"]);
        assert!(!profile.has_url);
        let webhook = function("clerk-webhook");
        assert!(webhook.has_url && webhook.routes.is_empty(), "{webhook:?}");
    }

    /// The project's template with some more resources.
    fn with_part(part: &str) -> Result<Template> {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(workspace().join("infra"), folder.path().join("infra")).expect("linked");
        let template = std::fs::read_to_string(workspace().join("template.yaml")).expect("it is there");
        let template = template.replacen("\nResources:\n", &format!("\nResources:\n{part}"), 1);
        std::fs::write(folder.path().join("template.yaml"), template).expect("written");
        Template::read(folder.path())
    }

    #[test]
    fn streams_lead_to_the_functions_of_their_mappings() {
        const PART: &str = r#"
  LinesTable:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: lineId, AttributeType: S }]
      BillingMode: PAY_PER_REQUEST
      KeySchema: [{ AttributeName: lineId, KeyType: HASH }]
      StreamSpecification: { StreamViewType: KEYS_ONLY }
  LinesChanges:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt LinesTable.StreamArn
      FunctionName: !Ref ProfileFunction.Alias
      BatchSize: 50
      MaximumRetryAttempts: 10
      BisectBatchOnFunctionError: true
      FunctionResponseTypes: [ReportBatchItemFailures]
      FilterCriteria: { Filters: [{ Pattern: '{"eventName":["INSERT","MODIFY"]}' }] }
"#;
        let template = with_part(PART).expect("the part fits");
        let table = template.tables.iter().find(|table| table.name == "LinesTable").expect("declared");
        assert_eq!(table.stream_view_type.as_deref(), Some("KEYS_ONLY"));
        let sources = &template.event_sources;
        let source = sources.iter().find(|source| source.table == "LinesTable").expect("declared");
        assert_eq!(source.function, "profile");
        assert_eq!(["INSERT", "MODIFY", "REMOVE"].map(|event| source.selects(event)), [true, true, false]);
        let delivery = &source.delivery;
        assert_eq!((delivery.batch_size, delivery.maximum_retry_attempts), (50, 10));
        assert!(delivery.bisect_batch_on_function_error && delivery.reports_failures(), "{delivery:?}");
        for (part, instead) in [("ProfileFunction", "MissingFunction"), (r#""eventName""#, r#""dynamodb""#)] {
            with_part(&PART.replace(part, instead)).expect_err(instead);
        }
    }

    /// A record that cannot be processed must not hold up its stream for a day, and must not be lost silently.
    #[test]
    fn streams_give_up_on_records_and_notify_operators() {
        let template = Template::load().expect("the template is valid");
        let mappings: Vec<_> =
            template.resources.values().filter(|resource| resource.kind == "AWS::Lambda::EventSourceMapping").collect();
        assert!(mappings.len() > 2, "{mappings:?}");
        for mapping in mappings {
            let properties = &mapping.properties;
            assert_eq!(properties["StartingPosition"], "TRIM_HORIZON");
            assert_eq!(properties["MaximumRetryAttempts"], 10);
            assert_eq!(properties["MaximumRecordAgeInSeconds"], 3600);
            assert_eq!(properties["BisectBatchOnFunctionError"], true);
            assert_eq!(properties["FunctionResponseTypes"][0], "ReportBatchItemFailures");
            assert_eq!(properties["DestinationConfig"]["OnFailure"]["Destination"], "AlarmTopic");
        }
    }

    /// A resource's part of the template: its table is in the nested stack. So is the second table of its function.
    #[test]
    fn a_resource_has_its_tables_and_its_routes() {
        const PART: &str = r#"
  SketchesFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: sketches } }
    Properties:
      Environment:
        Variables:
          SKETCHES_TABLE: !GetAtt Sketches.Outputs.Table
          LINES_TABLE: !GetAtt Lines.Outputs.Table
          OTHER_TABLE: unheard-of
      Events:
        Collection: { Type: HttpApi, Properties: { ApiId: !Ref Api, Path: /sketches, Method: ANY } }
        Items: { Type: HttpApi, Properties: { ApiId: !Ref Api, Path: "/sketches/{proxy+}", Method: ANY } }
  Sketches:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: infra/resource.yaml
      Parameters: { SortKey: sketchId, Live: !Join [",", [!Ref LiveNotifyFunction.Alias, role]] }
  Lines:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: infra/resource.yaml
      Parameters:
        SortKey: lineId
        RoleName: !GetAtt Sketches.Outputs.RoleName
        Live: !Join [",", [!Ref LiveNotifyFunction.Alias, role]]
"#;
        let template = with_part(PART).expect("the part fits");
        let table = template.tables.iter().find(|table| table.name == "SketchesTable").expect("it is declared");
        let key = |name, kind| json!({ "AttributeName": name, "KeyType": kind });
        assert_eq!(table.create["KeySchema"], json!([key("userId", "HASH"), key("sketchId", "RANGE")]));
        let sketches =
            template.functions.iter().find(|function| function.binary == "sketches").expect("it is declared");
        assert_eq!(sketches.tables["SKETCHES_TABLE"], "SketchesTable");
        assert_eq!(sketches.tables["LINES_TABLE"], "LinesTable");
        assert_eq!(sketches.tables["OTHER_TABLE"], "unheard-of", "the doctor reports it");
        assert_eq!(template.resources["LinesAccess"].properties["Roles"][0], "SketchesRole");
        for table in ["SketchesTable", "LinesTable"] {
            let source = template.event_sources.iter().find(|source| source.table == table).expect("it has a stream");
            assert_eq!(source.function, "live-notify");
        }
        assert!(!template.resources.contains_key("LinesRole"), "it has no function");
        assert_eq!(sketches.tables["USERS_TABLE"], "UsersTable", "of the globals");
        assert_eq!(sketches.routes, ["/sketches", "/sketches/{proxy+}"].map(|path| Some(path.to_owned())));
    }
}
