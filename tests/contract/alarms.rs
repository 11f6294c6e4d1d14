//! The templates' alarms, evaluated as `CloudWatch` does against series whose datapoints are late or missing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;
use yaml_serde::Value;

/// Datapoints by period.
type Series = BTreeMap<i64, f64>;

/// A datapoint's period, its value, and how many periods after its own it can be read.
type Datapoint = (i64, f64, i64);

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the template's names")]
struct Alarm {
    #[serde(default)]
    metrics: Vec<Metric>,
    alarm_name: Option<Value>,
    comparison_operator: String,
    threshold: f64,
    evaluation_periods: i64,
    datapoints_to_alarm: Option<usize>,
    treat_missing_data: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    id: String,
    expression: Option<String>,
    #[serde(rename = "MetricStat")]
    stat: Option<Value>,
}

/// The alarms of all templates, by logical id.
fn alarms() -> BTreeMap<String, Alarm> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra");
    let files = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path());
    let mut alarms = BTreeMap::new();
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let template: Value = yaml_serde::from_str(&fs::read_to_string(path).expect("it is text")).expect("it is YAML");
        for (id, resource) in template["Resources"].as_mapping().expect("resources") {
            if resource["Type"] == "AWS::CloudWatch::Alarm" {
                let id = id.as_str().expect("an id").to_owned();
                let alarm = yaml_serde::from_value(resource["Properties"].clone()).expect(&id);
                assert!(alarms.insert(id, alarm).is_none(), "logical ids are unique");
            }
        }
    }
    alarms
}

fn alarm(id: &str) -> Alarm {
    alarms().remove(id).unwrap_or_else(|| panic!("there is no alarm {id}"))
}

impl Alarm {
    /// The periods from 0 to `end` at whose end it is in the state ALARM, for datapoints of metrics by their id.
    fn fires(&self, metrics: &[(&str, Vec<Datapoint>)], end: i64) -> BTreeSet<i64> {
        (0..=end).filter(|now| self.is_on(metrics, *now)).collect()
    }

    fn is_on(&self, metrics: &[(&str, Vec<Datapoint>)], now: i64) -> bool {
        // CloudWatch reads more periods than it evaluates, for those that miss. Its documentation has 5 for 3.
        let range = now - self.evaluation_periods - 1..=now;
        let read = |points: &[Datapoint]| -> Series {
            let arrived = points.iter().filter(|(period, _, late)| range.contains(period) && period + late <= now);
            arrived.map(|(period, value, _)| (*period, *value)).collect()
        };
        let series: BTreeMap<&str, Series> = metrics.iter().map(|(id, points)| (*id, read(points))).collect();
        let values = match self.metrics.iter().find_map(|metric| metric.expression.as_ref()) {
            Some(expression) => Expression { text: expression, series: &series, range: range.clone() }.value(),
            None => series.values().next().cloned().unwrap_or_default(),
        };
        let breaches = |value: &f64| match self.comparison_operator.as_str() {
            "GreaterThanThreshold" => *value > self.threshold,
            "LessThanThreshold" => *value < self.threshold,
            other => panic!("{other} is not supported"),
        };
        let periods = usize::try_from(self.evaluation_periods).expect("positive");
        let evaluated: Vec<_> = values.values().rev().take(periods).map(breaches).collect();
        let missing = if self.treat_missing_data == "breaching" { periods - evaluated.len() } else { 0 };
        let breaching = evaluated.iter().filter(|breaches| **breaches).count() + missing;
        breaching >= self.datapoints_to_alarm.unwrap_or(periods)
    }
}

/// The metric math of `CloudWatch`, as far as the alarms use it.
struct Expression<'a> {
    text: &'a str,
    series: &'a BTreeMap<&'a str, Series>,
    range: std::ops::RangeInclusive<i64>,
}

#[derive(Clone, Debug)]
enum Operand {
    Scalar(f64),
    Series(Series),
    All(Vec<Series>),
}

impl Expression<'_> {
    fn value(&mut self) -> Series {
        let Operand::Series(series) = self.comparison() else { panic!("the expression is not a series") };
        assert!(self.text.is_empty(), "{} is not read", self.text);
        series
    }

    fn comparison(&mut self) -> Operand {
        let left = self.sum();
        for (operator, compare) in
            [(">=", (|one, other| one >= other) as fn(f64, f64) -> bool), (">", |one, other| one > other)]
        {
            if self.take(operator) {
                return combined(left, self.sum(), |one, other| f64::from(compare(one, other)));
            }
        }
        left
    }

    fn sum(&mut self) -> Operand {
        let mut left = self.operand();
        loop {
            if self.take("+") {
                left = combined(left, self.operand(), |one, other| one + other);
            } else if self.take("/") {
                left = combined(left, self.operand(), |one, other| one / other);
            } else if self.take("-") {
                left = combined(left, self.operand(), |one, other| one - other);
            } else {
                return left;
            }
        }
    }

    fn operand(&mut self) -> Operand {
        let text = self.text.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        assert!(!name.is_empty(), "{} is not supported", self.text);
        self.text = rest;
        if let Ok(number) = name.parse() {
            return Operand::Scalar(number);
        }
        if !self.take("(") {
            return Operand::Series(self.series.get(name).cloned().unwrap_or_default());
        }
        let mut arguments = Vec::new();
        while !self.take(")") {
            arguments.push(self.comparison());
            self.take(",");
        }
        match (name, arguments.as_slice()) {
            ("METRICS", []) => Operand::All(self.series.values().cloned().collect()),
            ("SUM", [Operand::All(all)]) => merged(all, |one, other| one + other),
            ("MAX", [Operand::All(all)]) => merged(all, f64::max),
            ("FILL", [Operand::Series(series), Operand::Scalar(value)]) => {
                let filled = self.range.clone().map(|period| (period, series.get(&period).copied().unwrap_or(*value)));
                Operand::Series(filled.collect())
            }
            ("IF", [Operand::Series(condition), yes, no]) => {
                let value = |period: &i64, holds: f64| match if holds == 0.0 { no } else { yes } {
                    Operand::Scalar(value) => Some(*value),
                    Operand::Series(series) => series.get(period).copied(),
                    Operand::All(_) => None,
                };
                let values = condition.iter().filter_map(|(at, holds)| Some((*at, value(at, *holds)?)));
                Operand::Series(values.collect())
            }
            _ => panic!("{name} is not supported with {arguments:?}"),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.text.trim_start().strip_prefix(token);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }
}

/// Between series, only the periods that both have.
fn combined(left: Operand, right: Operand, combine: impl Fn(f64, f64) -> f64) -> Operand {
    let series: Series = match (left, right) {
        (Operand::Series(left), Operand::Scalar(right)) => {
            left.into_iter().map(|(at, value)| (at, combine(value, right))).collect()
        }
        (Operand::Series(left), Operand::Series(right)) => {
            left.into_iter().filter_map(|(at, value)| Some((at, combine(value, *right.get(&at)?)))).collect()
        }
        operands => panic!("{operands:?} cannot be combined"),
    };
    Operand::Series(series)
}

/// A period has a value if any of the series has one.
fn merged(all: &[Series], merge: impl Fn(f64, f64) -> f64) -> Operand {
    let mut result = Series::new();
    for (at, value) in all.iter().flatten() {
        result.entry(*at).and_modify(|present| *present = merge(*present, *value)).or_insert(*value);
    }
    Operand::Series(result)
}

/// One in each period of `periods`, which arrives between one and three periods later.
fn one_in_each(periods: impl IntoIterator<Item = i64>) -> Vec<Datapoint> {
    periods.into_iter().map(|period| (period, 1.0, 1 + period % 3)).collect()
}

#[test]
fn version_that_fails_one_request_a_minute_is_rolled_back_within_ten_minutes() {
    let version = alarm("VersionFailing");
    for metric in ["errors", "failures"] {
        // In every minute, and in every third.
        for step in [1, 3] {
            let failing = one_in_each((0..30).step_by(step));
            let healthy = (0..30).map(|minute| (minute, 0.0, 1)).collect();
            let other = if metric == "errors" { "failures" } else { "errors" };
            for others in [vec![], healthy] {
                let fires = version.fires(&[(metric, failing.clone()), (other, others)], 30);
                assert!(fires.first().is_some_and(|first| *first < 10), "{metric} {step}: {fires:?}");
            }
        }
        assert!(version.fires(&[(metric, one_in_each([3]))], 30).is_empty(), "one failure is not enough");
    }
    assert!(version.fires(&[], 30).is_empty(), "a version without requests");
}

#[test]
fn rollbacks_watch_only_the_new_version_with_a_new_alarm() {
    let version = alarm("VersionFailing");
    let name = format!("{:?}", version.alarm_name.expect("it has a name"));
    assert!(name.contains("${Version}"), "another version's alarm may be on: {name}");
    let metrics: Vec<_> = version.metrics.iter().filter_map(|metric| metric.stat.as_ref()).collect();
    assert_eq!(metrics.len(), 2);
    for metric in metrics {
        let dimensions = metric["Metric"]["Dimensions"].as_sequence().expect("dimensions").iter();
        let names: Vec<_> = dimensions.map(|dimension| dimension["Name"].as_str().expect("a name")).collect();
        assert!(names.contains(&"ExecutedVersion") || names.contains(&"version"), "{names:?}");
    }
}

#[test]
fn filled_zeros_hide_failures_that_arrive_late() {
    // What the alarms must not do. It also shows that the evaluation distinguishes the two.
    let mut filled = alarm("VersionFailing");
    for metric in &mut filled.metrics {
        metric.expression = metric.expression.as_ref().map(|_| "FILL(errors, 0) + FILL(failures, 0)".to_owned());
    }
    (filled.evaluation_periods, filled.datapoints_to_alarm) = (2, Some(2));
    assert!(filled.fires(&[("errors", one_in_each(0..30))], 29).is_empty());
}

#[test]
fn requests_with_unknown_keys_are_not_failures_even_if_their_count_is_late() {
    let api = alarm("ApiServerErrors");
    let errors: Vec<_> = (0..30).map(|minute| (minute, 50.0, 1)).collect();
    let undecided = (0..30).map(|minute| (minute, 50.0, 3)).collect();
    assert!(api.fires(&[("errors", errors.clone()), ("undecided", undecided)], 30).is_empty());
    for undecided in [vec![], (0..30).map(|minute| (minute, 30.0, 3)).collect()] {
        assert!(!api.fires(&[("errors", errors.clone()), ("undecided", undecided)], 30).is_empty());
    }
}

#[test]
fn wrong_signing_secret_is_found_in_a_small_product() {
    let wrong = alarm("ClerkWebhookNoneAccepted");
    let hour = |count: f64| vec![(5, count, 0)];
    let fires = |bad, rejected, requests| {
        !wrong.fires(&[("bad", hour(bad)), ("rejected", hour(rejected)), ("requests", hour(requests))], 5).is_empty()
    };
    assert!(fires(1.0, 1.0, 1.0), "one webhook in an hour");
    assert!(fires(1.0, 3.0, 3.0), "beside other requests");
    assert!(!fires(9.0, 9.0, 10.0), "one is accepted");
    assert!(!fires(0.0, 9.0, 9.0), "no webhook, but requests to the URL");
    assert!(wrong.fires(&[], 5).is_empty());
}

#[test]
fn erasure_is_overdue_after_48_hours() {
    let overdue = alarm("ErasureOverdue");
    let daily: Vec<_> = (0..10).map(|day| (day * 24, 1.0, 0)).collect();
    assert!(overdue.fires(&[("successes", daily.clone())], 9 * 24 + 47).is_empty());
    // A run that fails counts no success.
    let failing = daily.into_iter().chain((10..14).map(|day| (day * 24, 0.0, 0))).collect();
    let fires = overdue.fires(&[("successes", failing)], 14 * 24);
    assert!(fires.first().is_some_and(|first| (47..=51).contains(&(first - 9 * 24))), "{fires:?}");
    assert!(!overdue.fires(&[], 0).is_empty(), "it has never run");
}

#[test]
fn single_slow_requests_are_not_an_alarm() {
    for id in ["ApiSlow", "ClerkWebhookSlow", "Slow"] {
        let slow = alarm(id);
        let duration: Vec<_> = (0..9).map(|period| (period, 2000.0, 0)).collect();
        let requests = |count: f64| (0..9).map(|period| (period, count, 0)).collect::<Vec<_>>();
        assert!(slow.fires(&[("duration", duration.clone()), ("requests", requests(5.0))], 9).is_empty(), "{id}");
        assert!(!slow.fires(&[("duration", duration), ("requests", requests(20.0))], 9).is_empty(), "{id}");
    }
}

#[test]
fn every_alarm_is_quiet_without_requests_and_fires() {
    for (id, alarm) in alarms() {
        let metrics = alarm.metrics.iter().filter(|metric| metric.expression.is_none());
        let ids: Vec<_> = metrics.map(|metric| metric.id.as_str()).collect();
        let ids = if ids.is_empty() { vec!["metric"] } else { ids };
        let all = |value: f64| {
            let points = (0..60).map(|period| (period, value, 0)).collect::<Vec<_>>();
            ids.iter().map(|id| (*id, points.clone())).collect::<Vec<_>>()
        };
        let (quiet, fires) = match alarm.comparison_operator.as_str() {
            "LessThanThreshold" => (all(alarm.threshold), all(alarm.threshold - 1.0)),
            _ => (vec![], all(alarm.threshold.mul_add(2.0, 1000.0))),
        };
        assert!(alarm.fires(&quiet, 59).iter().all(|period| *period < 48), "{id}");
        // The count of what is subtracted is zero.
        let fires: Vec<_> = fires.into_iter().filter(|(metric, _)| *metric != "undecided").collect();
        assert!(alarm.is_on(&fires, 59), "{id}: {fires:?}");
    }
}
