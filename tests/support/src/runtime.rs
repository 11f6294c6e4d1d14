use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc, watch},
    time::timeout,
};

/// The limit for a response, well within the functions' timeout in `template.yaml`.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Lambda's Runtime API for one function, which may process several events at once.
pub struct Runtime {
    events: mpsc::UnboundedSender<Vec<u8>>,
    responses: Mutex<mpsc::UnboundedReceiver<Value>>,
    lines: Mutex<mpsc::UnboundedReceiver<String>>,
    polled: watch::Receiver<bool>,
    _function: Child,
}

struct Api {
    events: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    responses: mpsc::UnboundedSender<Value>,
    polled: watch::Sender<bool>,
    sent: AtomicUsize,
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    api.polled.send_replace(true);
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = UNIX_EPOCH.elapsed().expect("after 1970") + TIMEOUT;
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{}", api.sent.fetch_add(1, Ordering::Relaxed))),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned()),
    ];
    (headers, event).into_response()
}

async fn respond(State(api): State<Arc<Api>>, response: Bytes) -> StatusCode {
    let response = serde_json::from_slice(&response).expect("a response is JSON");
    // The test may have ended.
    let _ = api.responses.send(response);
    StatusCode::ACCEPTED
}

impl Runtime {
    /// Starts a function's program as Lambda does. The test sets all of its variables except that of the API.
    pub async fn start(mut program: Command) -> Self {
        let (events, to_function) = mpsc::unbounded_channel();
        let (from_function, responses) = mpsc::unbounded_channel();
        let (polling, polled) = watch::channel(false);
        let api = Api {
            events: Mutex::new(to_function),
            responses: from_function,
            polled: polling,
            sent: AtomicUsize::new(0),
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(respond))
            .with_state(Arc::new(api));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut function = program
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the function starts");
        let stdout = BufReader::new(function.stdout.take().expect("standard output is piped"));
        let (to_test, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut stdout = stdout.lines();
            while let Ok(Some(line)) = stdout.next_line().await {
                // Few tests read the log.
                let _ = to_test.send(line);
            }
        });
        Self { events, responses: Mutex::new(responses), lines: Mutex::new(lines), polled, _function: function }
    }

    /// Waits until the function is initialized: until it has polled for its first event.
    pub async fn initialized(&self) {
        let mut polled = self.polled.clone();
        timeout(TIMEOUT, polled.wait_for(|polled| *polled)).await.expect("in time").expect("the API is running");
    }

    /// Sends an event without waiting for its response.
    pub fn send(&self, event: impl Into<Vec<u8>>) {
        self.events.send(event.into()).expect("the API is running");
    }

    /// The function's next response, or error, to an event.
    pub async fn response(&self) -> Value {
        let response = timeout(TIMEOUT, async { self.responses.lock().await.recv().await });
        response.await.expect("in time").expect("a response")
    }

    /// The function's response to an event of any bytes.
    pub async fn invoke_raw(&self, event: Vec<u8>) -> Value {
        self.send(event);
        self.response().await
    }

    /// The function's HTTP response to an event: status, headers and body.
    pub async fn invoke(&self, event: Value) -> (Value, HashMap<String, String>, Value) {
        let response = self.invoke_raw(event.to_string().into_bytes()).await;
        let member = |name: &str| response.get(name).cloned().unwrap_or_default();
        let headers = serde_json::from_value(member("headers")).expect("headers");
        let body = member("body").as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        (member("statusCode"), headers, body)
    }

    /// The function's log since the last call, up to the line of a request that satisfies `is_last`.
    pub async fn log_until(&self, is_last: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut log = Vec::new();
        let read = async {
            let mut lines = self.lines.lock().await;
            while let Some(text) = lines.recv().await {
                let line: Value = serde_json::from_str(&text).unwrap_or_default();
                log.push(text);
                if line.get("message").is_some_and(|message| message == "request") && is_last(&line) {
                    return;
                }
            }
        };
        let found = timeout(TIMEOUT, read).await;
        assert!(found.is_ok(), "the line is missing: {log:#?}");
        log
    }
}
