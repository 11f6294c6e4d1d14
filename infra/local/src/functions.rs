//! The functions: their real binaries under `cargo lambda watch`, which has Lambda's Runtime API.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    proxy::hidden_listener,
    template::{Function, Template},
    websocket,
};

/// Each function serves as many requests at once, in as many processes; Lambda has no such limit.
const CONCURRENCY: &str = "4";
/// How long a built function may take to answer for the first time.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an invocation may take: longer than a function's timeout in the template.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long processes may take to end when they are asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The workspace's folder, as it was when this program was built.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The path that leads to a function's URL, at cargo-lambda as on the API's port.
pub(crate) fn url_path(binary: &str) -> String {
    format!("/lambda-url/{binary}")
}

/// An address for cargo-lambda, which cannot be given a listener. It is a random one of the loopback interface's, so nothing
/// else takes it meanwhile, and no web page guesses it.
pub(crate) async fn free_address() -> Result<SocketAddr> {
    Ok(hidden_listener().await?.local_addr()?)
}

/// Running functions.
pub(crate) struct Functions {
    watch: Child,
    address: SocketAddr,
}

impl Functions {
    /// Starts the functions, which are built, where no web page reaches the Runtime API and its events. `environment` is
    /// for all of them; `folder` is for links to their sources. With `reload`, code that is edited is built and loaded
    /// again.
    pub(crate) async fn start(environment: &BTreeMap<String, String>, folder: &Path, reload: bool) -> Result<Self> {
        let address = free_address().await?;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut watch = Command::new(program());
        watch
            .args(["lambda", "watch", "--invoke-address", &ip, "--invoke-port", &port, "--disable-cors"])
            .args(["--quiet", "--concurrency", CONCURRENCY, "--manifest-path"])
            .arg(workspace().join("Cargo.toml"))
            // Cargo looks for this from the folder it runs in.
            .arg("--config")
            .arg(workspace().join(".cargo/config.toml"))
            .current_dir(sources(folder)?)
            .stdin(Stdio::null())
            // A group of its own: Ctrl-C reaches this program alone, which then stops the functions in order.
            .process_group(0);
        if !reload {
            watch.arg("--ignore-changes");
        }
        // What the developer's shell has for the real Clerk or AWS must not reach the local functions.
        for (name, _) in std::env::vars() {
            if ["AWS_", "CLERK_"].iter().any(|prefix| name.starts_with(prefix)) {
                watch.env_remove(name);
            }
        }
        watch.envs(environment);
        let watch = watch.spawn().context("cargo-lambda cannot be started")?;
        Ok(Self { watch, address })
    }

    /// Where cargo-lambda listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Invokes the functions.
    pub(crate) fn invoker(&self) -> Result<Invoker> {
        Invoker::to(self.address)
    }

    /// Waits until every function has answered a request.
    pub(crate) async fn ready(&mut self, template: &Template) -> Result<()> {
        let invoker = self.invoker()?;
        for function in &template.functions {
            let deadline = Instant::now() + START_TIMEOUT;
            // Nobody listens at first; then the request waits for the function. Any answer of a function's will do.
            while !is_ready(&invoker, function, template, deadline).await {
                if let Some(status) = self.watch.try_wait()? {
                    bail!("cargo-lambda has stopped ({status}); what it printed above says why");
                }
                if Instant::now() > deadline {
                    bail!("{} did not answer; what it printed above says why", function.binary);
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Ends when cargo-lambda ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.watch.wait().await?)
    }

    /// Stops cargo-lambda and all that it started.
    pub(crate) async fn stop(self) {
        stop(self.watch).await;
    }
}

/// Stops a process and all that it started, and returns once they are gone.
pub(crate) async fn stop(mut child: Child) {
    // Found while the process lives: those below it are in groups of their own, and orphans have no parent to tell
    // whose they were.
    let mut system = System::new();
    let below = child.id().map(|id| below(&mut system, Pid::from_u32(id))).unwrap_or_default();
    let signal = |system: &System, pids: &[(Pid, u64)], signal| {
        for (pid, started) in pids {
            // A process id can be another's by now.
            if let Some(process) = system.process(*pid).filter(|process| process.start_time() == *started) {
                process.kill_with(signal);
            }
        }
    };
    signal(&system, &below, Signal::Term);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // Its end is waited for, so there is nothing to do about a failure.
        drop(child.kill().await);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    let mut left = below;
    while !left.is_empty() {
        refresh(&mut system);
        // A zombie has ended; in a container there may be nobody to bury it.
        left.retain(|(pid, started)| {
            system
                .process(*pid)
                .is_some_and(|process| process.start_time() == *started && process.status() != ProcessStatus::Zombie)
        });
        if Instant::now() > deadline {
            signal(&system, &left, Signal::Kill);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The program of cargo-lambda, where the Makefile has put it.
pub(crate) fn program() -> PathBuf {
    workspace().join(".tools/cargo-lambda/bin/cargo-lambda")
}

/// A folder that shows the functions' sources and nothing else. cargo-lambda watches the folder it runs in, once for
/// each running function, with all that is below: the project's own with `target` and `.tools` takes tens of thousands
/// of Linux's inotify watches, and where those are used up, edited code is not loaded and nothing says so.
pub(crate) fn sources(folder: &Path) -> Result<PathBuf> {
    let sources = folder.join("sources");
    std::fs::create_dir_all(&sources).context("the folder of sources cannot be made")?;
    for name in ["functions", "shared"] {
        match std::os::unix::fs::symlink(workspace().join(name), sources.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context("the sources cannot be linked to");
            }
            _ => {}
        }
    }
    Ok(sources)
}

/// Invokes functions as AWS's services do.
#[derive(Clone)]
pub(crate) struct Invoker {
    http: reqwest::Client,
    address: SocketAddr,
}

impl Invoker {
    /// `address` is where cargo-lambda listens.
    pub(crate) fn to(address: SocketAddr) -> Result<Self> {
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, address })
    }

    /// A function's answer to an event.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let url = format!("http://{}/2015-03-31/functions/{function}/invocations", self.address);
        let response = self.http.post(url).json(event).timeout(INVOCATION_TIMEOUT).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "the function failed: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// Whether a function has answered, and not cargo-lambda in its stead.
async fn is_ready(invoker: &Invoker, function: &Function, template: &Template, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let connect = template.websocket_api.as_ref().filter(|api| api.connect == function.binary);
    let event = match connect {
        Some(api) => websocket::anonymous_event(&api.stage),
        None if template.event_sources.iter().any(|source| source.function == function.binary) => {
            json!({ "Records": [] })
        }
        None => {
            let slash = if function.has_url { "" } else { "/" };
            let url = format!("http://{}{}{slash}", invoker.address, url_path(&function.binary));
            let answer = invoker.http.get(url).timeout(left).send().await;
            return answer.is_ok_and(|answer| answer.headers().contains_key(reqwest::header::CACHE_CONTROL));
        }
    };
    timeout(left, invoker.invoke(&function.binary, &event)).await.is_ok_and(|answer| answer.is_ok())
}

fn refresh(system: &mut System) {
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
}

/// A process and all that descend from it, each with the time it was started.
fn below(system: &mut System, root: Pid) -> Vec<(Pid, u64)> {
    refresh(system);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = system.processes().values().filter(|process| process.parent() == Some(parent));
        // Linux lists threads as well.
        found.extend(children.filter(|process| process.thread_kind().is_none()).map(sysinfo::Process::pid));
    }
    found.into_iter().filter_map(|pid| Some((pid, system.process(pid)?.start_time()))).collect()
}

/// Starts to build the functions as cargo-lambda is going to, so that its first request waits for no compiler.
pub(crate) fn build(template: &Template) -> Result<Child> {
    let program = program();
    if !program.exists() {
        bail!("{} is missing; `make run` sets it up", program.display());
    }
    let mut cargo = Command::new("cargo");
    cargo.arg("build").args(template.functions.iter().flat_map(|function| ["--bin", function.binary.as_str()]));
    cargo.current_dir(workspace()).stdin(Stdio::null()).process_group(0);
    cargo.spawn().context("cargo cannot be started")
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
pub(crate) mod tests {
    use axum::{Json, Router, extract::Path, http::StatusCode, response::IntoResponse, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    /// Invokes functions that a test supplies: by their name and event, they respond or fail.
    pub(crate) async fn lambda<F: Future<Output = Result<Value, Value>> + Send>(
        respond: impl Fn(String, Value) -> F + Clone + Send + Sync + 'static,
    ) -> Invoker {
        let invocations =
            async move |Path(function): Path<String>, Json(event): Json<Value>| match respond(function, event).await {
                Ok(response) => Json(response).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response(),
            };
        let router = Router::new().route("/2015-03-31/functions/{function}/invocations", post(invocations));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Invoker::to(address).expect("a client")
    }
}
