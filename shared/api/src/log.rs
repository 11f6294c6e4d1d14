//! Request logs: one JSON line for each request, which includes the metrics.
//!
//! A line never contains a token, a secret, a body, an email address or a query string, and only a tag of the user.

use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_smithy_types::{DateTime, date_time};
use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use clerk_auth::Identity;
use lambda_runtime::Context;
use metrique::{
    CloseValue, InflectableEntry, RootEntry,
    emf::{Emf, flags::NoMetric},
    unit::Millisecond,
    unit_of_work::metrics,
    writer::format::Format,
};
use serde::Serialize;
use store::{Batch, ConsumedCapacity};
use tracing::Level;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{Code, Problem, env::var, problem::ProblemLog};

/// The namespace of the metrics in `CloudWatch`.
const NAMESPACE: &str = "Cubby";
/// The levels of the lines.
const INFO: &str = "INFO";
const ERROR: &str = "ERROR";

/// The shared crates, whose messages contain no secrets at any level.
const OWN_CRATES: [&str; 3] = ["api", "clerk_auth", "store"];

/// Writes log messages to standard output, which Lambda collects. `function` is the function's own crate.
///
/// The level is `LOG_LEVEL` or `RUST_LOG`; info without either. Lambda's own setting would also drop the lines that are
/// metrics. Other crates are never logged below info, since HTTP clients and the SDK log headers and bodies there.
pub(crate) fn init(function: &str) {
    let level = var("LOG_LEVEL").or_else(|| var("RUST_LOG")).unwrap_or_else(|| "info".to_owned());
    let level = level.to_lowercase().parse().unwrap_or(LevelFilter::INFO);
    let own = OWN_CRATES.into_iter().chain([function]).map(|name| (name, level));
    let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_targets(own);
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// The tags of the user and, in an impersonated session, of the actor. Set once the token is verified.
#[derive(Clone, Default)]
pub(crate) struct UserTag(Arc<OnceLock<(String, Option<String>)>>);

impl UserTag {
    pub(crate) fn set(&self, identity: &Identity) {
        self.0.get_or_init(|| (identity.tag(), identity.actor_tag()));
    }
}

/// The outcome of a webhook's event, for the request's line and its metrics: an extension of the response.
#[derive(Clone, Copy, Debug)]
pub struct EventOutcome {
    /// The type of the event.
    pub event: &'static str,
    /// Its outcome.
    pub outcome: &'static str,
    /// Its age.
    pub age: Option<Duration>,
}

/// The outcome of a batch of stream records, for its line and its metrics, and for Lambda.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// Messages that were sent.
    pub pokes: u64,
    /// Connections that were closed.
    pub cuts: u64,
    /// How long before the messages the newest of the items was written.
    pub delay: Option<Duration>,
    /// The sequence numbers of records that Lambda must send again.
    pub retried: Vec<String>,
    /// How many users or connections could not be served. Records can be retried without a failure.
    pub failures: u64,
}

/// The outcome of a scheduled job, for its line and its metric.
#[derive(Debug, Default)]
pub struct JobOutcome {
    /// Users that were processed.
    pub users: u64,
    /// Their items.
    pub items: u64,
    /// Why the job has not ended with success. It must not contain a user's data.
    pub failure: Option<String>,
}

/// The begin of every line.
#[metrics]
struct Begin {
    #[metrics(timestamp)]
    time: SystemTime,
    timestamp: String,
    level: &'static str,
    message: &'static str,
    function: &'static str,
}

impl Begin {
    fn new(level: &'static str, message: &'static str) -> Self {
        let time = SystemTime::now();
        // In RFC 3339. Lambda takes a line's time and level from the members `timestamp` and `level`.
        let timestamp = DateTime::from(time).fmt(date_time::Format::DateTime).unwrap_or_default();
        Self { time, timestamp, level, message, function: function_name() }
    }
}

/// What a line's requests to `DynamoDB` consumed.
#[metrics]
struct Capacity {
    #[metrics(flags(NoMetric))]
    dynamodb_requests: u64,
    #[metrics(flags(NoMetric))]
    read_units: f64,
    #[metrics(flags(NoMetric))]
    write_units: f64,
}

impl From<ConsumedCapacity> for Capacity {
    fn from(ConsumedCapacity { requests, read_units, write_units }: ConsumedCapacity) -> Self {
        Self { dynamodb_requests: requests, read_units, write_units }
    }
}

/// The line of a scheduled job.
#[metrics(emf::dimension_sets = [["function"]])]
struct JobLog {
    #[metrics(flatten)]
    begin: Begin,
    request_id: String,
    #[metrics(flags(NoMetric))]
    users: u64,
    #[metrics(flags(NoMetric))]
    items: u64,
    #[metrics(name = "Successes")]
    successes: u64,
    #[metrics(flags(NoMetric))]
    duration_ms: f64,
    cause: Option<String>,
}

/// A request's line. Its numbers are not metrics: each metric costs money, and AWS's services count most of them.
#[metrics]
struct RequestLog {
    #[metrics(flatten)]
    begin: Begin,
    request_id: Option<String>,
    trace_id: Option<String>,
    user: Option<String>,
    actor: Option<String>,
    method: String,
    route: String,
    #[metrics(flags(NoMetric))]
    status: u16,
    #[metrics(flags(NoMetric))]
    duration_ms: f64,
    #[metrics(flatten)]
    capacity: Capacity,
    code: Option<&'static str>,
    cause: Option<String>,
}

/// The line of a response that is a problem, counted by its code.
#[metrics(emf::dimension_sets = [["function", "code"]])]
struct ProblemMetric {
    #[metrics(flatten)]
    log: RequestLog,
    #[metrics(name = "Problems")]
    problems: u64,
}

/// The line of a failed request, also counted by the function's version. Rollbacks watch the new version.
#[metrics(emf::dimension_sets = [["function", "code"], ["function", "version"]])]
struct FailureMetric {
    #[metrics(flatten)]
    log: RequestLog,
    version: &'static str,
    #[metrics(name = "Problems")]
    problems: u64,
    #[metrics(name = "Failures")]
    failures: u64,
}

/// The line of an event, counted by its type and outcome.
#[metrics(emf::dimension_sets = [["function", "event", "outcome"]])]
struct EventMetric {
    #[metrics(flatten)]
    log: RequestLog,
    event: &'static str,
    outcome: &'static str,
    #[metrics(name = "Events")]
    events: u64,
    #[metrics(name = "EventAge", unit = Millisecond)]
    age: Option<Duration>,
}

/// The line of an event that failed, also counted by the function's version.
#[metrics(emf::dimension_sets = [["function", "event", "outcome"], ["function", "version"]])]
struct EventFailureMetric {
    #[metrics(flatten)]
    log: RequestLog,
    version: &'static str,
    event: &'static str,
    outcome: &'static str,
    #[metrics(name = "Events")]
    events: u64,
    #[metrics(name = "Failures")]
    failures: u64,
}

/// The line of a batch of stream records.
#[metrics(emf::dimension_sets = [["function"]])]
struct BatchMetric {
    #[metrics(flatten)]
    log: BatchLog,
}

/// The line of a batch that failed, also counted by the function's version.
#[metrics(emf::dimension_sets = [["function"], ["function", "version"]])]
struct BatchFailureMetric {
    #[metrics(flatten)]
    log: BatchLog,
    version: &'static str,
}

#[metrics]
struct BatchLog {
    #[metrics(flatten)]
    begin: Begin,
    request_id: String,
    trace_id: Option<String>,
    #[metrics(flags(NoMetric))]
    records: usize,
    #[metrics(flags(NoMetric))]
    users: usize,
    #[metrics(name = "Pokes")]
    pokes: u64,
    #[metrics(name = "Cuts")]
    cuts: u64,
    #[metrics(name = "Failures")]
    failures: u64,
    #[metrics(flags(NoMetric))]
    retried: usize,
    #[metrics(name = "PokeDelay", unit = Millisecond)]
    delay: Option<Duration>,
    #[metrics(flags(NoMetric))]
    duration_ms: f64,
    #[metrics(flatten)]
    capacity: Capacity,
}

impl RequestLog {
    /// Metrics are written at any level.
    fn write(self, outcome: Option<EventOutcome>) {
        let (failed, version) = (self.begin.level == ERROR, function_version());
        match outcome {
            Some(EventOutcome { event, outcome, .. }) if failed => {
                write(EventFailureMetric { log: self, version, event, outcome, events: 1, failures: 1 });
            }
            Some(EventOutcome { event, outcome, age }) => {
                write(EventMetric { log: self, event, outcome, events: 1, age });
            }
            None if failed && self.code.is_some() => {
                write(FailureMetric { log: self, version, problems: 1, failures: 1 });
            }
            None if self.code.is_some() => write(ProblemMetric { log: self, problems: 1 }),
            None if tracing::enabled!(Level::INFO) => write(self),
            None => {}
        }
    }
}

fn write<T: CloseValue<Closed: InflectableEntry>>(log: T) {
    static EMF: LazyLock<Mutex<Emf>> =
        LazyLock::new(|| Mutex::new(Emf::builder(NAMESPACE.to_owned(), vec![vec![]]).build()));
    let mut text = Vec::new();
    let mut emf = EMF.lock().unwrap_or_else(PoisonError::into_inner);
    let formatted = emf.format(&RootEntry::new(log.close()), &mut text).map_err(|error| error.to_string());
    let written = formatted.and_then(|()| std::io::stdout().write_all(&text).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::error!(error, "a request's line cannot be written");
    }
}

/// Middleware: logs the request with its response, and keeps the response out of caches.
pub(crate) async fn request(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = request.extensions_mut().remove::<Context>();
    let (request_id, trace_id) = context.map(|context| (context.request_id, context.xray_trace_id)).unzip();
    let trace_id = trace_id.flatten().as_deref().and_then(root).map(str::to_owned);
    let method = request.method().to_string();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let tag = UserTag::default();
    request.extensions_mut().insert(tag.clone());

    let (mut response, capacity) = match request.extensions_mut().remove::<Problem>() {
        // The event could not be converted into a request.
        Some(problem) => (problem.into_response(), ConsumedCapacity::default()),
        None => ConsumedCapacity::measure(next.run(request)).await,
    };

    // Responses contain a user's data.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_u16();
    let problem = response.extensions_mut().remove::<ProblemLog>();
    let outcome = response.extensions_mut().remove::<EventOutcome>();
    let (user, actor) = tag.0.get().cloned().map_or((None, None), |(user, actor)| (Some(user), actor));
    // An unknown key is not a fault of the server: any client can invent one.
    let is_undecided = problem.as_ref().is_some_and(|problem| problem.code == Code::TokenKeyUndecided);
    let log = RequestLog {
        begin: Begin::new(if status < 500 || is_undecided { INFO } else { ERROR }, "request"),
        request_id,
        trace_id,
        user,
        actor,
        method,
        route: route.as_ref().map_or("-", MatchedPath::as_str).to_owned(),
        status,
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        capacity: capacity.into(),
        code: problem.as_ref().map(|problem| problem.code.name()),
        cause: problem.and_then(|problem| problem.cause),
    };
    log.write(outcome);
    response
}

/// The records that Lambda must send again
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}

/// Gives a batch to its consumer and logs the outcome.
pub(crate) async fn batch<F: Future<Output = BatchOutcome>>(
    context: Context,
    mut batch: Batch,
    consumer: impl Fn(Batch) -> F,
) -> BatchResponse {
    let started = Instant::now();
    let (invalid, users) = (std::mem::take(&mut batch.invalid), batch.users.len());
    let records = batch.users.iter().map(|user| user.records.len()).sum::<usize>() + invalid.len();
    if !invalid.is_empty() {
        tracing::error!(records = invalid.len(), "stream records cannot be read");
    }
    let (outcome, capacity) = ConsumedCapacity::measure(consumer(batch)).await;
    let BatchOutcome { pokes, cuts, delay, mut retried, mut failures } = outcome;
    failures += invalid.iter().map(|_| 1).sum::<u64>();
    retried.extend(invalid);
    let log = BatchLog {
        begin: Begin::new(if failures == 0 { INFO } else { ERROR }, "batch"),
        request_id: context.request_id,
        trace_id: context.xray_trace_id.as_deref().and_then(root).map(str::to_owned),
        records,
        users,
        pokes,
        cuts,
        failures,
        retried: retried.len(),
        delay,
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        capacity: capacity.into(),
    };
    if failures == 0 {
        write(BatchMetric { log });
    } else {
        write(BatchFailureMetric { log, version: function_version() });
    }
    let batch_item_failures = retried.into_iter().map(|item_identifier| BatchItemFailure { item_identifier }).collect();
    BatchResponse { batch_item_failures }
}

/// Runs a scheduled job and logs the outcome.
pub(crate) async fn job(
    context: Context,
    job: impl AsyncFn(SystemTime) -> JobOutcome,
) -> Result<(), lambda_runtime::Error> {
    let started = Instant::now();
    let JobOutcome { users, items, failure } = job(context.deadline()).await;
    let failed = failure.is_some();
    write(JobLog {
        begin: Begin::new(if failed { ERROR } else { INFO }, "job"),
        request_id: context.request_id,
        users,
        items,
        successes: u64::from(!failed),
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        cause: failure,
    });
    if failed { Err("the job failed; its line has the cause".into()) } else { Ok(()) }
}

/// The trace that `X-Amzn-Trace-Id` names: `Root=1-…;Parent=…;Sampled=…`.
fn root(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

/// The function's version in Lambda.
fn function_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default());
    &VERSION
}

/// The function's name in Lambda.
pub(crate) fn function_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default());
    &NAME
}
