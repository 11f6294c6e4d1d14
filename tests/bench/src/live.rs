//! Live updates: the time from a write's response to the user's WebSocket messages, and what `live-notify` uses.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use dynoxide::{Database, ImportOptions};
use futures_util::StreamExt;
use local::dynamodb;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};

use crate::{
    builds::{Programs, Subject},
    calls::{CREATE, new_id},
    fixture::{Fixture, WRITER},
    lambda::Function,
    measure::{Repeats, Warm, milliseconds},
    network::Network,
};

const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const CONNECT: &str = "live-connect";
pub(crate) const NOTIFY: &str = "live-notify";

/// The open connections while changes are measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Connections {
    /// WebSocket connections of the user whose data changes.
    pub(crate) own: usize,
    /// Rows of other users in the table.
    pub(crate) others: usize,
}

pub(crate) const ONE: Connections = Connections { own: 1, others: 10 };
pub(crate) const MANY: Connections = Connections { own: 100, others: 10 };
pub(crate) const CROWD: Connections = Connections { own: 1, others: 100_000 };
const SETTINGS: [Connections; 4] = [ONE, MANY, Connections { own: 1, others: 1_000 }, CROWD];

/// Changes that were written one after the other, times in milliseconds.
pub(crate) struct Round {
    /// From the write's response to the first message; 0 if the message was earlier.
    pub(crate) delays: Vec<f64>,
    /// From the first WebSocket's message to the last one's.
    pub(crate) spreads: Vec<f64>,
    /// The invocations of `live-notify`.
    pub(crate) notify: Warm,
}

/// The functions that the local stack invokes, and how long each invocation of `live-notify` took.
type Functions = (HashMap<&'static str, Mutex<Function>>, mpsc::UnboundedSender<Duration>);

/// The local stack's parts between a write and its messages, with functions of the release build.
struct Stack<'a> {
    fixture: &'a Fixture,
    connections: Connections,
    chats: Function,
    functions: Arc<Functions>,
    invocations: mpsc::UnboundedReceiver<Duration>,
    messages: mpsc::UnboundedReceiver<(Instant, String)>,
    written: u64,
    _live: local::Live,
}

/// Measures changes with different connections, in turns.
pub(crate) async fn measure(
    fixture: &Fixture,
    programs: &Programs,
    repeats: Repeats,
) -> Result<BTreeMap<Connections, Vec<Round>>> {
    println!("live updates");
    let mut stacks = Vec::new();
    for connections in SETTINGS {
        let mut stack = Stack::start(fixture, programs, connections).await?;
        stack.round(repeats.warmup).await?;
        stacks.push(stack);
    }
    let mut results = BTreeMap::new();
    for _ in 0..repeats.rounds {
        stacks.shuffle(&mut rand::rng());
        for stack in &mut stacks {
            results.entry(stack.connections).or_insert_with(Vec::new).push(stack.round(repeats.requests).await?);
        }
    }
    Ok(results)
}

impl<'a> Stack<'a> {
    async fn start(fixture: &'a Fixture, programs: &Programs, connections: Connections) -> Result<Self> {
        let folder = fixture.folder.join(format!("live-{}-{}", connections.own, connections.others));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let database = dynamodb::open(&folder.join("dynamodb.sqlite"), &fixture.template)?;
        let table = fixture.tables(NOTIFY)?.find(|(variable, _)| variable == "CONNECTIONS_TABLE");
        add_connections(&database, &table.context("live-notify reads connections")?.1, connections.others)?;
        let key = dynamodb::access_key_or_make(&folder)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let live = local::Live::serve(database, &fixture.template, &key, listener.local_addr()?).await?;
        let start = async |function| {
            let mut environment = fixture.environment(function, Network::Plain)?;
            let own = [
                ("AWS_ACCESS_KEY_ID", key.clone()),
                ("AWS_ENDPOINT_URL_DYNAMODB", live.dynamodb.clone()),
                ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", format!("http://{}", live.api)),
            ];
            environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
            let log = fixture.folder.join(format!("logs/live-{function}.log"));
            Function::start(&programs[&(Subject::Cubby, function)].path, environment, None, &log).await
        };
        let chats = start("chats").await?;
        let functions = [(CONNECT, start(CONNECT).await?.into()), (NOTIFY, start(NOTIFY).await?.into())];
        let (sender, invocations) = mpsc::unbounded_channel();
        let functions = Arc::new((HashMap::from(functions), sender));
        let router = Router::new().route("/2015-03-31/functions/{function}/invocations", post(invoke));
        let router = router.with_state(Arc::clone(&functions));
        tokio::spawn(async move { axum::serve(listener, router).await });

        let (sender, messages) = mpsc::unbounded_channel();
        for _ in 0..connections.own {
            open(&live.api, &fixture.token(WRITER)?, sender.clone()).await?;
        }
        Ok(Self { fixture, connections, chats, functions, invocations, messages, written: 0, _live: live })
    }

    async fn round(&mut self, changes: usize) -> Result<Round> {
        let functions = Arc::clone(&self.functions);
        let usage = async || functions.0[NOTIFY].lock().await.usage();
        let before = usage().await?.processor;
        let (mut delays, mut spreads, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..changes {
            let (responded, messages) = self.change().await?;
            let last = messages.iter().max().context("no WebSocket is open")?;
            let first = messages.iter().min().unwrap_or(last);
            delays.push(milliseconds(first.saturating_duration_since(responded)));
            spreads.push(milliseconds(*last - *first));
            let invocation = timeout(TIMEOUT, self.invocations.recv()).await?;
            latencies.push(milliseconds(invocation.context("live-notify has not responded")?));
        }
        let usage = usage().await?;
        let processor = milliseconds(usage.processor.saturating_sub(before)) / changes as f64;
        Ok(Round { delays, spreads, notify: Warm { latencies, usage, processor } })
    }

    /// Creates a chat. Returns when the response and each WebSocket's message arrived.
    async fn change(&mut self) -> Result<(Instant, Vec<Instant>)> {
        self.written += 1;
        let event = CREATE.event(self.fixture, self.written)?;
        let sent = Instant::now();
        let (time, response) = self.chats.invoke(event).await?;
        CREATE.check(&response)?;
        let mut messages = Vec::new();
        for _ in 0..self.connections.own {
            messages.push(timeout(TIMEOUT, self.messages.recv()).await?.context("no WebSocket is open")?);
        }
        let expected = json!({ "changes": [{ "of": "chats", "id": new_id(self.written), "version": 1 }] });
        for (_, message) in &messages {
            ensure!(serde_json::from_str::<Value>(message)? == expected, "the message is {message}");
        }
        Ok((sent + time, messages.into_iter().map(|(at, _)| at).collect()))
    }
}

/// Adds connections, each of another user.
fn add_connections(database: &Database, table: &str, number: usize) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (connected_at, expires_at) = (now.as_millis(), (now.as_secs() + 7800).to_string());
    let item = |number| {
        serde_json::from_value(json!({
            "userId": { "S": format!("user_other_{number}") }, "connection": { "S": format!("{connected_at}#{number}") },
            "sessionId": { "S": "sess_1" }, "expiresAt": { "N": expires_at },
        }))
    };
    database.import_items(table, (0..number).map(item).collect::<Result<_, _>>()?, ImportOptions::default())?;
    Ok(())
}

/// Opens a WebSocket. Its messages are sent on with the times of their arrivals.
async fn open(api: &str, token: &str, messages: mpsc::UnboundedSender<(Instant, String)>) -> Result<()> {
    let mut request = format!("ws://{api}").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", format!("live.v1, bearer.{token}").parse()?);
    let (mut socket, _) = connect_async(request).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            // Without a receiver, the measurement has ended.
            let _ = messages.send((Instant::now(), message.to_string()));
        }
    });
    Ok(())
}

/// Lambda's API for invocations.
async fn invoke(
    State(functions): State<Arc<Functions>>,
    Path(name): Path<String>,
    event: Bytes,
) -> Result<Json<Value>, StatusCode> {
    let function = functions.0.get(name.as_str()).ok_or(StatusCode::NOT_FOUND)?;
    let (time, response) = function.lock().await.invoke(event).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    if name == NOTIFY {
        let _ = functions.1.send(time);
    }
    Ok(Json(response))
}
