//! The event source mappings, by which functions get the changes of tables.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use local::{
    doctor::{Check, Place::Aws as AWS},
    template::Template,
};

/// The states of a mapping that delivers records, now or in a moment.
const DELIVERING: [&str; 3] = ["Enabled", "Enabling", "Updating"];

/// Whether Lambda delivers the records of every stream.
pub(super) async fn check(config: &SdkConfig, template: &Template, resources: &BTreeMap<String, String>) -> Check {
    let client = aws_sdk_lambda::Client::new(config);
    let is_mapping = |kind: &str| kind == "AWS::Lambda::EventSourceMapping";
    let mappings: Vec<_> = template.resources.iter().filter(|(_, resource)| is_mapping(&resource.kind)).collect();
    for (id, _) in &mappings {
        let Some(uuid) = resources.get(*id) else {
            return Check::of("streams", AWS, Err(format!("The stack has no {id}.")));
        };
        let state = match client.get_event_source_mapping().uuid(uuid).send().await {
            Ok(mapping) => mapping.state.unwrap_or_default(),
            Err(error) => {
                let error = aws::describe(&error);
                return Check::of("streams", AWS, Err(format!("{id} cannot be read: {error}.")));
            }
        };
        if !DELIVERING.contains(&state.as_str()) {
            let check = Check::of("streams", AWS, Err(format!("{id} has the state {state}.")));
            let fix = format!("aws lambda update-event-source-mapping --uuid {uuid} --enabled");
            return Check { fix: Some(fix), ..check };
        }
    }
    Check::of("streams", AWS, Ok(format!("Lambda delivers the changes of the tables ({}).", mappings.len())))
}
