//! A stand-in for Lambda: it starts a function's program as Lambda does, speaks the Runtime API to it, and takes the time.
//!
//! It waits for nothing but the program: no delay is made, and TCP's own is off.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
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

use crate::{programs::run, share::Share};

/// How long a program may take to answer, at a hundredth of a processor.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long an invocation may take, as the program is told.
const DEADLINE: Duration = Duration::from_secs(25);

/// What a program says to the Runtime API.
enum Said {
    /// It asks for the next event.
    Next,
    Answer(Bytes),
    Failed(Bytes),
}

type Heard = (Instant, Said);

struct Api {
    said: mpsc::UnboundedSender<Heard>,
    events: Mutex<mpsc::UnboundedReceiver<Bytes>>,
}

/// A program that Lambda would run, waiting for events.
pub(crate) struct Function {
    process: Child,
    pid: u32,
    events: mpsc::UnboundedSender<Bytes>,
    heard: mpsc::UnboundedReceiver<Heard>,
    server: JoinHandle<()>,
    /// From `exec` to the first request for an event.
    pub(crate) init: Duration,
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// The most memory it ever had resident, in KiB.
    pub(crate) peak_memory: u64,
    /// The memory it has resident now, in KiB.
    pub(crate) memory: u64,
    /// Time on a processor.
    pub(crate) cpu: Duration,
}

impl Function {
    /// Starts `program` with `environment` alone, on a share of a processor if one is given, and waits until it asks for
    /// an event. What it prints goes to the file `log`.
    pub(crate) async fn start(
        program: &Path,
        environment: &[(String, String)],
        share: Option<&Share>,
        log: &Path,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (said, mut heard) = mpsc::unbounded_channel();
        let (events, to_come) = mpsc::unbounded_channel();
        let api = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failure))
            .route("/2018-06-01/runtime/init/error", post(failure))
            .layer(DefaultBodyLimit::max(6 * 1024 * 1024))
            .with_state(std::sync::Arc::new(Api { said, events: Mutex::new(to_come) }));
        let listener = listener.tap_io(|stream| {
            // A slow connection would show in the floor.
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            // It never ends by itself.
            let _ = axum::serve(listener, api).await;
        });

        fs::create_dir_all(log.parent().context("a log has a folder")?)?;
        let output = File::options().create(true).append(true).open(log)?;
        // A shell waits for a word and then becomes the program: so that it can be put on its share before, and the time
        // begins with `exec`.
        let mut process = Command::new("/bin/sh")
            .args(["-c", "read -r go && exec \"$@\"", "sh"].map(OsStr::new))
            .arg(program)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().context("the program has a process")?;
        if let Some(share) = share {
            share.admit(pid)?;
        }
        let mut word = process.stdin.take().context("standard input is piped")?;
        let started = Instant::now();
        word.write_all(b"go\n").await?;
        let first = tokio::select! {
            first = timeout(PATIENCE, heard.recv()) => first.with_context(|| unanswered(program, log))?,
            ended = process.wait() => bail!("{} ({})", unanswered(program, log), ended?),
        };
        let (asked, first) = first.context("the stand-in has ended")?;
        if let Said::Failed(error) | Said::Answer(error) = first {
            bail!("{} does not start: {}", program.display(), String::from_utf8_lossy(&error));
        }
        Ok(Self { process, pid, events, heard, server, init: asked - started })
    }

    /// Puts it on a share of a processor from now on.
    pub(crate) fn put_on(&self, share: &Share) -> Result<()> {
        share.admit(self.pid)
    }

    /// Hands over an event. Gives the answer and how long it took, from the event's leaving to the answer's arriving.
    /// Returns once the program waits for the next.
    pub(crate) async fn invoke(&mut self, event: Bytes) -> Result<(Duration, Value)> {
        let started = Instant::now();
        self.events.send(event)?;
        let (ended, answer) = self.hear().await?;
        let Said::Answer(answer) = answer else { bail!("the program asks for an event before it has answered one") };
        let (_, Said::Next) = self.hear().await? else { bail!("the program answers twice") };
        Ok((ended - started, serde_json::from_slice(&answer)?))
    }

    async fn hear(&mut self) -> Result<Heard> {
        let heard = timeout(PATIENCE, self.heard.recv()).await.context("the program does not answer")?;
        match heard.context("the stand-in has ended")? {
            (_, Said::Failed(error)) => bail!("the function failed: {}", String::from_utf8_lossy(&error)),
            heard => Ok(heard),
        }
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Result<Used> {
        let folder = format!("/proc/{}", self.pid);
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the kernel tells it")?;
            Ok::<u64, anyhow::Error>(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
        };
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("{folder}/task"))? {
            let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += statistics.split(' ').next().context("the kernel tells it")?.parse::<u64>()?;
        }
        Ok(Used { peak_memory: kib("VmHWM")?, memory: kib("VmRSS")?, cpu: Duration::from_nanos(nanoseconds) })
    }

    /// Has it end, so that what runs it can write down what it saw.
    pub(crate) async fn end(mut self) -> Result<()> {
        run(Command::new("kill").arg(self.pid.to_string()).as_std_mut())?;
        timeout(PATIENCE, self.process.wait()).await.context("the program does not end")??;
        Ok(())
    }

    /// Ends it, as Lambda does after a while: without a word.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.kill().await?;
        self.server.abort();
        Ok(())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn unanswered(program: &Path, log: &Path) -> String {
    format!("{} does not ask for an event; see {}", program.display(), log.display())
}

type Shared = State<std::sync::Arc<Api>>;

async fn next(State(api): Shared) -> Response {
    // Nobody hears it once the function is stopped; so for the others.
    let _ = api.said.send((Instant::now(), Said::Next));
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + DEADLINE;
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", uuid::Uuid::now_v7().to_string()),
        ("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench".to_owned()),
        (
            "Lambda-Runtime-Trace-Id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0".to_owned(),
        ),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, event).into_response()
}

async fn answer(State(api): Shared, body: Bytes) -> StatusCode {
    let _ = api.said.send((Instant::now(), Said::Answer(body)));
    StatusCode::ACCEPTED
}

async fn failure(State(api): Shared, body: Bytes) -> StatusCode {
    let _ = api.said.send((Instant::now(), Said::Failed(body)));
    StatusCode::ACCEPTED
}
