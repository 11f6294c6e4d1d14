//! DynamoDB Streams, whose records are delivered to functions as Lambda does with the template's event source mappings.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Error, Result, anyhow};
use dynoxide::Database;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout},
};

use crate::{
    invoker::Invoker,
    template::{EventSource, Template},
};

/// Requests to the engine are announced. A write whose client disconnects before the response is found by polling.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest and the longest delay before a failed batch is retried. It doubles with each retry.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// A function that has not responded for this long counts as failing.
const SLOW: Duration = Duration::from_secs(5);

/// The batches that no function has processed yet, by table.
#[derive(Default)]
pub(crate) struct Pending(Mutex<BTreeMap<String, Batch>>);

/// A batch, or one before it of the same stream.
struct Batch {
    function: String,
    since: Instant,
    error: Option<String>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, source: &EventSource) {
        let batch = || Batch { function: source.function.clone(), since: Instant::now(), error: None };
        self.lock().entry(source.table.clone()).or_insert_with(batch);
    }

    fn end(&self, table: &str, error: Option<&Error>) {
        let mut batches = self.lock();
        match (error, batches.get_mut(table)) {
            (Some(error), Some(batch)) => batch.error = Some(format!("{error:#}")),
            _ => drop(batches.remove(table)),
        }
    }

    /// A sentence for each table whose changes are not processed.
    pub(crate) fn failures(&self) -> Vec<String> {
        let sentence = |(table, Batch { function, since, error }): (&String, &Batch)| {
            let slow = (since.elapsed() > SLOW).then_some("it does not respond");
            let reason = error.as_deref().or(slow)?;
            Some(format!("{function} does not process the changes of {table}: {reason}."))
        };
        self.lock().iter().filter_map(sentence).collect()
    }
}

/// A table's stream from the start of the local stack, whatever the mapping's starting position. No connection is older.
struct Stream {
    database: Database,
    source: EventSource,
    arn: String,
    iterator: String,
    pending: Arc<Pending>,
}

/// The streams of the template's event source mappings.
pub(crate) struct Streams {
    streams: Vec<Stream>,
    pub(crate) pending: Arc<Pending>,
}

impl Streams {
    /// The template's streams, from their present ends.
    pub(crate) fn open(database: &Database, template: &Template) -> Result<Self> {
        let pending = Arc::<Pending>::default();
        let open = |source: &EventSource| {
            Stream::open(database.clone(), source, Arc::clone(&pending)).with_context(|| source.table.clone())
        };
        Ok(Self { streams: template.event_sources.iter().map(open).collect::<Result<_>>()?, pending })
    }

    /// Invokes the functions with new records until the tasks are dropped. `used` changes with every request to the engine.
    pub(crate) fn poll(self, functions: &Invoker, used: &watch::Receiver<()>) -> JoinSet<()> {
        self.streams.into_iter().map(|stream| stream.poll(functions.clone(), used.clone())).collect()
    }
}

impl Stream {
    fn open(database: Database, source: &EventSource, pending: Arc<Pending>) -> Result<Self> {
        let table = database.describe_table(serde_json::from_value(json!({ "TableName": source.table }))?)?;
        let label = table.table.latest_stream_label.context("it has no stream")?;
        let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/{}/stream/{label}", source.table);
        let described = database.describe_stream(serde_json::from_value(json!({ "StreamArn": arn }))?)?;
        let shard = described.stream_description.shards.into_iter().next().context("its stream has no shard")?;
        let request = json!({ "StreamArn": arn, "ShardId": shard.shard_id, "ShardIteratorType": "LATEST" });
        let iterator = database.get_shard_iterator(serde_json::from_value(request)?)?.shard_iterator;
        let iterator = iterator.context("its stream has no iterator")?;
        Ok(Self { database, source: source.clone(), arn, iterator, pending })
    }

    async fn poll(mut self, functions: Invoker, mut used: watch::Receiver<()>) {
        loop {
            used.borrow_and_update();
            match self.read().await {
                Ok(Some(records)) => self.deliver(records, &functions).await,
                Ok(None) => {
                    if let Ok(Err(_)) = timeout(POLL_INTERVAL, used.changed()).await {
                        return;
                    }
                }
                Err(error) => {
                    eprintln!("the stream of {} cannot be read: {error:#}", self.source.table);
                    sleep(POLL_INTERVAL).await;
                }
            }
        }
    }

    /// The next records for the function, or none at the stream's end.
    async fn read(&mut self) -> Result<Option<Vec<Value>>> {
        let request = json!({ "ShardIterator": self.iterator, "Limit": self.source.delivery.batch_size });
        let (database, request) = (self.database.clone(), serde_json::from_value(request)?);
        let response = spawn_blocking(move || database.get_records(request)).await??;
        self.iterator = response.next_shard_iterator.context("the shard has ended")?;
        if response.records.is_empty() {
            return Ok(None);
        }
        let records = response.records.iter().filter(|record| self.source.selects(&record.event_name));
        let records = records.map(|record| {
            let mut record = serde_json::to_value(record)?;
            if let Some(members) = record.as_object_mut() {
                members.insert("awsRegion".to_owned(), "us-east-1".into());
                members.insert("eventSourceARN".to_owned(), self.arn.clone().into());
            }
            Ok(record)
        });
        records.collect::<Result<_>>().map(Some)
    }

    /// Invokes the function with a batch, and retries what fails of it: in halves, so that one record does not block others.
    async fn deliver(&self, records: Vec<Value>, functions: &Invoker) {
        let EventSource { table, function, delivery, .. } = &self.source;
        let mut batches = vec![(records, 0)];
        while let Some((mut batch, attempts)) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            self.pending.begin(&self.source);
            let invoked = functions.invoke(function, &json!({ "Records": batch })).await;
            let failure = self.failure(&batch, invoked);
            self.pending.end(table, failure.as_ref().map(|(_, error)| error));
            let Some((first, error)) = failure else { continue };
            let mut failed = batch.split_off(first);
            if attempts == delivery.maximum_retry_attempts {
                eprintln!("{function} gave up on {} changes of {table}: {error:#}", failed.len());
                continue;
            }
            let [delay, longest] = RETRY_DELAYS;
            sleep(delay.saturating_mul(1 << attempts.min(10)).min(longest)).await;
            if delivery.bisect_batch_on_function_error && failed.len() > 1 {
                let half = failed.split_off(failed.len().div_ceil(2));
                batches.push((half, attempts + 1));
            }
            batches.push((failed, attempts + 1));
        }
    }

    /// The position of the first record of a batch that was not processed, and why.
    fn failure(&self, batch: &[Value], invoked: Result<Value>) -> Option<(usize, Error)> {
        let answer = match invoked {
            Ok(answer) => answer,
            Err(error) => return Some((0, error)),
        };
        if !self.source.delivery.reports_failures() {
            return None;
        }
        let failures = match answer.get("batchItemFailures") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Some((0, anyhow!("its answer is malformed"))),
        };
        let position = |failure: &Value| {
            let number = failure.get("itemIdentifier");
            // If it is not of the batch, Lambda treats the whole batch as failed.
            batch.iter().position(|record| record.pointer("/dynamodb/SequenceNumber") == number).unwrap_or(0)
        };
        Some((failures.iter().map(position).min()?, anyhow!("it reports failures")))
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{dynamodb, invoker::tests::lambda, template::Delivery};

    const TABLE: &str = "NotesTable";

    /// A table with a stream, whose records a function is invoked with.
    struct Table {
        database: Database,
        used: watch::Sender<()>,
        /// The ids of the items of each invocation.
        invocations: mpsc::UnboundedReceiver<Vec<String>>,
        pending: Arc<Pending>,
        _folder: tempfile::TempDir,
        _polling: JoinSet<()>,
    }

    fn text(record: &Value, pointer: &str) -> String {
        record.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {record}")).to_owned()
    }

    /// A function's reaction to each batch: it responds, or fails.
    type Process = fn(usize, &[Value]) -> Result<Value, Value>;

    impl Table {
        /// The function gets the number of the invocation, from 0, and the records.
        async fn start(delivery: Value, event_names: Option<&[&str]>, process: Process) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let mut template = Template::load().expect("the template is valid");
            let attribute = json!([{ "AttributeName": "id", "AttributeType": "S" }]);
            let create = json!({
                "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attribute,
                "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            });
            let stream_view_type = Some("NEW_IMAGE".to_owned());
            template.tables =
                vec![crate::template::Table { name: TABLE.to_owned(), create, ttl_attribute: None, stream_view_type }];
            let delivery: Delivery = serde_json::from_value(delivery).expect("a mapping");
            let event_names = event_names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            template.event_sources = vec![EventSource {
                table: TABLE.to_owned(),
                function: "live-notify".to_owned(),
                event_names,
                delivery,
            }];
            let database = dynamodb::open(&folder.path().join("dynamodb.sqlite"), &template).expect("it opens");

            let (invoked, invocations) = mpsc::unbounded_channel();
            let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let functions = lambda(move |function, event| {
                let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let records = event["Records"].as_array().cloned().unwrap_or_default();
                assert_eq!(function, "live-notify");
                invoked.send(ids(&records)).expect("the test waits");
                async move { process(number, &records) }
            });
            let (used, is_used) = watch::channel(());
            put(&database, "before");
            let streams = Streams::open(&database, &template).expect("it has a stream");
            let pending = Arc::clone(&streams.pending);
            let polling = streams.poll(&functions.await, &is_used);
            Self { database, used, invocations, pending, _folder: folder, _polling: polling }
        }

        fn put(&self, ids: &[&str]) {
            for id in ids {
                put(&self.database, id);
            }
            self.used.send_replace(());
        }

        async fn invocation(&mut self) -> Vec<String> {
            let invocation = timeout(Duration::from_secs(10), self.invocations.recv()).await;
            invocation.expect("in time").expect("an invocation")
        }

        /// All invocations until one of the item `last`.
        async fn until(&mut self, last: &str) -> Vec<Vec<String>> {
            let mut invocations = Vec::new();
            while invocations.last().is_none_or(|ids: &Vec<String>| ids != &[last]) {
                invocations.push(self.invocation().await);
            }
            invocations
        }
    }

    fn put(database: &Database, id: &str) {
        let put = json!({ "TableName": TABLE, "Item": { "id": { "S": id } } });
        database.put_item(serde_json::from_value(put).expect("a request")).expect("it is written");
    }

    fn ids(records: &[Value]) -> Vec<String> {
        records.iter().map(|record| text(record, "/dynamodb/Keys/id/S")).collect()
    }

    fn delivery(batch_size: usize, attempts: u32) -> Value {
        json!({
            "BatchSize": batch_size, "MaximumRetryAttempts": attempts, "BisectBatchOnFunctionError": true,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        })
    }

    /// Says that the items with these ids have failed.
    fn failed(records: &[Value], failed: &[&str]) -> Value {
        let failed = records.iter().filter(|record| failed.contains(&text(record, "/dynamodb/Keys/id/S").as_str()));
        let failed = failed.map(|record| json!({ "itemIdentifier": record["dynamodb"]["SequenceNumber"] }));
        json!({ "batchItemFailures": failed.collect::<Vec<_>>() })
    }

    #[tokio::test]
    async fn selected_records_arrive_in_order_with_their_stream() {
        let process: Process = |_, records| {
            for record in records {
                assert_eq!(text(record, "/eventSource"), "aws:dynamodb");
                assert_eq!(text(record, "/awsRegion"), "us-east-1");
                let arn = text(record, "/eventSourceARN");
                assert!(arn.starts_with("arn:aws:dynamodb:us-east-1:000000000000:table/NotesTable/stream/"), "{arn}");
                assert_eq!(record["dynamodb"]["NewImage"]["id"], record["dynamodb"]["Keys"]["id"]);
                assert_eq!(text(record, "/dynamodb/StreamViewType"), "NEW_IMAGE");
            }
            Ok(failed(records, &[]))
        };
        let mut table = Table::start(delivery(2, 0), Some(&["INSERT", "MODIFY"]), process).await;
        let delete = json!({ "TableName": TABLE, "Key": { "id": { "S": "before" } } });
        table.database.delete_item(serde_json::from_value(delete).expect("a request")).expect("deleted");
        table.put(&["a", "b", "c", "d", "e"]);
        let mut arrived = Vec::new();
        while arrived.len() < 5 {
            let invocation = table.invocation().await;
            assert!((1..=2).contains(&invocation.len()), "{invocation:?}");
            arrived.extend(invocation);
        }
        assert_eq!(arrived, ["a", "b", "c", "d", "e"], "neither earlier records nor other events");
    }

    #[tokio::test]
    async fn unannounced_writes_arrive_as_well() {
        let mut table = Table::start(delivery(10, 0), None, |_, records| Ok(failed(records, &[]))).await;
        put(&table.database, "a");
        assert_eq!(table.invocation().await, ["a"]);
    }

    #[tokio::test]
    async fn only_what_has_failed_is_sent_again_in_order() {
        let process: Process =
            |invocation, records| Ok(failed(records, if invocation == 0 { &["d", "c"] } else { &[] }));
        let mut table = Table::start(delivery(5, 3), None, process).await;
        table.put(&["a", "b", "c", "d", "e", "last"]);
        let invocations = table.until("last").await;
        assert_eq!(invocations.first().expect("one"), &["a", "b", "c", "d", "e"]);
        assert_eq!(invocations[1..].concat(), ["c", "d", "e", "last"]);
    }

    #[tokio::test]
    async fn a_failing_record_is_isolated_and_given_up() {
        let fails: Process = |_, records| {
            if ids(records).contains(&"c".to_owned()) { Err(json!({ "errorType": "Poison" })) } else { Ok(Value::Null) }
        };
        let reports: Process = |_, records| Ok(failed(records, &["c"]));
        for (process, sent_without_it) in [(fails, &["a", "b", "d"][..]), (reports, &["b", "d"])] {
            let mut table = Table::start(delivery(4, 4), None, process).await;
            table.put(&["a", "c", "b", "d", "last"]);
            let invocations = table.until("last").await;
            let (with, without): (Vec<_>, Vec<_>) = invocations.iter().partition(|ids| ids.contains(&"c".to_owned()));
            assert_eq!(with.len(), 5, "the first attempt and four more: {invocations:?}");
            assert_eq!(with.last().expect("five"), &&["c"], "{invocations:?}");
            for id in sent_without_it {
                assert!(without.iter().any(|ids| ids.contains(&(*id).to_owned())), "{id}: {invocations:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_table_whose_changes_are_not_processed_is_named_until_they_are() {
        let process: Process = |invocation, records| {
            if invocation < 4 { Err(json!({ "errorType": "Poison" })) } else { Ok(failed(records, &[])) }
        };
        let mut table = Table::start(delivery(1, 10), None, process).await;
        table.put(&["a"]);
        for _ in 0..2 {
            table.invocation().await;
        }
        let failures = table.pending.failures();
        let expected = "live-notify does not process the changes of NotesTable: the function failed:";
        assert!(failures.len() == 1 && failures[0].starts_with(expected), "{failures:?}");
        table.put(&["b"]);
        table.until("b").await;
        assert_eq!(table.pending.failures(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_understood_is_a_failure() {
        let process: Process = |invocation, records| match invocation {
            0 => Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "unknown" }] })),
            1 => Ok(json!({ "batchItemFailures": "all" })),
            _ => Ok(failed(records, &[])),
        };
        let mut table = Table::start(delivery(1, 3), None, process).await;
        table.put(&["a"]);
        for _ in 0..3 {
            assert_eq!(table.invocation().await, ["a"]);
        }
    }
}
