//! Writes over a network that loses requests and responses, and delivers requests late: each call takes effect at most
//! once, and exactly once if it succeeds.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_sdk_dynamodb::config::{
    RuntimeComponents, SharedHttpClient,
    retry::{RetryConfig, RetryPartition, TokenBucket},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use store::{
    CreateOutcome, Database, Error, Id, NewItem, Precondition, Profiles, Table, UpsertOutcome, WriteSession, Writer,
};
use support::{Fixture, Note, change, details, note, notes};
use tokio::sync::{mpsc, oneshot};

/// An attempt in flight, and the channel for its response.
struct Attempt {
    request: HttpRequest,
    connector: SharedHttpConnector,
    response: oneshot::Sender<Result<HttpResponse, ConnectorError>>,
}

/// Gives each attempt to the test.
#[derive(Clone, Debug)]
struct Network {
    attempts: mpsc::UnboundedSender<Attempt>,
    inner: SharedHttpClient,
    connector: Option<SharedHttpConnector>,
}

impl HttpClient for Network {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = Some(self.inner.http_connector(settings, components));
        SharedHttpConnector::new(Self { connector, ..self.clone() })
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (response, answer) = oneshot::channel();
        let connector = self.connector.clone().expect("made by http_connector");
        self.attempts.send(Attempt { request, connector, response }).expect("the test waits for attempts");
        HttpConnectorFuture::new(async { answer.await.unwrap_or_else(|_| Err(lost())) })
    }
}

fn lost() -> ConnectorError {
    ConnectorError::io("on purpose".into())
}

impl Attempt {
    /// The request and its response arrive.
    async fn answer(self) {
        let answer = self.connector.call(self.request).await;
        self.response.send(answer).expect("the client waits for it");
    }

    /// The request arrives; its response is lost.
    async fn lose_response(self) {
        let Self { request, connector, response } = self;
        connector.call(request).await.expect("the engine answers");
        response.send(Err(lost())).expect("the client waits for it");
    }

    /// The client gives up the request, which arrives later.
    fn delay(self) -> impl Future<Output = ()> {
        self.response.send(Err(lost())).expect("the client waits for it");
        let answer = self.connector.call(self.request);
        async { drop(answer.await.expect("the engine answers")) }
    }
}

/// A device: a client of its own, on a network that the test controls.
struct Device {
    notes: Table<Note>,
    profiles: Profiles,
    attempts: mpsc::UnboundedReceiver<Attempt>,
}

impl Device {
    fn new(fixture: &Fixture) -> Self {
        static HTTP: LazyLock<SharedHttpClient> = LazyLock::new(|| aws::http_client(None));
        let (sender, attempts) = mpsc::unbounded_channel();
        let network = Network { attempts: sender, inner: HTTP.clone(), connector: None };
        let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_nanos(1));
        let bucket = RetryPartition::custom("one device").token_bucket(TokenBucket::unlimited()).build();
        let config = fixture.config().http_client(network).retry_config(retries).retry_partition(bucket);
        let database = Database::from(config);
        let profiles = Profiles::new(&database, "UsersTable".to_owned());
        Self { notes: notes(&database), profiles, attempts }
    }

    async fn attempt(&mut self) -> Attempt {
        self.attempts.recv().await.expect("the client sends an attempt")
    }
}

/// A call of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create,
    Rename,
    RenameIf(u64),
    Delete,
    DeleteIf(u64),
}

const CALLS: [Call; 5] = [Call::Create, Call::Rename, Call::RenameIf(1), Call::Delete, Call::DeleteIf(1)];

/// The result of a call: a title and a version, a deletion, or an error.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Item(String, u64),
    Deleted,
    NotFound,
    Changed(u64),
    Taken,
    Unavailable,
}

impl Call {
    async fn make(self, notes: Writer<'_, Note>, id: Id, name: &str) -> Answer {
        let precondition = match self {
            Self::RenameIf(version) | Self::DeleteIf(version) => Precondition::VersionIn(vec![version]),
            _ => Precondition::Exists,
        };
        let answered = match self {
            Self::Create => match notes.create(NewItem { id: Some(id), value: note(name) }).await {
                Ok(CreateOutcome::Created(note) | CreateOutcome::Replayed(note)) => Ok(Some(note)),
                Err(error) => Err(error),
            },
            Self::Rename | Self::RenameIf(_) => notes.update(id, change(name), &precondition).await.map(Some),
            Self::Delete | Self::DeleteIf(_) => notes.delete(id, &precondition).await.map(|()| None),
        };
        match answered {
            Ok(Some(note)) => Answer::Item(note.value.text, note.version),
            Ok(None) => Answer::Deleted,
            Err(Error::NotFound) => Answer::NotFound,
            Err(Error::VersionMismatch { current }) => Answer::Changed(current),
            Err(Error::IdConflict) => Answer::Taken,
            Err(Error::Unavailable(_)) => Answer::Unavailable,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The faults of a device's attempts, in the order in which they arrive.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// An attempt is answered.
    Answered,
    /// An attempt is lost, the next one is answered.
    AnsweredAfterLoss,
    /// An attempt's response is lost.
    ResponseLost,
    /// An attempt is delayed, the next one is answered.
    AnsweredAfterDelay,
    /// The delayed attempt arrives.
    Late,
}

const FATES: [&[Arrival]; 6] = [
    &[Arrival::Answered],
    &[Arrival::AnsweredAfterLoss],
    &[Arrival::ResponseLost, Arrival::Answered],
    &[Arrival::ResponseLost, Arrival::ResponseLost, Arrival::Answered],
    &[Arrival::AnsweredAfterDelay, Arrival::Late],
    &[Arrival::ResponseLost, Arrival::ResponseLost, Arrival::ResponseLost],
];

/// All orders in which two sequences can be merged: true where the first is next.
fn merges(first: usize, second: usize) -> Vec<Vec<bool>> {
    let merge = |is_first, rest: Vec<Vec<bool>>| {
        rest.into_iter().map(move |mut merged: Vec<bool>| {
            merged.insert(0, is_first);
            merged
        })
    };
    match (first, second) {
        (0, 0) => vec![Vec::new()],
        (_, 0) => vec![vec![true; first]],
        (0, _) => vec![vec![false; second]],
        _ => merge(true, merges(first - 1, second)).chain(merge(false, merges(first, second - 1))).collect(),
    }
}

/// The sequential model: one note, and the effects of two calls.
#[derive(Clone, Debug, Default)]
struct Model {
    title: Option<String>,
    version: u64,
    life: u64,
    /// The version and the life that each call produced, if it took effect.
    effects: [Option<(u64, u64)>; 2],
}

impl Model {
    /// The result of a call, one of whose attempts arrives.
    fn arrives(&mut self, device: usize, call: Call, name: &str) -> Answer {
        let effect = &mut self.effects[device];
        if effect.is_none() {
            match (&self.title, call) {
                (Some(_), Call::Create) => return Answer::Taken,
                (None, Call::Create) => {}
                (None, _) => return Answer::NotFound,
                (Some(_), Call::RenameIf(at) | Call::DeleteIf(at)) if at != self.version => {
                    return Answer::Changed(self.version);
                }
                (Some(_), _) => {}
            }
            self.version += 1;
            self.life += u64::from(call == Call::Create);
            self.title = (!matches!(call, Call::Delete | Call::DeleteIf(_))).then(|| name.to_owned());
            *effect = Some((self.version, self.life));
        }
        let (version, life) = effect.expect("it took effect");
        match call {
            Call::Create => Answer::Item(name.to_owned(), version),
            Call::Rename | Call::RenameIf(_) if self.title.is_some() && self.life == life => {
                Answer::Item(name.to_owned(), version)
            }
            Call::Rename | Call::RenameIf(_) => Answer::NotFound,
            Call::Delete | Call::DeleteIf(_) => Answer::Deleted,
        }
    }
}

/// The state before: nothing, a note, or a deleted one.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Item,
    Tombstone,
}

#[derive(Clone, Debug)]
struct Case {
    before: Before,
    calls: [Call; 2],
    fates: [&'static [Arrival]; 2],
    order: Vec<bool>,
}

/// Three arrivals of both devices would be ten times as many cases without new behavior: once a call has taken effect,
/// its later attempts are alike.
const MAX_ARRIVALS: usize = 4;

fn cases() -> Vec<Case> {
    let mut sides = Vec::new();
    for call in CALLS {
        sides.extend(FATES.map(|fate| (call, fate)));
    }
    let mut cases = Vec::new();
    for before in [Before::Nothing, Before::Item, Before::Tombstone] {
        for (number, &(one, fate)) in sides.iter().enumerate() {
            // The two devices are alike, so each pair is tried once.
            let others = sides.iter().skip(number).filter(|(_, other)| fate.len() + other.len() <= MAX_ARRIVALS);
            // A request that is lost is never seen by the engine.
            let lost = |fate: &[Arrival]| matches!(fate, [Arrival::AnsweredAfterLoss]);
            let others = others.filter(|(_, other)| !(lost(fate) && other.len() > 1 || lost(other) && fate.len() > 1));
            for &(other, others_fate) in others {
                let (calls, fates) = ([one, other], [fate, others_fate]);
                let orders = merges(fate.len(), others_fate.len()).into_iter();
                cases.extend(orders.map(|order| Case { before, calls, fates, order }));
            }
        }
    }
    cases
}

const NAMES: [&str; 2] = ["a", "b"];

/// Runs a case. Returns the two results and the final note, and those that the model expects.
async fn play(fixture: &Fixture, case: &Case, session: &WriteSession) -> [([Answer; 2], Option<(String, u64)>); 2] {
    let plain = notes(&fixture.database);
    let (id, mut model) = (Id::new(), Model::default());
    if !matches!(case.before, Before::Nothing) {
        let new = NewItem { id: Some(id), value: note("old") };
        plain.writer(session).create(new).await.expect("created");
        model = Model { title: Some("old".to_owned()), version: 1, life: 1, ..model };
    }
    if matches!(case.before, Before::Tombstone) {
        plain.writer(session).delete(id, &Precondition::Exists).await.expect("deleted");
        model = Model { title: None, version: 2, ..model };
    }

    let mut devices = [Device::new(fixture), Device::new(fixture)];
    let [first, second] = [0, 1].map(|device: usize| devices[device].notes.clone());
    let [one, other] = case.calls;
    let [a, b] = NAMES;
    let calls =
        async { tokio::join!(one.make(first.writer(session), id, a), other.make(second.writer(session), id, b)) };
    let network = async {
        let mut expected = [Answer::Unavailable, Answer::Unavailable];
        let mut left = case.fates.map(|fate| fate.iter());
        let mut late = [None, None];
        for first in &case.order {
            let device = usize::from(!first);
            let from = &mut devices[device];
            let arrival = left[device].next().expect("as many as the fate has");
            match arrival {
                Arrival::Answered => from.attempt().await.answer().await,
                Arrival::AnsweredAfterLoss => {
                    from.attempt().await.response.send(Err(lost())).expect("the client waits for it");
                    from.attempt().await.answer().await;
                }
                Arrival::ResponseLost => from.attempt().await.lose_response().await,
                Arrival::AnsweredAfterDelay => {
                    let attempt = from.attempt().await;
                    late[device] = Some(Box::pin(attempt.delay()));
                    from.attempt().await.answer().await;
                }
                Arrival::Late => late[device].take().expect("it was delayed").await,
            }
            let answer = model.arrives(device, case.calls[device], NAMES[device]);
            if matches!(arrival, Arrival::Answered | Arrival::AnsweredAfterLoss | Arrival::AnsweredAfterDelay) {
                expected[device] = answer;
            }
        }
        expected
    };
    let ((one, other), expected) = tokio::join!(calls, network);

    let session = fixture.accounts().read_session(session.identity().clone());
    let there = plain.reader(&session).get(id).await.ok().map(|note| (note.value.text, note.version));
    [([one, other], there), (expected, model.title.map(|title| (title, model.version)))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_effect_at_most_once_and_exactly_once_if_it_succeeds() {
    const WORKERS: usize = 8;
    let (fixture, cases) = (Arc::new(Fixture::new().await), Arc::new(cases()));
    let workers = (0..WORKERS).map(|worker| {
        let (fixture, cases) = (Arc::clone(&fixture), Arc::clone(&cases));
        tokio::spawn(async move {
            let session = fixture.write_session(&format!("user_{worker}")).await;
            let mut wrong = Vec::new();
            for case in cases.iter().skip(worker).step_by(WORKERS) {
                let [actual, expected] = Box::pin(play(&fixture, case, &session)).await;
                if actual != expected {
                    wrong.push(format!("{case:?}\n  is {actual:?}\n  and should be {expected:?}"));
                }
            }
            wrong
        })
    });
    let mut wrong = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        wrong.extend(worker.await.expect("no case fails on the way"));
    }
    let some = wrong.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} cases are wrong:\n{some}", wrong.len(), cases.len());
}

/// How many writes may come between two attempts of one call that still takes effect once.
const MAX_OTHER_WRITES: usize = 3;

#[tokio::test]
async fn a_retry_after_three_other_writes_changes_nothing() {
    let fixture = Fixture::new().await;
    let session = fixture.write_session("user_ada").await;
    let plain = notes(&fixture.database);
    for others in [MAX_OTHER_WRITES, MAX_OTHER_WRITES + 1] {
        let id = Id::new();
        plain.writer(&session).create(NewItem { id: Some(id), value: note("old") }).await.expect("created");
        let mut device = Device::new(&fixture);
        let notes = device.notes.clone();
        let network = async {
            device.attempt().await.lose_response().await;
            for _ in 0..others {
                plain.writer(&session).update(id, change("other"), &Precondition::Exists).await.expect("renamed");
            }
            device.attempt().await.answer().await;
        };
        let (answer, ()) = tokio::join!(Call::Rename.make(notes.writer(&session), id, "mine"), network);
        let session = fixture.accounts().read_session(session.identity().clone());
        let there = plain.reader(&session).get(id).await.expect("there");
        let twice = others > MAX_OTHER_WRITES;
        // The documented limit: the fourth other write pushes out the call's id, so it takes effect again.
        assert_eq!(there.value.text, if twice { "mine" } else { "other" }, "{others}");
        assert_eq!(answer, Answer::Item("mine".to_owned(), if twice { there.version } else { 2 }), "{others}");
    }
}

#[tokio::test]
async fn a_retried_profile_update_takes_effect_once() {
    let fixture = Fixture::new().await;
    let session = fixture.write_session("user_ada").await;
    let plain = Profiles::new(&fixture.database, "UsersTable".to_owned());
    let details = |name: &str| details(&serde_json::json!({ "firstName": name }));
    for number in 0..2 {
        let mut device = Device::new(&fixture);
        let profiles = device.profiles.clone();
        let network = async {
            device.attempt().await.lose_response().await;
            plain.update(&session, &details("Theirs")).await.expect("written");
            device.attempt().await.answer().await;
        };
        let (details, session) = (details("Mine"), &session);
        let (put, ()) = tokio::join!(async { profiles.update(session, &details).await.expect("written") }, network);
        // The first call created the profile, although its response arrives after the other call.
        assert_eq!(matches!(put, UpsertOutcome::Created(_)), number == 0);
        let profile = fixture.profile("user_ada").await.expect("there");
        assert_eq!(serde_json::to_value(profile).expect("JSON")["firstName"], "Theirs");
    }
}
