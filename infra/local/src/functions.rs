//! The functions: their binaries under `cargo lambda watch`, which has Lambda's Runtime API.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use reqwest::header::CACHE_CONTROL;
use serde_json::{Value, json};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    logs::Logs,
    proxy::hidden_listener,
    template::{Function, Template},
    websocket,
};

/// The largest number of concurrent requests of each function, and of its processes. Lambda has no such limit.
const CONCURRENCY: &str = "4";
/// The timeout for the first response of a built function.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// The timeout of an invocation, longer than a function's timeout in the template.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The time for processes to end after a signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The workspace's folder at build time.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The path of a function's URL, both of cargo-lambda and on the API's port.
pub(crate) fn url_path(binary: &str) -> String {
    format!("/lambda-url/{binary}")
}

/// An IP address and port for cargo-lambda, which cannot be given a listener. They are random, so that no other program
/// takes them in the meantime, and no web page can guess them.
pub(crate) async fn free_address() -> Result<SocketAddr> {
    Ok(hidden_listener().await?.local_addr()?)
}

/// Running functions.
pub(crate) struct Functions {
    watch: Child,
    address: SocketAddr,
}

impl Functions {
    /// Starts the built functions where web pages cannot reach the Runtime API and its events. `environment` is for all of
    /// them, and `folder` for links to their sources. With `reload`, edited code is rebuilt and reloaded.
    /// `release` is as in [`build`]. `logs` gets the output.
    pub(crate) async fn start(
        environment: &BTreeMap<String, String>,
        folder: &Path,
        reload: bool,
        release: bool,
        logs: &Arc<Logs>,
    ) -> Result<Self> {
        let address = free_address().await?;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut watch = Command::new(program());
        watch
            .args(["lambda", "watch", "--invoke-address", &ip, "--invoke-port", &port, "--disable-cors"])
            .args(["--quiet", "--concurrency", CONCURRENCY, "--manifest-path"])
            .arg(workspace().join("Cargo.toml"))
            // Cargo searches for this from its working directory.
            .arg("--config")
            .arg(workspace().join(".cargo/config.toml"))
            .current_dir(sources(folder)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate process group: Ctrl-C reaches only this program, which then stops the functions in order.
            .process_group(0);
        if !reload {
            watch.arg("--ignore-changes");
        }
        watch.args(release.then_some("--release"));
        // Variables of the developer's shell for Clerk, AWS or logs must not reach the local functions.
        for (name, _) in std::env::vars() {
            if ["AWS_", "CLERK_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
                watch.env_remove(name);
            }
        }
        watch.envs(environment);
        let mut watch = watch.spawn().context("cargo-lambda cannot be started")?;
        logs.follow(&mut watch);
        Ok(Self { watch, address })
    }

    /// The IP address and port of cargo-lambda.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Invokes the functions.
    pub(crate) fn invoker(&self) -> Result<Invoker> {
        Invoker::to(self.address)
    }

    /// Waits until every function has responded to a request.
    pub(crate) async fn ready(&mut self, template: &Template) -> Result<()> {
        let invoker = self.invoker()?;
        let respond = template.functions.iter().map(|function| responds(&invoker, function, template));
        tokio::select! {
            ready = try_join_all(respond) => ready.map(drop),
            status = self.watch.wait() => bail!("cargo-lambda has stopped ({}). See its output above", status?),
        }
    }

    /// Waits until cargo-lambda ends.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.watch.wait().await?)
    }

    /// Stops cargo-lambda and its child processes.
    pub(crate) async fn stop(self) {
        stop(self.watch).await;
    }
}

/// Stops a process and its descendants, and waits until they have ended.
pub(crate) async fn stop(mut child: Child) {
    // Listed while the process runs: its descendants have process groups of their own, and orphans have no parent that
    // identifies them.
    let mut system = System::new();
    let below = child.id().map(|id| below(&mut system, Pid::from_u32(id))).unwrap_or_default();
    let signal = |system: &System, pids: &[(Pid, u64)], signal| {
        for (pid, started) in pids {
            // Another process can have this id by now.
            if let Some(process) = system.process(*pid).filter(|process| process.start_time() == *started) {
                process.kill_with(signal);
            }
        }
    };
    signal(&system, &below, Signal::Term);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // A failure does not matter, since its end is awaited.
        drop(child.kill().await);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    let mut left = below;
    while !left.is_empty() {
        refresh(&mut system);
        // A zombie has ended. In a container, it may have no parent that reaps it.
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

/// The program of cargo-lambda, which the Makefile installs.
pub(crate) fn program() -> PathBuf {
    workspace().join(".tools/cargo-lambda/bin/cargo-lambda")
}

/// A folder with links to only the functions' sources. cargo-lambda watches its working directory recursively, once for each
/// running function. The project's folder with `target` and `.tools` takes tens of thousands of Linux's inotify watches,
/// and without free watches, edited code is silently not reloaded.
pub(crate) fn sources(folder: &Path) -> Result<PathBuf> {
    let sources = folder.join("sources");
    std::fs::create_dir_all(&sources).context("the folder of sources cannot be created")?;
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

    /// A function's response to an event.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let url = format!("http://{}/2015-03-31/functions/{function}/invocations", self.address);
        let response = self.http.post(url).json(event).timeout(INVOCATION_TIMEOUT).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "the function failed: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// Waits until a function has responded itself. At first nothing listens, and then the request waits for the function.
async fn responds(invoker: &Invoker, function: &Function, template: &Template) -> Result<()> {
    let is_consumer = template.event_sources.iter().any(|source| source.function == function.binary);
    let responds = async || {
        let event = if template.websocket_api.connect == function.binary {
            websocket::anonymous_event(&template.websocket_api.stage)
        } else if is_consumer {
            json!({ "Records": [] })
        } else {
            let slash = if function.has_url { "" } else { "/" };
            let url = format!("http://{}{}{slash}", invoker.address, url_path(&function.binary));
            let response = invoker.http.get(url).send().await;
            // Responses of cargo-lambda do not have it.
            return response.is_ok_and(|response| response.headers().contains_key(CACHE_CONTROL));
        };
        invoker.invoke(&function.binary, &event).await.is_ok()
    };
    let responding = async {
        while !responds().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = timeout(START_TIMEOUT, responding).await;
    in_time.with_context(|| format!("{} does not respond. See its output above", function.binary))
}

fn refresh(system: &mut System) {
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
}

/// A process and its descendants, with their start times.
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

/// Starts to build the functions as cargo-lambda does, so that its first request does not wait for the compiler. With
/// `release`, their release build.
pub(crate) fn build(template: &Template, release: bool) -> Result<Child> {
    let program = program();
    if !program.exists() {
        bail!("{} is missing. Run `make run`, which installs it", program.display());
    }
    let mut cargo = Command::new("cargo");
    cargo.arg("build").args(template.functions.iter().flat_map(|function| ["--bin", function.binary.as_str()]));
    cargo.args(release.then_some("--release"));
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
