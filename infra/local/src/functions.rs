//! The functions: their binaries under `cargo lambda watch`, which has Lambda's Runtime API.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System, UpdateKind};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{invoker::Invoker, logs::Logs, proxy::hidden_listener, template::Template};

/// The largest number of concurrent requests of each function, and of its processes. Lambda has no such limit.
const CONCURRENCY: &str = "4";
/// The timeout for the first response of a built function.
const START_TIMEOUT: Duration = Duration::from_mins(2);
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
    invoker: Invoker,
    /// What follows the changes of their code.
    _following: JoinSet<()>,
}

impl Functions {
    /// Starts the built functions where `invoker` invokes them. `environment` is for all of them, and `folder` for links to
    /// their sources. With `reload`, edited code is rebuilt and reloaded. `release` is as in [`build`]. `logs` gets the
    /// output.
    pub(crate) fn start(
        invoker: Invoker,
        environment: &BTreeMap<String, String>,
        folder: &Path,
        (reload, release): (bool, bool),
        logs: &Arc<Logs>,
    ) -> Result<Self> {
        let address = invoker.address;
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
        let changes = logs.follow(&mut watch);
        invoker.restart();
        let root = watch.id().map(Pid::from_u32);
        let runs = move |function: &str| root.is_none_or(|root| runs(root, function));
        let mut following = JoinSet::new();
        following.spawn(invoker.clone().follow(changes, Arc::clone(logs), runs));
        Ok(Self { watch, invoker, _following: following })
    }

    /// Waits until every function has responded to a request.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        tokio::select! {
            ready = timeout(START_TIMEOUT, self.invoker.ready()) => ready.map_err(|_| {
                let starting: Vec<_> =
                    self.invoker.starting().into_iter().map(|(name, reason)| format!("{name} {reason}")).collect();
                anyhow!("{}. See the output above", starting.join(", "))
            }),
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

/// Whether a function has a process below another, or is compiled by one.
fn runs(root: Pid, function: &str) -> bool {
    let mut system = System::new();
    let below = below(&mut system, root);
    let pids: Vec<_> = below.into_iter().map(|(pid, _)| pid).collect();
    let kind = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), false, kind);
    let is_function = |process: &sysinfo::Process| {
        let is_running = process.status() != ProcessStatus::Zombie;
        let mut arguments = process.cmd().iter();
        // Its program, or cargo's argument after --bin.
        is_running && arguments.any(|argument| Path::new(argument).file_name().is_some_and(|name| name == function))
    };
    pids.iter().filter_map(|pid| system.process(*pid)).any(is_function)
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
