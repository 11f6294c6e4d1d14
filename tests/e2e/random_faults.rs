//! Random requests while DynamoDB has random faults and functions are killed: every response is right, and a write takes
//! effect at most once, and exactly once if it succeeds.

use futures_util::future::join_all;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use torture::{Campaign, Case};

use crate::{
    faults::{Fault, Plan, Stack},
    sample::{Sample, contains, items, new_id},
};

/// The requests of a case, and the items that they are for.
const REQUESTS: usize = 50;
const ITEMS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Call {
    /// The sample's creation, or its other one.
    Create {
        other: bool,
    },
    Update(IfMatch),
    Delete(IfMatch),
    Get,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum IfMatch {
    Absent,
    /// The version of a possible state, which [`Call::with_version`] replaces by its number.
    Current,
    Version(u64),
}

impl Call {
    fn with_version(self, version: u64) -> Self {
        match self {
            Self::Update(IfMatch::Current) => Self::Update(IfMatch::Version(version)),
            Self::Delete(IfMatch::Current) => Self::Delete(IfMatch::Version(version)),
            call => call,
        }
    }
}

/// A request for an item, and the fault that it meets.
#[derive(Clone, Debug)]
struct Step {
    item: usize,
    call: Call,
    plan: Plan,
}

fn step() -> impl Strategy<Value = Step> {
    let if_match = || select(vec![IfMatch::Absent, IfMatch::Current, IfMatch::Version(1_000_000)]);
    let call = prop_oneof![
        3 => any::<bool>().prop_map(|other| Call::Create { other }),
        3 => if_match().prop_map(Call::Update),
        2 => if_match().prop_map(Call::Delete),
        1 => Just(Call::Get),
        1 => Just(Call::List),
    ];
    let transient = [Fault::Throttled, Fault::Failed, Fault::Reset, Fault::ResponseLost, Fault::Invalid];
    let killed = [Fault::KilledBefore, Fault::KilledAfter];
    let operation = || select(vec!["", "UpdateItem"]);
    let plan = prop_oneof![
        940 => Just(None),
        50 => (select(transient.to_vec()), operation(), 1..=4_usize).prop_map(Some),
        9 => (select(killed.to_vec()), operation(), Just(1)).prop_map(Some),
        1 => (select(vec![Fault::Slow, Fault::Unanswered]), operation(), Just(1)).prop_map(Some),
    ];
    (0..ITEMS, call, plan).prop_map(|(item, call, plan)| Step { item, call, plan })
}

/// A possible state of an item. A deleted item's version continues when it is created again.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    version: u64,
    members: Option<Value>,
    created_as: Option<bool>,
}

impl State {
    /// The status of a call, and the state after it.
    fn after(&self, call: Call, sample: &Sample) -> (u64, Self) {
        let next = |members| Self { version: self.version + 1, members, created_as: self.created_as };
        match (call, &self.members) {
            (Call::Create { other }, None) => {
                let body = if other { &sample.other } else { &sample.create };
                (201, Self { created_as: Some(other), ..next(Some(body.clone())) })
            }
            (Call::Create { other }, Some(_)) => (if self.created_as == Some(other) { 200 } else { 409 }, self.clone()),
            (_, None) => (404, self.clone()),
            (Call::Update(IfMatch::Version(version)) | Call::Delete(IfMatch::Version(version)), _)
                if version != self.version =>
            {
                (412, self.clone())
            }
            (Call::Update(_), Some(members)) => {
                let mut members = members.clone();
                for (name, value) in sample.update.as_object().expect("a body is an object") {
                    members[name] = value.clone();
                }
                (200, next(Some(members)))
            }
            (Call::Delete(_), _) => (204, next(None)),
            (Call::Get | Call::List, _) => (200, self.clone()),
        }
    }

    /// Whether a response with this status shows it.
    fn is_in(&self, status: u64, body: &Value) -> bool {
        let is_shown = |members| contains(body, members) && body["version"] == self.version;
        status == 204 || status >= 400 || self.members.as_ref().is_some_and(is_shown)
    }
}

/// The user's items: their ids and the states that they may have.
struct Items {
    ids: Vec<String>,
    states: Vec<Vec<State>>,
}

impl Items {
    /// Takes the outcome of a step into account, which is missing if the function was killed. An error says what is wrong.
    fn observe(&mut self, step: &Step, outcome: Option<&(u64, Value)>, sample: &Sample) -> Result<(), String> {
        let before = self.states.clone();
        match outcome {
            None | Some((503, _)) => {
                let after = before[step.item].iter().map(|state| state.after(step.call, sample).1);
                for state in after.collect::<Vec<_>>() {
                    if !self.states[step.item].contains(&state) {
                        self.states[step.item].push(state);
                    }
                }
            }
            Some((200, page)) if matches!(step.call, Call::List) => {
                let listed = items(page);
                for (id, states) in self.ids.iter().zip(&mut self.states) {
                    let item = listed.iter().find(|item| item["id"] == id.as_str());
                    states.retain(|state| item.map_or(state.members.is_none(), |item| state.is_in(200, item)));
                }
                let exist = self.states.iter().flatten().filter(|state| state.members.is_some()).count();
                if listed.len() > exist {
                    return Err(format!("the list has more items than exist: {page}"));
                }
            }
            Some((status, body)) => {
                let after = before[step.item].iter().map(|state| state.after(step.call, sample));
                let seen = after.filter(|(expected, state)| expected == status && state.is_in(*status, body));
                self.states[step.item] = seen.map(|(_, state)| state).collect();
            }
        }
        if self.states.iter().any(Vec::is_empty) {
            return Err(format!("{outcome:?} is not a response in any of the states {before:?}"));
        }
        Ok(())
    }
}

/// Sends a step's request. Returns None if the function was killed.
async fn send(stack: &mut Stack, step: &Step, items: &Items, sample: &Sample) -> Option<(u64, Value)> {
    let (id, path) = (&items.ids[step.item], sample.item(&items.ids[step.item]));
    let if_match = |if_match| match if_match {
        IfMatch::Absent | IfMatch::Current => String::new(),
        IfMatch::Version(version) => format!("\"{version}\""),
    };
    let (method, path, body, if_match) = match step.call {
        Call::Create { other } => {
            let mut body = if other { sample.other.clone() } else { sample.create.clone() };
            body["id"] = json!(id);
            ("POST", sample.path.clone(), body, String::new())
        }
        Call::Update(precondition) => ("PATCH", path, sample.update.clone(), if_match(precondition)),
        Call::Delete(precondition) => ("DELETE", path, Value::Null, if_match(precondition)),
        Call::Get => ("GET", path, Value::Null, String::new()),
        Call::List => ("GET", sample.path.clone(), Value::Null, String::new()),
    };
    stack.call_unless_killed(method, &path, body, &if_match).await
}

async fn play(stack: &mut Stack, case: Case, sample: &Sample) -> Result<(), String> {
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &case.seed());
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), random);
    let steps = prop::collection::vec(step(), REQUESTS).new_tree(&mut runner).expect("steps").current();
    let mut items = Items { ids: (0..ITEMS).map(|_| new_id()).collect(), states: vec![vec![State::default()]; ITEMS] };
    let finally = Step { item: 0, call: Call::List, plan: None };
    for (number, step) in steps.iter().chain([&finally]).enumerate() {
        stack.sign_in(&format!("user_{}", case.number));
        stack.plan(step.plan);
        let version = items.states[step.item].first().map_or(0, |state| state.version);
        let step = Step { call: step.call.with_version(version), ..step.clone() };
        let outcome = send(stack, &step, &items, sample).await;
        let had_fault = stack.planned() != step.plan;
        stack.plan(None);
        let is_failure = matches!(outcome, None | Some((503, _)));
        let checked = items.observe(&step, outcome.as_ref(), sample);
        let checked =
            checked.and_then(|()| if is_failure && !had_fault { Err(format!("{outcome:?}")) } else { Ok(()) });
        checked.map_err(|wrong| format!("step {number}, {step:?}: {wrong}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_are_right_and_writes_take_effect_once() {
    // The SDK waits before it retries, so most of them wait.
    const LANES: usize = 8;
    let sample = Sample::first();
    if !sample.is_complete() {
        return;
    }
    let campaign = Campaign::new(8);
    let lanes = (0..LANES).map(async |_| {
        let mut stack = Stack::start(&sample).await;
        while let Some(case) = campaign.next() {
            if let Err(wrong) = play(&mut stack, case, &sample).await {
                campaign.fail(case, wrong);
            }
        }
    });
    join_all(lanes).await;
}
