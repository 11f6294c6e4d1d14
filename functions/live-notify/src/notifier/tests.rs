//! Against DynamoDB's engine and a stand-in for API Gateway's connections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex},
    time::SystemTime,
};

use aws_sdk_apigatewaymanagement::config::{self, BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{Method, StatusCode},
    routing::any,
};
use clerk_auth::{Config, Event, Verifier, WebhookVerifier};
use serde_json::{Value, json};
use store::{Accounts, Connections, Database, NewConnection, ReadSession, Streams};
use test_support::{Engine, SigningKey, in_memory};
use tokio::net::TcpListener;

use super::*;

const ISSUER: &str = "https://clerk.example.com";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// When connections were opened that have been open for long.
const LONG_AGO: u64 = 1_700_000_000_000;

/// What API Gateway does to requests for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    Open,
    /// Also: not open yet.
    Closed,
    /// Messages have this response. It can be closed.
    Failing(u16),
    /// Messages have no response. It can be closed.
    Hanging,
    /// Nothing works.
    Unreachable,
}

/// API Gateway's connections, with the messages that each has received.
#[derive(Default)]
struct Sockets {
    states: Mutex<HashMap<String, Socket>>,
    received: Mutex<BTreeMap<String, Vec<Value>>>,
}

async fn connection(
    State(sockets): State<Arc<Sockets>>,
    Path(id): Path<String>,
    method: Method,
    body: Bytes,
) -> StatusCode {
    let state = sockets.state(&id);
    match (method.as_str(), state) {
        (_, Socket::Closed) => StatusCode::GONE,
        (_, Socket::Unreachable) => StatusCode::SERVICE_UNAVAILABLE,
        ("DELETE", _) => {
            sockets.set(&id, Socket::Closed);
            StatusCode::NO_CONTENT
        }
        ("POST", Socket::Open) => {
            let message = serde_json::from_slice(&body).expect("JSON");
            sockets.received.lock().expect("not poisoned").entry(id).or_default().push(message);
            StatusCode::OK
        }
        ("POST", Socket::Failing(status)) => StatusCode::from_u16(status).expect("a status"),
        ("POST", Socket::Hanging) => std::future::pending().await,
        (method, _) => panic!("{method}"),
    }
}

impl Sockets {
    fn state(&self, id: &str) -> Socket {
        self.states.lock().expect("not poisoned").get(id).copied().unwrap_or(Socket::Closed)
    }

    fn set(&self, id: &str, socket: Socket) {
        self.states.lock().expect("not poisoned").insert(id.to_owned(), socket);
    }

    /// Each connection's messages since the last call.
    fn received(&self) -> BTreeMap<String, Vec<Value>> {
        std::mem::take(&mut self.received.lock().expect("not poisoned"))
    }

    fn open(&self) -> BTreeSet<String> {
        let states = self.states.lock().expect("not poisoned");
        states.iter().filter(|(_, state)| **state != Socket::Closed).map(|(id, _)| id.clone()).collect()
    }
}

struct Fixture {
    engine: Engine,
    sockets: Arc<Sockets>,
    accounts: Accounts,
    connections: Connections,
    notifier: Notifier,
}

fn database(url: &str) -> Database {
    Database::from(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url)
            .http_client(aws::http_client(None)),
    )
}

impl Fixture {
    async fn new() -> Self {
        let engine = in_memory().await.expect("the engine starts");
        let sockets = Arc::new(Sockets::default());
        let router = Router::new().route("/v1/@connections/{id}", any(connection)).with_state(Arc::clone(&sockets));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let gateway = config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(url)
            .http_client(aws::http_client(None));
        let database = database(engine.url());
        let connections = Connections::new(&database, "LiveConnectionsTable".to_owned());
        let accounts = Accounts::new(&database, "UsersTable".to_owned(), "SessionsTable".to_owned());
        let notifier = Notifier::new(connections.clone(), Gateway::new(gateway));
        Self { engine, sockets, accounts, connections, notifier }
    }

    async fn session(&self, user_id: &str, session_id: &str) -> ReadSession {
        static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("a key"));
        let var = |name: &str| match name {
            "CLERK_ISSUER" => Some(ISSUER.to_owned()),
            "CLERK_JWT_KEY" => Some(KEY.public_key_pem().expect("it has a public half")),
            _ => None,
        };
        let verifier = Verifier::new(Config::from_env(var).expect("valid settings"));
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let token = KEY.session_token(ISSUER, user_id, session_id, now, &json!({})).expect("signed");
        self.accounts.read_session(verifier.verify(&token, SystemTime::now()).await.expect("valid"))
    }

    /// Stores a connection of the user's session and sets what API Gateway does to it.
    async fn connect(&self, user_id: &str, session_id: &str, id: &str, connected_at: u64, socket: Socket) {
        let session = self.session(user_id, session_id).await;
        let connection = NewConnection { id: id.to_owned(), connected_at };
        self.connections.open(&session, connection).await.expect("stored");
        self.sockets.set(id, socket);
    }

    async fn notify(&self, records: &[Value]) -> BatchOutcome {
        self.notifier.notify(batch(records)).await
    }

    /// The ids of the user's stored connections.
    async fn rows(&self, user_id: &str) -> BTreeSet<String> {
        let batch = batch(&[note(user_id, "n1", 1)]);
        let connections = self.connections.of(batch.users.first().expect("a user")).await.expect("read");
        connections.iter().map(|connection| connection.id().to_owned()).collect()
    }
}

fn batch(records: &[Value]) -> Batch {
    let streams = Streams::new("UsersTable".to_owned(), "SessionsTable".to_owned());
    let mut event = json!({ "Records": records });
    for (number, record) in event["Records"].as_array_mut().expect("records").iter_mut().enumerate() {
        record["dynamodb"]["SequenceNumber"] = number.to_string().into();
    }
    let batch = streams.read(event.to_string().as_bytes()).expect("a batch");
    assert!(batch.invalid.is_empty(), "{batch:?}");
    batch
}

fn record(table: &str, keys: Value, image: Value) -> Value {
    let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}/stream/2026-11-26T00:00:00.000");
    json!({ "eventName": "MODIFY", "eventSourceARN": arn, "dynamodb": { "Keys": keys, "NewImage": image } })
}

fn note(user_id: &str, id: &str, version: u64) -> Value {
    let image = json!({
        "resourceType": { "S": "notes" }, "version": { "N": version.to_string() },
        "updatedAt": { "N": "1764000000000" }, "listPosition": { "S": "1#1" },
    });
    record("NotesTable", json!({ "userId": { "S": user_id }, "noteId": { "S": id } }), image)
}

fn session_end(user_id: &str, session_id: &str) -> Value {
    record("SessionsTable", json!({ "userId": { "S": user_id }, "sessionId": { "S": session_id } }), Value::Null)
}

fn ban(user_id: &str) -> Value {
    let image = json!({ "userId": { "S": user_id }, "banned": { "BOOL": true } });
    record("UsersTable", json!({ "userId": { "S": user_id } }), image)
}

fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.map(str::to_owned).into()
}

fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

#[tokio::test]
async fn changes_reach_all_connections_of_the_user_and_no_others() {
    let fixture = Fixture::new().await;
    for id in ["phone=", "laptop="] {
        fixture.connect("user_ada", "sess_1", id, LONG_AGO, Socket::Open).await;
    }
    fixture.connect("user_eve", "sess_2", "eve=", LONG_AGO, Socket::Open).await;
    let outcome =
        fixture.notify(&[note("user_ada", "n1", 1), note("user_ada", "n1", 2), note("user_ada", "n2", 7)]).await;
    assert_eq!((outcome.pokes, outcome.cuts, outcome.retried.len()), (2, 0, 0));
    assert!(outcome.delay.is_some());
    let message = json!({ "changes": [{ "of": "notes", "id": "n1", "version": 2 }, { "of": "notes", "id": "n2", "version": 7 }] });
    let received = fixture.sockets.received();
    assert_eq!(received, BTreeMap::from(["laptop=", "phone="].map(|id| (id.to_owned(), vec![message.clone()]))));
}

#[tokio::test]
async fn changes_that_are_many_or_cannot_be_named_are_one_message() {
    let fixture = Fixture::new().await;
    fixture.connect("user_ada", "sess_1", "a", LONG_AGO, Socket::Open).await;
    let all = BTreeMap::from([("a".to_owned(), vec![json!({ "changes": "all" })])]);
    let mut records: Vec<_> = (0..=MAX_CHANGES).map(|number| note("user_ada", &format!("n{number}"), 1)).collect();
    fixture.notify(&records).await;
    assert_eq!(fixture.sockets.received(), all);
    records.pop();
    fixture.notify(&records).await;
    let [message] = fixture.sockets.received()["a"].clone().try_into().expect("one message");
    assert_eq!(message["changes"].as_array().map(Vec::len), Some(MAX_CHANGES));
    let mut record = note("user_ada", "n1", 1);
    record["dynamodb"]["NewImage"].as_object_mut().expect("an object").remove("resourceType");
    fixture.notify(&[record]).await;
    assert_eq!(fixture.sockets.received(), all);
}

#[tokio::test]
async fn the_end_of_a_session_closes_only_its_connections() {
    let fixture = Fixture::new().await;
    for (session, id) in [("sess_1", "ended"), ("sess_2", "other")] {
        fixture.connect("user_ada", session, id, LONG_AGO, Socket::Open).await;
    }
    fixture.connect("user_eve", "sess_1", "eve", LONG_AGO, Socket::Open).await;
    let outcome = fixture.notify(&[session_end("user_ada", "sess_1"), note("user_ada", "n1", 1)]).await;
    assert_eq!((outcome.pokes, outcome.cuts, outcome.retried.len()), (1, 1, 0));
    assert_eq!(fixture.sockets.open(), ids(["other", "eve"]));
    assert_eq!(fixture.rows("user_ada").await, ids(["other"]));
    assert_eq!(fixture.sockets.received().keys().cloned().collect::<BTreeSet<_>>(), ids(["other"]));
}

#[tokio::test]
async fn the_end_of_an_account_closes_all_its_connections() {
    let fixture = Fixture::new().await;
    for (user, session, id) in
        [("user_ada", "sess_1", "a1"), ("user_ada", "sess_2", "a2"), ("user_eve", "sess_3", "eve")]
    {
        fixture.connect(user, session, id, LONG_AGO, Socket::Open).await;
    }
    assert_eq!(fixture.notify(&[ban("user_ada"), note("user_ada", "n1", 1)]).await.cuts, 2);
    assert_eq!(fixture.sockets.open(), ids(["eve"]));
    assert_eq!((fixture.rows("user_ada").await, fixture.sockets.received()), (ids([]), BTreeMap::new()));
}

#[tokio::test]
async fn closed_connections_are_forgotten_unless_they_may_be_opening() {
    let fixture = Fixture::new().await;
    fixture.connect("user_ada", "sess_1", "old", LONG_AGO, Socket::Closed).await;
    fixture.connect("user_ada", "sess_1", "young", now_ms(), Socket::Closed).await;
    let outcome = fixture.notify(&[note("user_ada", "n1", 1)]).await;
    assert_eq!((outcome.pokes, outcome.cuts, outcome.retried.len(), outcome.delay), (0, 0, 0, None));
    assert_eq!(fixture.rows("user_ada").await, ids(["young"]));
}

#[tokio::test]
async fn connections_that_cannot_be_sent_to_are_closed() {
    let fixture = Fixture::new().await;
    let faults = [("throttled", Socket::Failing(429)), ("failing", Socket::Failing(500)), ("hanging", Socket::Hanging)];
    for (id, socket) in faults {
        fixture.connect("user_ada", "sess_1", id, LONG_AGO, socket).await;
    }
    fixture.connect("user_ada", "sess_1", "open", LONG_AGO, Socket::Open).await;
    let outcome = fixture.notify(&[note("user_ada", "n1", 1)]).await;
    assert_eq!((outcome.pokes, outcome.cuts, outcome.retried.len()), (1, 3, 0));
    assert_eq!((fixture.sockets.open(), fixture.rows("user_ada").await), (ids(["open"]), ids(["open"])));
}

#[tokio::test]
async fn the_oldest_of_too_many_connections_are_closed() {
    let fixture = Fixture::new().await;
    for (number, at) in (0..MAX_CONNECTIONS + 2).zip(LONG_AGO..) {
        fixture.connect("user_ada", "sess_1", &format!("{number}"), at, Socket::Open).await;
    }
    let outcome = fixture.notify(&[note("user_ada", "n1", 1)]).await;
    assert_eq!((outcome.pokes, outcome.cuts, outcome.failures), (100, 2, 0));
    let open: BTreeSet<_> = (2..MAX_CONNECTIONS + 2).map(|number| number.to_string()).collect();
    assert_eq!((fixture.sockets.open(), fixture.rows("user_ada").await), (open.clone(), open));
}

#[tokio::test]
async fn records_fail_whose_connections_cannot_be_closed() {
    let fixture = Fixture::new().await;
    fixture.connect("user_ada", "sess_1", "a", LONG_AGO, Socket::Unreachable).await;
    fixture.connect("user_eve", "sess_2", "eve", LONG_AGO, Socket::Open).await;
    for end in [session_end("user_ada", "sess_1"), ban("user_ada"), note("user_ada", "n2", 1)] {
        let outcome = fixture.notify(&[note("user_ada", "n1", 1), note("user_eve", "n1", 1), end]).await;
        assert_eq!((outcome.pokes, outcome.failures, outcome.retried), (1, 1, vec!["0".to_owned(), "2".to_owned()]));
        assert_eq!(fixture.rows("user_ada").await, ids(["a"]), "it is closed by the retry");
    }
}

#[tokio::test]
async fn records_fail_whose_connections_cannot_be_read() {
    let fixture = Fixture::new().await;
    let connections = Connections::new(&database("http://127.0.0.1:1"), "LiveConnectionsTable".to_owned());
    let notifier = Notifier { connections, ..fixture.notifier };
    let outcome = notifier.notify(batch(&[note("user_ada", "n1", 1), session_end("user_ada", "sess_1")])).await;
    assert_eq!((outcome.failures, outcome.retried), (1, vec!["0".to_owned(), "1".to_owned()]));
    drop(fixture.engine);
}

#[tokio::test]
async fn connections_of_ended_sessions_are_closed_once_they_are_open() {
    let fixture = Fixture::new().await;
    fixture.connect("user_ada", "sess_1", "a", now_ms(), Socket::Closed).await;
    let end = [session_end("user_ada", "sess_1")];
    let outcome = fixture.notify(&end).await;
    assert_eq!(outcome.retried, ["0"], "it does not open in time, and Lambda retries");
    assert_eq!(outcome.failures, 0, "no alarm fires because a tab was closed soon after it was opened");
    let (outcome, ()) = tokio::join!(fixture.notify(&end), async {
        tokio::task::yield_now().await;
        fixture.sockets.set("a", Socket::Open);
    });
    assert_eq!((outcome.cuts, outcome.retried.len()), (1, 0));
    assert_eq!((fixture.sockets.open(), fixture.rows("user_ada").await), (ids([]), ids([])));
}

/// What happens while a client connects and its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `live-connect` stores the connection.
    Store,
    /// It checks the session, and forgets the connection if it has ended.
    Check,
    /// API Gateway opens the socket, if the check has passed.
    Open,
    /// Clerk's webhook writes the session's end.
    End,
    /// The stream's record of the end is consumed.
    Notify,
}

/// All orders of steps of `first` and of `second` in which each keeps its own.
fn interleavings(first: &[Step], second: &[Step]) -> Vec<Vec<Step>> {
    let (Some((a, rest_a)), Some((b, rest_b))) = (first.split_first(), second.split_first()) else {
        return vec![[first, second].concat()];
    };
    let begins_with =
        |step: Step, rest: Vec<Vec<Step>>| rest.into_iter().map(move |rest| [&[step][..], &rest].concat());
    begins_with(*a, interleavings(rest_a, second)).chain(begins_with(*b, interleavings(first, rest_b))).collect()
}

fn ended_session(user_id: &str, session_id: &str) -> Event {
    let body = json!({ "type": "session.ended", "data": { "id": session_id, "user_id": user_id } }).to_string();
    let now = i64::try_from(now_ms() / 1000).expect("soon");
    let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
    let headers = [("svix-id", "msg_1".to_owned()), ("svix-timestamp", now.to_string()), ("svix-signature", signature)];
    let headers = headers.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    let var = |name: &str| (name == "CLERK_WEBHOOK_SIGNING_SECRET").then(|| SECRET.to_owned());
    let verifier = WebhookVerifier::from_env(var).expect("a secret");
    verifier.verify(&headers.into_iter().collect(), body.as_bytes()).expect("signed")
}

#[tokio::test]
async fn no_order_of_events_leaves_a_socket_of_an_ended_session_open() {
    let orders = interleavings(&[Step::Store, Step::Check, Step::Open], &[Step::End, Step::Notify]);
    assert_eq!(orders.len(), 10);
    let fixture = Fixture::new().await;
    for (number, order) in orders.into_iter().enumerate() {
        let (session_id, id) = (format!("sess_{number}"), format!("socket_{number}"));
        let session = fixture.session("user_ada", &session_id).await;
        let end = [session_end("user_ada", &session_id)];
        let (mut stored, mut accepted, mut failed) = (None, false, false);
        for step in &order {
            match step {
                Step::Store => {
                    let new = NewConnection { id: id.clone(), connected_at: now_ms() };
                    stored = Some(fixture.connections.open(&session, new).await.expect("stored"));
                }
                Step::Check => match session.check().await {
                    Ok(()) => accepted = true,
                    Err(_) => fixture.connections.remove(stored.as_ref().expect("stored")).await.expect("removed"),
                },
                Step::Open if accepted => fixture.sockets.set(&id, Socket::Open),
                Step::Open => {}
                Step::End => {
                    let Event::SessionEnded(ended) = ended_session("user_ada", &session_id) else { panic!("an end") };
                    assert!(fixture.accounts.apply_end(&ended).await.expect("written"), "{order:?}: the end is new");
                }
                Step::Notify => failed = !fixture.notify(&end).await.retried.is_empty(),
            }
        }
        if failed {
            assert!(fixture.notify(&end).await.retried.is_empty(), "{order:?}: the retry succeeds");
        }
        assert_eq!(fixture.sockets.state(&id), Socket::Closed, "{order:?}");
    }
}
