//! Templates that no test deploys: `infra/backup.yaml`, `infra/delivery.yaml` and `infra/edge.yaml`. What no emulator shows of the others.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use yaml_serde::Value;

fn template(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    yaml_serde::from_str(&text).expect("a template is YAML")
}

/// The value of an intrinsic function, such as `!If`.
fn value(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) => &tagged.value,
        value => value,
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    value(list).as_sequence().into_iter().flatten().filter_map(|one| value(one).as_str())
}

#[test]
fn the_default_endpoint_is_closed_behind_cloudfront() {
    let root = template("template.yaml");
    let closed = &root["Resources"]["Api"]["Properties"]["DisableExecuteApiEndpoint"];
    let [condition, then, otherwise] = &value(closed).as_sequence().expect("!If")[..] else { panic!("{closed:?}") };
    assert_eq!((condition.as_str(), then.as_bool(), otherwise.as_bool()), (Some("HasEdge"), Some(true), Some(false)));
    assert!(root["Rules"]["EdgeHasDomain"].is_mapping(), "CloudFront reaches the API only by its DomainName");

    let edge = template("infra/edge.yaml");
    assert_eq!(edge["Parameters"]["OriginName"]["NoEcho"].as_bool(), Some(true), "the origin's name is a secret");
    for (_, output) in edge["Outputs"].as_mapping().expect("outputs") {
        assert!(!format!("{output:?}").contains("OriginName"), "{output:?}");
    }
    let distribution = &edge["Resources"]["Distribution"]["Properties"]["DistributionConfig"];
    assert_eq!(value(&distribution["WebACLId"]).as_str(), Some("WebAcl.Arn"));
    let behavior = &distribution["DefaultCacheBehavior"];
    assert_eq!(behavior["CachePolicyId"].as_str(), Some("4135ea2d-6df8-44a3-9df3-4b5a84be39ad"), "nothing is cached");
    assert_eq!(behavior["Compress"].as_bool(), Some(false), "it would weaken ETags");
    assert!(distribution["CacheBehaviors"].is_null(), "every path has the same rules");
}

/// The prefix of a resource type's actions, such as `dynamodb` for `AWS::DynamoDB::Table`.
fn service(resource_type: &str) -> String {
    let service = resource_type.split("::").nth(1).expect("a type has three parts").to_lowercase();
    match service.as_str() {
        "apigatewayv2" => "apigateway".to_owned(),
        _ => service,
    }
}

#[test]
fn the_role_of_deployments_covers_every_resource_type() {
    let mut types: BTreeSet<String> =
        ["AWS::CodeDeploy::Application", "AWS::Lambda::Function"].map(str::to_owned).into();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra");
    let nested = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    let nested = nested.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let nested = nested.map(|path| format!("infra/{}", path.file_name().expect("a file").display()));
    // Those of an administrator.
    let nested =
        nested.filter(|path| !["infra/backup.yaml", "infra/delivery.yaml", "infra/edge.yaml"].contains(&path.as_str()));
    for path in nested.chain(["template.yaml".to_owned()]) {
        for (_, resource) in template(&path)["Resources"].as_mapping().expect("resources") {
            types.insert(resource["Type"].as_str().expect("a type").to_owned());
        }
    }
    let delivery = template("infra/delivery.yaml");
    let statements = ["Named", "Unnamed"].map(|policy| {
        delivery["Resources"][policy]["Properties"]["PolicyDocument"]["Statement"].as_sequence().expect("statements")
    });
    let actions = statements.into_iter().flatten().flat_map(|statement| match &statement["Action"] {
        Value::String(action) => vec![action.as_str()],
        actions => strings(actions).collect(),
    });
    let actions: BTreeSet<_> = actions.map(|action| action.split(':').next().expect("a service")).collect();
    let services: BTreeSet<_> =
        types.iter().filter(|kind| !kind.starts_with("AWS::Serverless::")).map(|kind| service(kind)).collect();
    let missing: Vec<_> = services.iter().filter(|service| !actions.contains(service.as_str())).collect();
    assert!(services.len() > 8, "{services:?}");
    assert!(missing.is_empty(), "infra/delivery.yaml allows nothing of {missing:?}");
}

#[test]
fn only_a_protected_environment_assumes_the_role_of_deployments() {
    let delivery = template("infra/delivery.yaml");
    let trust = &delivery["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
    let [statement] = &trust.as_sequence().expect("a statement")[..] else { panic!("{trust:?}") };
    let condition = statement["Condition"].as_mapping().expect("a condition");
    assert_eq!(condition.len(), 1, "only an exact comparison: {condition:?}");
    let subject = &condition["StringEquals"]["token.actions.githubusercontent.com:sub"];
    assert_eq!(value(subject).as_str(), Some("repo:${Repository}:environment:${Stage}"));
    assert_eq!(
        condition["StringEquals"]["token.actions.githubusercontent.com:aud"].as_str(),
        Some("sts.amazonaws.com")
    );
}

#[test]
fn backups_and_copies_expire_and_select_the_stacks_tables_by_name() {
    let backup = template("infra/backup.yaml");
    let rules = &backup["Resources"]["Plan"]["Properties"]["BackupPlan"]["BackupPlanRule"];
    let copies = rules
        .as_sequence()
        .expect("rules")
        .iter()
        .flat_map(|rule| rule["CopyActions"].as_sequence().expect("every backup is copied").iter().chain([rule]));
    for kept in copies {
        assert_eq!(
            value(&kept["Lifecycle"]["DeleteAfterDays"]).as_str(),
            Some("KeptDays"),
            "erased data stays: {kept:?}"
        );
    }
    let selection = &backup["Resources"]["Selection"]["Properties"]["BackupSelection"];
    let [selected] = &strings(&selection["Resources"]).collect::<Vec<_>>()[..] else { panic!("{selection:?}") };
    assert!(selected.ends_with(":table/${StackName}-*"), "{selected}");
}

/// SAM would name a schedule by its logical id, and an account has only one of each name.
#[test]
fn stages_in_one_account_have_schedules_of_their_own() {
    let root = template("template.yaml");
    let mut schedules = 0;
    for (id, resource) in root["Resources"].as_mapping().expect("resources") {
        for (_, event) in resource["Properties"]["Events"].as_mapping().into_iter().flatten() {
            if event["Type"].as_str().is_some_and(|kind| kind.starts_with("Schedule")) {
                let name = value(&event["Properties"]["Name"]).as_str().unwrap_or_default();
                assert!(name.starts_with("${AWS::StackName}-"), "{id:?}: {name}");
                schedules += 1;
            }
        }
    }
    assert!(schedules > 0);
}

#[test]
fn deployments_state_the_architecture_that_was_built() {
    for set in ["SET=", "SET=Rollout=AtOnce"] {
        let mut make = Command::new("make");
        make.args(["--dry-run", "deploy", "STAGE=prod", "ARCH=x86_64", set]).env_remove("MAKEFLAGS");
        let output = make.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).output().expect("make runs");
        let commands = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(commands.contains("sam build --parameter-overrides Architecture=x86_64"), "{commands}");
        let deploy = commands.lines().find(|line| line.starts_with("sam deploy")).expect("a deployment");
        let configured =
            commands.contains(r#"s/"Stage=prod",/& "Architecture=x86_64",/"#) && !deploy.contains("--param");
        assert_eq!(configured, set == "SET=", "{commands}");
        assert!(
            configured || deploy.ends_with("--parameter-overrides Architecture=x86_64 Rollout=AtOnce"),
            "{commands}"
        );
    }
}
