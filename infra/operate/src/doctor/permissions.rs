//! What the functions' roles allow, by IAM's simulation of their policies.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use aws_config::SdkConfig;
use aws_sdk_iam::types::PolicyEvaluationDecisionType::Allowed;
use local::{
    doctor::Target,
    template::{Template, granted_table},
};
use serde_json::Value;

/// Actions on the stream of a table.
const STREAM: [&str; 3] = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];

/// Actions by the logical id of the role and that of the resource.
type Grants = BTreeMap<(String, String), BTreeSet<String>>;

/// Whether the roles allow what the template grants them on the tables and the secret. Statements with a condition are
/// omitted, since they depend on the request.
pub(super) async fn check(
    config: &SdkConfig,
    stack_id: &str,
    template: &Template,
    target: &Target,
    resources: &BTreeMap<String, String>,
) -> Result<String, String> {
    let (partition, account) = match stack_id.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, _, _, account, ..] => (*partition, *account),
        _ => return Err("The stack's id is not an ARN.".to_owned()),
    };
    let client = aws_sdk_iam::Client::new(config);
    let arns = arns(target, resources).await;
    let mut simulated = 0;
    for ((role, resource), actions) in grants(template)? {
        // Other checks find what is missing.
        let (Some(name), Some(arn)) = (resources.get(&role), arns.get(&resource)) else { continue };
        simulated += actions.len();
        let simulation = client
            .simulate_principal_policy()
            .policy_source_arn(format!("arn:{partition}:iam::{account}:role/{name}"))
            .set_action_names(Some(actions.into_iter().collect()))
            .resource_arns(arn)
            .send()
            .await
            .map_err(|error| format!("The policies of {role} cannot be simulated: {}.", aws::describe(&error)))?;
        if let Some(denied) = simulation.evaluation_results().iter().find(|result| *result.eval_decision() != Allowed) {
            return Err(format!("{role} does not allow {} on {resource}.", denied.eval_action_name()));
        }
    }
    Ok(format!("The functions' roles allow what the template grants on tables and the secret ({simulated})."))
}

/// The grants of the roles' own policies and of those that are attached to them.
fn grants(template: &Template) -> Result<Grants, String> {
    let mut grants = Grants::new();
    for (id, resource) in &template.resources {
        let properties = serde_json::to_value(&resource.properties).map_err(|error| format!("{id}: {error}."))?;
        match resource.kind.as_str() {
            "AWS::IAM::Role" => list(&properties, "Policies").for_each(|policy| add(&mut grants, id, policy)),
            "AWS::IAM::Policy" => texts(&properties, "Roles").for_each(|role| add(&mut grants, role, &properties)),
            _ => {}
        }
    }
    Ok(grants)
}

fn add(grants: &mut Grants, role: &str, policy: &Value) {
    let statements = policy.get("PolicyDocument").into_iter().flat_map(|document| list(document, "Statement"));
    for statement in statements.filter(|statement| statement.get("Condition").is_none()) {
        for resource in texts(statement, "Resource") {
            for action in texts(statement, "Action") {
                let stream = if STREAM.contains(&action) { "/stream" } else { "" };
                grants.entry((role.to_owned(), format!("{resource}{stream}"))).or_default().insert(action.to_owned());
            }
        }
    }
}

/// The elements of a member that has one value or a list of them.
fn list<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    let elements = |value: &'a Value| value.as_array().map_or(slice::from_ref(value), Vec::as_slice);
    object.get(member).map(elements).into_iter().flatten()
}

fn texts<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    list(object, member).filter_map(Value::as_str)
}

/// The ARNs of the secret, and of the tables with their indexes and streams, by what the template calls them.
async fn arns(target: &Target, resources: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut arns = BTreeMap::new();
    let mut add = |id: String, arn: Option<&str>| arns.extend(arn.map(|arn| (id, arn.to_owned())));
    add("WebhookSecret".to_owned(), resources.get("WebhookSecret").map(String::as_str));
    for (table, name) in &target.tables {
        let (id, Some(name)) = (&table.name, name) else { continue };
        let described = target.database.describe_table().table_name(name).send().await;
        let Some(described) = described.ok().and_then(|described| described.table) else { continue };
        add(granted_table(id), described.table_arn());
        add(format!("{id}/stream"), described.latest_stream_arn());
        for index in described.local_secondary_indexes() {
            add(format!("{}/index/{}", granted_table(id), index.index_name().unwrap_or_default()), index.index_arn());
        }
    }
    arns
}
