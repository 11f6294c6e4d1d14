//! Erases the data of users that were deleted some time ago. A schedule invokes it every day.

use std::{
    ops::ControlFlow,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use api::{JobOutcome, var};
use aws_sdk_cloudformation::config as cloudformation;
use aws_sdk_dynamodb::config::{self as dynamodb, retry::RetryConfig};
use clerk_auth::user_tag;
use erasure::{Erasure, Tables};
use tokio::time::timeout;

/// More than the SDK's default, to wait for throttled tables.
const ATTEMPTS: u32 = 10;
/// The time before Lambda's timeout at which it stops, to log the outcome.
const MARGIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    api::job("scheduled_erasure", async |deadline| {
        let mut outcome = JobOutcome::default();
        let erased = erase_in_stack(deadline, &mut outcome).await;
        outcome.failure = erased.err().map(|error| format!("{error:#}"));
        outcome
    })
}

async fn erase_in_stack(deadline: SystemTime, outcome: &mut JobOutcome) -> Result<()> {
    let days = var("ERASE_AFTER_DAYS").context("ERASE_AFTER_DAYS is not set")?;
    let days = days.parse().context("ERASE_AFTER_DAYS is not a number of days")?;
    let stack = var("STACK").context("STACK is not set")?;
    let (config, refresh) = aws::sdk_config("CLOUDFORMATION", var);
    let stacks = cloudformation::Builder::from(&config).retry_classifier(refresh);
    let (config, refresh) = aws::sdk_config("DYNAMODB", var);
    let tables = dynamodb::Builder::from(&config)
        .retry_classifier(refresh)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    let stacks = aws_sdk_cloudformation::Client::from_conf(stacks.build());
    let tables = Tables::of_stack(&stacks, aws_sdk_dynamodb::Client::from_conf(tables.build()), stack).await?;
    erase(Erasure::after_days(days)?, &tables, deadline, outcome).await
}

/// Erases until `deadline` is near. The next run continues with the rest. A user that cannot be erased does not keep the others
/// from it.
async fn erase(erasure: Erasure, tables: &Tables, deadline: SystemTime, outcome: &mut JobOutcome) -> Result<()> {
    // The schedule begins in the middle of the stack's creation. Tables of resources may be missing, and the next run has them.
    if tables.status.as_deref() == Some("CREATE_IN_PROGRESS") {
        return Ok(());
    }
    let (mut failures, mut first) = (0, None);
    let visit = async |user: String| {
        match erasure.erase(tables, &user).await {
            Ok(items) => {
                outcome.users += 1;
                outcome.items += items;
            }
            Err(error) => {
                failures += 1;
                first.get_or_insert_with(|| error.context(format!("user {}", user_tag(&user))));
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    let time = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(MARGIN);
    let ended = timeout(time, erasure.users(tables, false, visit)).await;
    let _ = ended.context("the time is used up; the next run continues")??;
    first.map_or(Ok(()), |error| Err(error.context(format!("users that could not be erased: {failures}"))))
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use aws_sdk_dynamodb::{
        Client,
        config::{BehaviorVersion, Credentials, Region},
        types::AttributeValue,
    };
    use erasure::string;
    use serde_json::json;

    use super::*;

    /// The local stack's tables, whose names are their logical ids, with three users: deleted long ago, now, and not.
    async fn tables(url: &str) -> Tables {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(url)
            .http_client(aws::http_client(None));
        let client = Client::from_conf(config.build());
        let names = client.list_tables().send().await.expect("listed").table_names.unwrap_or_default();
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
        for (user, deleted_at) in [("user_gone", json!(1)), ("user_going", json!(now)), ("user_here", json!(null))] {
            let item = json!({ "userId": user, "firstName": "Ada", "deletionReceivedAt": deleted_at });
            let put = client.put_item().table_name("UsersTable");
            put.set_item(Some(serde_dynamo::to_item(item).expect("an item"))).send().await.expect("written");
        }
        Tables::new(client, names.into_iter().map(|name| (name.clone(), name)).collect()).await.expect("tables")
    }

    async fn has_name(tables: &Tables, user: &str) -> bool {
        let read = tables.client.get_item().table_name(&tables.users).key("userId", string(user)).send().await;
        let item = read.expect("read").item.expect("it is there");
        item.get("firstName") == Some(&AttributeValue::S("Ada".to_owned()))
    }

    #[tokio::test]
    async fn run_out_of_time_fails_and_the_next_run_continues() {
        let engine = test_support::in_memory().await.expect("the engine starts");
        let tables = tables(engine.url()).await;
        let erasure = Erasure::after_days(30).expect("after 1970");
        let mut outcome = JobOutcome::default();
        let late = erase(erasure, &tables, SystemTime::now() + MARGIN, &mut outcome).await;
        assert!(late.expect_err("it is late").to_string().contains("the next run continues"));
        assert_eq!(outcome.users, 0);
        assert!(has_name(&tables, "user_gone").await);

        for expected in [1, 1] {
            let in_time = SystemTime::now() + Duration::from_mins(15);
            erase(erasure, &tables, in_time, &mut outcome).await.expect("it ends");
            assert_eq!(outcome.users, expected, "nothing is erased twice");
        }
        assert!(!has_name(&tables, "user_gone").await);
        assert!(has_name(&tables, "user_going").await && has_name(&tables, "user_here").await);
    }

    #[tokio::test]
    async fn users_are_not_erased_during_a_deployment() {
        let engine = test_support::in_memory().await.expect("the engine starts");
        let mut tables = tables(engine.url()).await;
        let in_time = SystemTime::now() + Duration::from_mins(15);
        for (status, succeeds, users) in [
            ("CREATE_IN_PROGRESS", true, 0),
            ("UPDATE_IN_PROGRESS", false, 0),
            ("UPDATE_ROLLBACK_FAILED", false, 0),
            ("UPDATE_COMPLETE", true, 1),
        ] {
            tables.status = Some(status.to_owned());
            let mut outcome = JobOutcome::default();
            let erased = erase(Erasure::after_days(30).expect("after 1970"), &tables, in_time, &mut outcome).await;
            assert_eq!((erased.is_ok(), outcome.users), (succeeds, users), "{status}");
        }
    }

    #[tokio::test]
    async fn users_after_one_that_cannot_be_erased_are_erased() {
        let engine = test_support::in_memory().await.expect("the engine starts");
        let mut tables = tables(engine.url()).await;
        for user in ["user_a", "user_z"] {
            let put = tables.client.put_item().table_name("UsersTable").item("userId", string(user));
            let put =
                put.item("firstName", string("Ada")).item("deletionReceivedAt", AttributeValue::N("1".to_owned()));
            put.send().await.expect("written");
        }
        let resource = tables.resources.first_mut().expect("a resource");
        let sort_key = resource.sort_key.replace("unknown".to_owned()).expect("a sort key");
        let put = tables.client.put_item().table_name(&resource.name).item("userId", string("user_gone"));
        put.item(sort_key, string("1")).send().await.expect("written");

        let mut outcome = JobOutcome::default();
        let in_time = SystemTime::now() + Duration::from_mins(15);
        let erased = erase(Erasure::after_days(30).expect("after 1970"), &tables, in_time, &mut outcome).await;
        let error = format!("{:#}", erased.expect_err("one user has an item that cannot be deleted"));
        assert!(error.contains(&format!("erased: 1: user {}", user_tag("user_gone"))), "{error}");
        assert!(!error.contains("user_gone"), "{error}");
        assert_eq!(outcome.users, 2);
        assert!(has_name(&tables, "user_gone").await);
        assert!(!has_name(&tables, "user_a").await && !has_name(&tables, "user_z").await);
    }
}
