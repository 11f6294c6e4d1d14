//! `cargo ops doctor` on the deployed stack, with one thing broken at a time.
//!
//! Clerk and the stack's URLs cannot be reached here. Their checks are tested in infra/local/src/doctor.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_dynamodb::types::{StreamSpecification, TimeToLiveSpecification};
use serde_json::Value;
use test_support::ORIGIN;

use crate::{
    aws::Aws,
    signing_secret,
    stack::{self, Stack},
};

/// The checks of what cannot be reached.
const UNREACHABLE: [&str; 4] = ["issuer", "api", "webhook", "live"];
/// The checks that need an answer of these.
const SKIPPED: [&str; 4] = ["key", "clock", "cors", "signature"];

/// A signing secret that is malformed.
const SHORT_SECRET: &str = "whsec_c2hvcnQ=";

/// The names of the other checks that fail.
fn failures(stack: &Stack<'_>) -> Vec<String> {
    let mut doctor = stack.aws.operator(&["--stack", stack::NAME, "doctor", "--json"]);
    // A proxy that is not there, so that no check leaves this machine. Requests to AWS use no proxy.
    doctor.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let output = doctor.output().expect("cargo runs");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    for secret in [&signing_secret('A'), SHORT_SECRET, "BEGIN PUBLIC KEY"] {
        assert!(!printed.contains(secret.trim_start_matches("whsec_")), "{printed}");
    }
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let named = |passed: &Value| -> Vec<String> {
        let named = checks.iter().filter(|check| check["passed"] == *passed);
        named.map(|check| check["name"].as_str().expect("a name").to_owned()).collect()
    };
    let fixes = checks.iter().filter_map(|check| check["fix"].as_str());
    let incomplete: Vec<_> = fixes.filter(|fix| fix.contains('<')).collect();
    assert!(incomplete.is_empty(), "{incomplete:?}");
    let (unreachable, failed): (Vec<_>, Vec<_>) =
        named(&false.into()).into_iter().partition(|name| UNREACHABLE.contains(&name.as_str()));
    assert_eq!(unreachable, UNREACHABLE, "{printed}");
    assert_eq!(named(&Value::Null), SKIPPED, "{printed}");
    failed
}

/// Stores a value of a metric, in place of a function that logs it.
async fn count(stack: &Stack<'_>, metric: &str, function: &str, dimensions: &[(&str, &str)]) {
    let function = [("function", stack.functions[function].as_str())];
    let dimensions = function.iter().chain(dimensions);
    let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(*name).value(*value).build());
    let datum = MetricDatum::builder().metric_name(metric).value(1.0).set_dimensions(Some(dimensions.collect()));
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&stack.aws.config());
    cloudwatch.put_metric_data().namespace("Cubby").metric_data(datum.build()).send().await.expect("stored");
}

async fn expire(stack: &Stack<'_>, table: &str, enabled: bool) {
    let expiry = TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(enabled).build();
    let update = stack.aws.dynamodb().update_time_to_live().table_name(stack.table(table));
    update.time_to_live_specification(expiry.expect("complete")).send().await.expect("updated");
}

#[tokio::test]
async fn doctor_finds_what_is_broken_in_a_deployed_stack() {
    let aws = Aws::start("doctor").await;
    let template = aws.built().join("template.yaml");
    let mut stack = Stack::deploy(&aws, &template, &[]).await;

    assert_eq!(failures(&stack), ["parties", "secret", "last-event", "erasure"], "a new stack");
    let origins = format!("AllowedOrigins={ORIGIN}");
    stack.set(&template, &[&origins]).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(failures(&stack), ["secret", "last-event", "erasure"], "without an origin that is not a party");
    stack.put_secret(&signing_secret('A')).await;
    // The doctor's own events are ignored ones.
    count(&stack, "Events", "ClerkWebhookFunction", &[("event", "ignored"), ("outcome", "ignored")]).await;
    assert_eq!(failures(&stack), ["last-event", "erasure"]);
    count(&stack, "Events", "ClerkWebhookFunction", &[("event", "user_changed"), ("outcome", "changed")]).await;
    assert_eq!(failures(&stack), ["erasure"]);
    count(&stack, "Successes", "ScheduledErasureFunction", &[]).await;
    assert_eq!(failures(&stack), [] as [&str; 0]);

    stack.put_secret(SHORT_SECRET).await;
    assert_eq!(failures(&stack), ["secret"]);
    stack.put_secret(&signing_secret('A')).await;

    let sns = aws_sdk_sns::Client::new(&aws.config());
    let topic = &stack.outputs["AlarmTopicArn"];
    let pager = sns.subscribe().topic_arn(topic).protocol("https").endpoint("https://pager.example.com/key");
    pager.send().await.expect("subscribed");
    assert_eq!(failures(&stack), ["alarms"], "one receiver has not confirmed");
    // Of this list, the emulator also shows the ARNs of subscriptions that are not confirmed.
    for receiver in sns.list_subscriptions().send().await.expect("listed").subscriptions() {
        let arn = receiver.subscription_arn().expect("an ARN");
        sns.unsubscribe().subscription_arn(arn).send().await.expect("unsubscribed");
    }
    assert_eq!(failures(&stack), ["alarms"], "no receiver");
    sns.subscribe().topic_arn(topic).protocol("email").endpoint("a@example.com").send().await.expect("subscribed");
    assert_eq!(failures(&stack), [] as [&str; 0]);

    let iam = aws_sdk_iam::Client::new(&aws.config());
    let roles = iam.list_roles().send().await.expect("listed").roles;
    let role = roles.iter().map(aws_sdk_iam::types::Role::role_name).find(|name| name.contains("ClerkWebhookRole"));
    let (role, denial) = (role.expect("the function's role"), "denial");
    let document = r#"{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Action": "dynamodb:UpdateItem", "Resource": "*" }] }"#;
    iam.put_role_policy().role_name(role).policy_name(denial).policy_document(document).send().await.expect("stored");
    assert_eq!(failures(&stack), ["permissions"]);
    iam.delete_role_policy().role_name(role).policy_name(denial).send().await.expect("deleted");

    let lambda = aws_sdk_lambda::Client::new(&aws.config());
    let mappings = lambda.list_event_source_mappings().send().await.expect("listed").event_source_mappings;
    let mapping = mappings.unwrap_or_default().into_iter().find_map(|mapping| mapping.uuid).expect("one of the stack");
    for (enabled, expected) in [(false, &["streams"][..]), (true, &[])] {
        lambda.update_event_source_mapping().uuid(&mapping).enabled(enabled).send().await.expect("updated");
        assert_eq!(failures(&stack), expected, "records are delivered: {enabled}");
    }

    expire(&stack, "ChatsTable", false).await;
    assert_eq!(failures(&stack), ["tables"], "items do not expire");
    expire(&stack, "ChatsTable", true).await;
    assert_eq!(failures(&stack), [] as [&str; 0]);

    let other = aws.dynamodb().describe_table().table_name(stack.table("SessionsTable")).send().await;
    let other = other.expect("described").table.expect("it").latest_stream_arn.expect("it has a stream");
    let existing = format!("ExistingChatsTable={other}");
    stack.set(&template, &[&existing]).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(failures(&stack), ["tables"], "another table in place of that of chats");
    stack.set(&template, &["ExistingChatsTable=\"\""]).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(failures(&stack), [] as [&str; 0]);

    // Last, since a stream that is enabled again has another ARN.
    stack.find().await;
    let stream = StreamSpecification::builder().stream_enabled(false).build().expect("complete");
    let update = aws.dynamodb().update_table().table_name(stack.table("SessionsTable")).stream_specification(stream);
    update.send().await.expect("updated");
    assert_eq!(failures(&stack), ["tables"], "changes are not streamed");
}
