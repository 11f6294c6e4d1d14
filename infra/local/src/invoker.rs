//! Invokes the functions as AWS's services do, once they respond.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::{
    extract::Request,
    http::{Method, StatusCode, header::CACHE_CONTROL},
    response::Response,
};
use serde_json::{Value, json};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    time::{Instant, sleep, timeout},
};

use crate::{
    functions::url_path,
    guard::{Rejected, problem},
    logs::{Change, Logs},
    proxy::Proxy,
    template::{Function, Template},
};

/// The largest number of invocations of each function that wait in cargo-lambda, which stops for good at 100. The others
/// wait here.
const MAX_WAITING: usize = 64;
/// How long an invocation counts as waiting. cargo-lambda does not respond to those that an ended process has taken.
const SLOT_TIMEOUT: Duration = Duration::from_mins(10);
/// The first time between requests that find out whether a function responds. It doubles with each.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How long processes of a function can still run after its changed code did not compile.
const SETTLING_TIME: Duration = Duration::from_secs(2);
/// How long the lines of one reload can arrive after each other.
const RELOAD_TIME: Duration = Duration::from_secs(10);
/// The method of these requests, by which their lines are known.
pub(crate) const PROBE: &str = "PROBE";
/// The timeout of an invocation, longer than a function's timeout in the template.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of a request, as API Gateway's.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The code of a request to a function that does not respond.
const NOT_READY: &str = "function_not_ready";

/// Invokes functions as AWS's services do, once they respond.
#[derive(Clone)]
pub(crate) struct Invoker {
    http: reqwest::Client,
    proxy: Proxy,
    /// Where cargo-lambda listens.
    pub(crate) address: SocketAddr,
    functions: Arc<BTreeMap<String, Invoked>>,
    /// Whether one was broken since all responded.
    has_failed: Arc<AtomicBool>,
    /// Set if their processes belong to this stack.
    processes: Arc<OnceLock<Processes>>,
}

/// The processes of the functions.
struct Processes {
    logs: Arc<Logs>,
    /// Whether a function has one.
    runs: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A function that is invoked.
struct Invoked {
    readiness: watch::Sender<Readiness>,
    /// For the invocations that may wait in cargo-lambda.
    slots: Arc<Semaphore>,
    probe: Probe,
    is_probed: AtomicBool,
    /// Whether it has had a process.
    has_run: AtomicBool,
}

/// Whether a function responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// It starts, or its changed code compiles, since then.
    Starting(Instant),
    /// It cannot respond until its code changes, since then.
    Broken(Instant, Fault),
    Ready,
}

/// Why a function cannot respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    DoesNotCompile,
    HasEnded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DoesNotCompile => "does not compile",
            Self::HasEnded => "has ended",
        })
    }
}

impl Readiness {
    /// Whether the function has changed after a time.
    fn has_changed_since(self, time: Instant) -> bool {
        matches!(self, Self::Starting(since) | Self::Broken(since, _) if since > time)
    }

    fn is_broken_within(self, time: Duration) -> bool {
        matches!(self, Self::Broken(since, _) if since.elapsed() < time)
    }
}

/// What a function responds to without any effect.
enum Probe {
    EmptyBatch,
    Url(String),
}

impl Invoker {
    pub(crate) fn to(address: SocketAddr, template: &Template) -> Result<Self> {
        let functions = template.functions.iter().map(|function| {
            let probe = Probe::of(function, address, template);
            let slots = Arc::new(Semaphore::new(MAX_WAITING));
            let readiness = watch::Sender::new(Readiness::Ready);
            let (is_probed, has_run) = (AtomicBool::new(false), AtomicBool::new(false));
            (function.binary.clone(), Invoked { readiness, slots, probe, is_probed, has_run })
        });
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            proxy: Proxy::to(address),
            address,
            functions: Arc::new(functions.collect()),
            has_failed: Arc::default(),
            processes: Arc::default(),
        })
    }

    fn function(&self, name: &str) -> Result<&Invoked> {
        self.functions.get(name).with_context(|| format!("there is no function {name}"))
    }

    /// A function's response to an event. Waits until the function responds at all.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let invoked = self.function(function)?;
        invoked.readiness.subscribe().wait_for(|readiness| *readiness == Readiness::Ready).await?;
        let slot = Arc::clone(&invoked.slots).acquire_owned().await?;
        let response = timeout(INVOCATION_TIMEOUT, hold(slot, self.clone().post(function.to_owned(), event.clone())));
        response.await.context("the function does not respond")??
    }

    async fn post(self, function: String, event: Value) -> Result<Value> {
        let url = format!("http://{}/2015-03-31/functions/{function}/invocations", self.address);
        let response = self.http.post(url).json(&event).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "the function failed: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// A function's response to a request for a path, as API Gateway returns it.
    pub(crate) async fn forward(&self, function: &str, request: Request, path: String) -> Response {
        let is_known = |readiness: &Readiness| !matches!(readiness, Readiness::Starting(_));
        let respond = async {
            let invoked = self.function(function)?;
            let mut readiness = invoked.readiness.subscribe();
            if let Readiness::Broken(_, fault) = *readiness.wait_for(is_known).await? {
                bail!("{function} {fault}");
            }
            let slot = Arc::clone(&invoked.slots).acquire_owned().await?;
            let proxy = self.proxy.clone();
            let is_broken = |readiness: &Readiness| matches!(readiness, Readiness::Broken(..));
            tokio::select! {
                biased;
                response = hold(slot, async move { proxy.send(request, &path).await }) => response,
                // A process that has ended has taken the request with it.
                broken = readiness.wait_for(is_broken) => match *broken? {
                    Readiness::Broken(_, fault) => bail!("{function} {fault}"),
                    _ => bail!("{function} does not respond"),
                },
            }
        };
        let response = timeout(REQUEST_TIMEOUT, respond).await.unwrap_or_else(|_| {
            // It may respond to others.
            let is_ready = self.function(function).is_ok_and(|known| *known.readiness.borrow() == Readiness::Ready);
            if is_ready {
                self.probe(function, Readiness::Starting(Instant::now()));
            }
            Err(anyhow!("{function} does not respond"))
        });
        response.unwrap_or_else(|error| {
            let detail = format!("{error:#}. See the output of `make run`.");
            let problem = problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", NOT_READY, &detail);
            Rejected { code: NOT_READY, cause: Some(error.to_string()) }.with(problem)
        })
    }

    /// The functions that do not respond, and why, as far as it is known.
    pub(crate) fn starting(&self) -> Vec<(&str, String)> {
        let functions = self.functions.iter().filter_map(|(name, function)| match *function.readiness.borrow() {
            Readiness::Ready => None,
            Readiness::Starting(_) => Some((name.as_str(), "does not respond".to_owned())),
            Readiness::Broken(_, fault) => Some((name.as_str(), fault.to_string())),
        });
        functions.collect()
    }

    /// Waits until every function responds.
    pub(crate) async fn ready(&self) {
        // One that responded can have stopped while another started.
        while !self.starting().is_empty() {
            for function in self.functions.values() {
                // The sender lives as long as this.
                let _ = function.readiness.subscribe().wait_for(|readiness| *readiness == Readiness::Ready).await;
            }
        }
    }

    /// Keeps requests from functions whose code has changed until they respond again, and then greets. `runs` says whether
    /// a function has a process.
    pub(crate) async fn follow(
        self,
        mut changes: UnboundedReceiver<Change>,
        logs: Arc<Logs>,
        runs: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) {
        // Only once.
        drop(self.processes.set(Processes { logs: Arc::clone(&logs), runs: Box::new(runs) }));
        let (mut has_changed, mut greeted) = (false, None);
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = self.ready(), if has_changed => {
                    has_changed = false;
                    let is_other_reload = greeted.is_none_or(|greeted: Instant| greeted.elapsed() > RELOAD_TIME);
                    if self.has_failed.swap(false, Ordering::AcqRel) || is_other_reload {
                        logs.greet_again();
                    }
                    greeted = Some(Instant::now());
                    continue;
                }
            };
            let Some(change) = change else { return };
            has_changed = true;
            match change {
                Change::Stopped => self.restart(),
                Change::Ended(status) => {
                    for name in self.functions.keys() {
                        self.notice_end(name, Some(&status));
                    }
                }
                Change::Broken(package) => {
                    // Other packages are part of every function.
                    let is_affected = |name: &String| *name == package || !self.functions.contains_key(&package);
                    for name in self.functions.keys().filter(|name| is_affected(name)) {
                        self.probe(name, Readiness::Broken(Instant::now(), Fault::DoesNotCompile));
                    }
                }
            }
        }
    }

    /// Marks a function as ended if it has no process. cargo-lambda starts one only when code changes.
    fn notice_end(&self, name: &str, status: Option<&str>) {
        let (Ok(function), Some(processes)) = (self.function(name), self.processes.get()) else { return };
        let is_broken = matches!(*function.readiness.borrow(), Readiness::Broken(..));
        let runs = (processes.runs)(name);
        // Without a status, it may not have started yet.
        let has_run = function.has_run.fetch_or(runs, Ordering::AcqRel) || status.is_some();
        if has_run && !runs && !is_broken {
            self.probe(name, Readiness::Broken(Instant::now(), Fault::HasEnded));
            let status = status.map(|status| format!(" with status {status}")).unwrap_or_default();
            let message = format!("{name} has ended{status}. Correct and save its code, or start the stack again.\n");
            processes.logs.print(&message);
        }
    }

    /// Waits for the response of every function in the background.
    pub(crate) fn restart(&self) {
        for (name, function) in self.functions.iter() {
            // cargo-lambda can say later that a process was stopped than that the code does not compile.
            let readiness = *function.readiness.borrow();
            if !readiness.is_broken_within(RELOAD_TIME) {
                self.probe(name, Readiness::Starting(Instant::now()));
            }
        }
    }

    /// Sets a function's readiness until it responds.
    fn probe(&self, name: &str, until: Readiness) {
        let Ok(function) = self.function(name) else { return };
        if matches!(until, Readiness::Broken(..)) {
            self.has_failed.store(true, Ordering::Release);
        }
        function.readiness.send_replace(until);
        // Only one probe waits in cargo-lambda.
        if !function.is_probed.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().wait(name.to_owned()));
        }
    }

    async fn wait(self, name: String) {
        let Ok(function) = self.function(&name) else { return };
        let readiness = || *function.readiness.borrow();
        let (responded, mut responses) = unbounded_channel();
        let mut interval = PROBE_INTERVAL;
        loop {
            // Some of its processes can still run that the next change stops.
            while readiness().is_broken_within(SETTLING_TIME) {
                sleep(PROBE_INTERVAL).await;
            }
            let (began, invoker, responded) = (Instant::now(), self.clone(), responded.clone());
            let probed = name.clone();
            // Not ended by a timeout: a function fails whose response is not accepted.
            tokio::spawn(async move {
                while !invoker.responds(&probed).await {
                    sleep(Duration::from_millis(50)).await;
                }
                // Another has been faster.
                let _ = responded.send(began);
            });
            match timeout(interval, responses.recv()).await {
                Ok(Some(began)) if !readiness().has_changed_since(began) => break,
                Ok(_) => {}
                // A process that has ended has taken the request with it, or the request still waits.
                Err(_) => {
                    self.notice_end(&name, None);
                    interval *= 2;
                }
            }
        }
        function.has_run.store(true, Ordering::Release);
        function.is_probed.store(false, Ordering::Release);
        function.readiness.send_replace(Readiness::Ready);
    }

    /// Whether a function responds itself. At first nothing listens, and then the request waits for the function.
    async fn responds(&self, name: &str) -> bool {
        let Ok(function) = self.function(name) else { return false };
        match &function.probe {
            Probe::EmptyBatch => self.clone().post(name.to_owned(), json!({ "Records": [] })).await.is_ok(),
            Probe::Url(url) => {
                let Ok(method) = Method::from_bytes(PROBE.as_bytes()) else { return false };
                let response = self.http.request(method, url).send().await;
                // Responses of cargo-lambda do not have it.
                response.is_ok_and(|response| response.headers().contains_key(CACHE_CONTROL))
            }
        }
    }
}

impl Probe {
    fn of(function: &Function, address: SocketAddr, template: &Template) -> Self {
        if template.event_sources.iter().any(|source| source.function == function.binary) {
            Self::EmptyBatch
        } else {
            let slash = if function.has_url { "" } else { "/" };
            Self::Url(format!("http://{address}{}{slash}", url_path(&function.binary)))
        }
    }
}

/// Runs an invocation to its end, even if its client goes away: until then, it can wait in cargo-lambda.
async fn hold<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    invocation: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let invocation = tokio::spawn(async move {
        let response = timeout(SLOT_TIMEOUT, invocation).await;
        drop(slot);
        response
    });
    Ok(invocation.await??)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
pub(crate) mod tests {
    use axum::{Json, Router, extract::Path, response::IntoResponse, routing::post};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{clerk::Clerk, logs};

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
        Invoker::to(address, &Template::load().expect("the template is valid")).expect("a client")
    }

    async fn forward(invoker: &Invoker, function: &str) -> StatusCode {
        let request = Request::new(axum::body::Body::empty());
        invoker.forward(function, request, url_path(function)).await.status()
    }

    #[tokio::test]
    async fn requests_wait_for_changed_functions_unless_they_do_not_compile() {
        let (responding, is_responding) = watch::channel(true);
        let respond = async move || {
            let _ = is_responding.clone().wait_for(|is_responding| *is_responding).await;
            ([(CACHE_CONTROL, "no-store")], "{}")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(respond)).await });
        let invoker = Invoker::to(address, &Template::load().expect("the template is valid")).expect("a client");
        let folder = tempfile::tempdir().expect("a folder");
        let clerk = Clerk::load(folder.path(), String::new(), Vec::new(), String::new()).expect("a new instance");
        let logs = Logs::new(logs::Format::Text, clerk);
        let (changes, changed) = unbounded_channel();
        tokio::spawn(invoker.clone().follow(changed, logs, |name| name != "profile"));

        let is_broken = |readiness: &Readiness| matches!(readiness, Readiness::Broken(..));
        responding.send_replace(false);
        changes.send(Change::Stopped).expect("it follows");
        changes.send(Change::Broken("chats".to_owned())).expect("it follows");
        let mut readiness = invoker.function("chats").expect("a function").readiness.subscribe();
        readiness.wait_for(is_broken).await.expect("it is broken");
        assert_eq!(forward(&invoker, "chats").await, StatusCode::SERVICE_UNAVAILABLE);
        let waiting = tokio::spawn({
            let invoker = invoker.clone();
            async move { forward(&invoker, "profile").await }
        });
        assert!(timeout(Duration::from_millis(200), invoker.ready()).await.is_err());
        assert!(!waiting.is_finished() && invoker.starting().len() == invoker.functions.len());

        responding.send_replace(true);
        assert_eq!(waiting.await.expect("it does not panic"), StatusCode::OK);
        invoker.ready().await;
        assert_eq!(forward(&invoker, "chats").await, StatusCode::OK);

        // Other packages are part of every function. The line of a stop can be late.
        responding.send_replace(false);
        let in_flight = tokio::spawn({
            let invoker = invoker.clone();
            async move { forward(&invoker, "chats").await }
        });
        while invoker.function("chats").expect("a function").slots.available_permits() == MAX_WAITING {
            tokio::task::yield_now().await;
        }
        changes.send(Change::Broken("store".to_owned())).expect("it follows");
        readiness.wait_for(is_broken).await.expect("it is broken");
        changes.send(Change::Stopped).expect("it follows");
        assert_eq!(forward(&invoker, "profile").await, StatusCode::SERVICE_UNAVAILABLE);
        let in_flight = timeout(REQUEST_TIMEOUT / 2, in_flight).await.expect("it does not wait for its timeout");
        assert_eq!(in_flight.expect("it does not panic"), StatusCode::SERVICE_UNAVAILABLE);

        responding.send_replace(true);
        invoker.ready().await;
        responding.send_replace(false);
        changes.send(Change::Ended("ExitStatus(1)".to_owned())).expect("it follows");
        let mut readiness = invoker.function("profile").expect("a function").readiness.subscribe();
        readiness.wait_for(is_broken).await.expect("it is broken");
        assert_eq!(forward(&invoker, "profile").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(invoker.starting(), [("profile", "has ended".to_owned())], "the others run");
    }

    #[tokio::test]
    async fn only_some_invocations_wait_in_cargo_lambda() {
        let (arrived, mut arrivals) = unbounded_channel();
        let invoker = lambda(move |_, _| {
            arrived.send(()).expect("counted");
            std::future::pending()
        })
        .await;
        for _ in 0..MAX_WAITING + 10 {
            let invoker = invoker.clone();
            // Their clients go away.
            let sent = timeout(Duration::from_millis(10), async move { invoker.invoke("chats", &json!({})).await });
            drop(sent.await);
        }
        for _ in 0..MAX_WAITING {
            timeout(REQUEST_TIMEOUT, arrivals.recv()).await.expect("it arrives");
        }
        assert!(timeout(Duration::from_millis(200), arrivals.recv()).await.is_err(), "the others wait");
    }
}
