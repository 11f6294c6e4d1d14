//! Starts a function's program as Lambda does, serves the Runtime API to it and times it.
//!
//! It does not use the Runtime API of `test-support`: this one adds no time to its measurements, and limits the program to
//! a share of a processor before it starts.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
    serve::ListenerExt,
};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{builds::run, quota::Quota};

/// The timeout for a program's response, even with less than a tenth of a processor.
const PROGRAM_TIMEOUT: Duration = Duration::from_mins(1);
/// The time until an invocation's deadline.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(25);

/// A program's request to the Runtime API.
enum Message {
    Next,
    Response(Bytes),
    Error(Bytes),
}

type Timed = (Instant, Message);

struct RuntimeApi {
    messages: mpsc::UnboundedSender<Timed>,
    events: Mutex<mpsc::UnboundedReceiver<Bytes>>,
}

/// A running program that waits for events.
pub(crate) struct Function {
    process: Child,
    pid: u32,
    events: mpsc::UnboundedSender<Bytes>,
    messages: mpsc::UnboundedReceiver<Timed>,
    server: JoinHandle<()>,
    /// From `exec` to the first request for an event.
    pub(crate) init: Duration,
}

/// The resources that a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Its largest resident memory, in KiB.
    pub(crate) peak_memory: u64,
    pub(crate) processor: Duration,
}

impl Function {
    /// Starts `program` with only this environment, limited by a quota if there is one, and waits until it requests an
    /// event. Appends its output to the file `log`.
    pub(crate) async fn start(
        program: &Path,
        environment: Vec<(String, String)>,
        quota: Option<&Quota>,
        log: &Path,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (message_sender, mut messages) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::unbounded_channel();
        let api = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", received(Message::Response))
            .route("/2018-06-01/runtime/invocation/{id}/error", received(Message::Error))
            .route("/2018-06-01/runtime/init/error", received(Message::Error))
            .layer(DefaultBodyLimit::max(6 * 1024 * 1024))
            .with_state(Arc::new(RuntimeApi { messages: message_sender, events: Mutex::new(event_receiver) }));
        let listener = listener.tap_io(|stream| {
            // A delayed packet would be part of every subject's time. If it fails, the floor shows it.
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            // Never ends.
            let _ = axum::serve(listener, api).await;
        });

        fs::create_dir_all(log.parent().context("a log has a folder")?)?;
        let output = File::options().create(true).append(true).open(log)?;
        // A shell waits for a line and then becomes the program, so that its quota holds from `exec` on.
        let mut process = Command::new("/bin/sh")
            .args(["-c", "read -r line && exec \"$@\"", "sh"].map(OsStr::new))
            .arg(program)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().context("the program has a process")?;
        if let Some(quota) = quota {
            quota.limit(pid)?;
        }
        let mut shell = process.stdin.take().context("standard input is piped")?;
        let started = Instant::now();
        shell.write_all(b"start\n").await?;
        let failure = || format!("{} does not request an event; see {}", program.display(), log.display());
        let first = tokio::select! {
            first = timeout(PROGRAM_TIMEOUT, messages.recv()) => first.with_context(failure)?,
            status = process.wait() => bail!("{} ({})", failure(), status?),
        };
        match first.context("the Runtime API has ended")? {
            (at, Message::Next) => Ok(Self { process, pid, events, messages, server, init: at - started }),
            (_, Message::Error(text) | Message::Response(text)) => {
                bail!("{} does not start: {}", program.display(), String::from_utf8_lossy(&text))
            }
        }
    }

    /// Limits it from now on.
    pub(crate) fn limit(&self, quota: &Quota) -> Result<()> {
        quota.limit(self.pid)
    }

    /// Sends an event. Returns the time from sending it to receiving the response, once the program waits for the next.
    pub(crate) async fn invoke(&mut self, event: Bytes) -> Result<(Duration, Value)> {
        let started = Instant::now();
        self.events.send(event)?;
        let (ended, Message::Response(response)) = self.message().await? else { bail!("an event has no response") };
        let (_, Message::Next) = self.message().await? else { bail!("an event has two responses") };
        Ok((ended - started, serde_json::from_slice(&response)?))
    }

    async fn message(&mut self) -> Result<Timed> {
        let message = timeout(PROGRAM_TIMEOUT, self.messages.recv()).await.context("the program does not answer")?;
        match message.context("the Runtime API has ended")? {
            (_, Message::Error(error)) => bail!("the function failed: {}", String::from_utf8_lossy(&error)),
            message => Ok(message),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let folder = format!("/proc/{}", self.pid);
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc has no VmHWM")?;
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("{folder}/task"))? {
            let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += statistics.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
        let peak_memory = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(Usage { peak_memory, processor: Duration::from_nanos(nanoseconds) })
    }

    /// Sends a signal to end it, so that valgrind writes its counts.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        run(Command::new("kill").arg(self.pid.to_string()).as_std_mut())?;
        timeout(PROGRAM_TIMEOUT, self.process.wait()).await.context("the program does not end")??;
        Ok(())
    }

    /// Kills it, as Lambda does.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// A message that arrives after its function was ended has no receiver.

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let _ = api.messages.send((Instant::now(), Message::Next));
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + INVOCATION_TIMEOUT;
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", uuid::Uuid::now_v7().to_string()),
        ("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench".to_owned()),
        ("Lambda-Runtime-Trace-Id", trace.to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, event).into_response()
}

fn received(message: fn(Bytes) -> Message) -> MethodRouter<Arc<RuntimeApi>> {
    post(async move |State(api): State<Arc<RuntimeApi>>, body| {
        let _ = api.messages.send((Instant::now(), message(body)));
        StatusCode::ACCEPTED
    })
}
