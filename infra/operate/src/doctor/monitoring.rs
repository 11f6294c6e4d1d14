//! Receivers of alarms, and what the metrics of the functions say.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::{
    operation::get_metric_data::GetMetricDataOutput,
    types::{Dimension, DimensionFilter, Metric, MetricDataQuery, MetricStat},
};

/// The namespace of the functions' metrics.
const NAMESPACE: &str = "Cubby";
/// Metrics are listed only for this time after their last value.
const LISTED: Duration = Duration::from_hours(14 * 24);
/// As in the alarm `ErasureOverdue`.
const ERASURE_OVERDUE: Duration = Duration::from_hours(48);
const HOUR: Duration = Duration::from_hours(1);

/// Whether every receiver of alarms has confirmed its subscription. Their addresses are personal or secret.
pub(super) async fn alarms(config: &SdkConfig, topic: &str) -> Result<String, String> {
    let client = aws_sdk_sns::Client::new(config);
    let listed = client.list_subscriptions_by_topic().topic_arn(topic).into_paginator().items().send();
    let listed = listed.collect::<Result<Vec<_>, _>>().await;
    let listed = listed.map_err(|error| format!("Subscriptions cannot be listed: {}.", aws::describe(&error)))?;
    // One that is not confirmed has a status in place of its ARN.
    let mut pending = listed.iter().filter(|one| !one.subscription_arn().unwrap_or_default().starts_with("arn:"));
    match (pending.next(), listed.len()) {
        (Some(pending), _) => {
            let protocol = pending.protocol().unwrap_or_default();
            Err(format!("A receiver of alarms by {protocol} has not confirmed its subscription."))
        }
        (None, 0) => Err("Alarms have no receiver.".to_owned()),
        (None, receivers) => Ok(format!("All receivers of alarms have confirmed their subscription ({receivers}).")),
    }
}

/// When Clerk's last event arrived.
pub(super) async fn last_event(config: &SdkConfig, function: &str) -> Result<String, String> {
    match last(config, "Events", function, LISTED).await? {
        Some(hours) => Ok(format!("Clerk's last event arrived less than {hours} h ago.")),
        None => Err(format!("No event of Clerk arrived within {} days.", LISTED.as_secs() / 86_400)),
    }
}

/// When the last scheduled erasure succeeded.
pub(super) async fn erasure(config: &SdkConfig, function: &str) -> Result<String, String> {
    match last(config, "Successes", function, ERASURE_OVERDUE).await? {
        Some(hours) => Ok(format!("The last scheduled erasure succeeded less than {hours} h ago.")),
        None => Err(format!("No scheduled erasure succeeded within {} h.", ERASURE_OVERDUE.as_secs() / 3600)),
    }
}

/// How many hours ago a function last counted something, rounded up, if that is within `horizon`.
async fn last(config: &SdkConfig, metric: &str, function: &str, horizon: Duration) -> Result<Option<u64>, String> {
    let client = aws_sdk_cloudwatch::Client::new(config);
    let of_function = DimensionFilter::builder().name("function").value(function).build();
    let listed = client.list_metrics().namespace(NAMESPACE).metric_name(metric).dimensions(of_function);
    let listed = listed.into_paginator().send().collect::<Result<Vec<_>, _>>().await;
    let listed = listed.map_err(|error| format!("Metrics cannot be listed: {}.", aws::describe(&error)))?;
    // The doctor itself sends an event that is ignored.
    let ignored = Dimension::builder().name("event").value("ignored").build();
    let metrics = listed.into_iter().flat_map(|page| page.metrics.unwrap_or_default());
    let counted = metrics.filter(|metric: &Metric| !metric.dimensions().contains(&ignored));
    let queries: Vec<_> = counted
        .zip(0..)
        .map(|(metric, number)| {
            let stat = MetricStat::builder().metric(metric).period(3600).stat("Sum").build();
            MetricDataQuery::builder().id(format!("m{number}")).metric_stat(stat).build()
        })
        .collect();
    if queries.is_empty() {
        return Ok(None);
    }
    let now = SystemTime::now();
    let data = client.get_metric_data().start_time((now - horizon).into()).end_time(now.into());
    let data = data.set_metric_data_queries(Some(queries)).into_paginator().send();
    let data = data.collect::<Result<Vec<_>, _>>().await;
    let data = data.map_err(|error| format!("Metrics cannot be read: {}.", aws::describe(&error)))?;
    let results = data.iter().flat_map(GetMetricDataOutput::metric_data_results);
    let hours = results.flat_map(|result| result.timestamps().iter().zip(result.values()));
    let last = hours.filter(|(_, count)| **count > 0.0).filter_map(|(hour, _)| SystemTime::try_from(*hour).ok()).max();
    Ok(last.map(|hour| now.duration_since(hour).unwrap_or_default().as_secs().div_ceil(HOUR.as_secs()).max(1)))
}
