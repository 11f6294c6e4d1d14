#[cfg(debug_assertions)]
use std::io::Write;
use std::{any::type_name_of_val, process::ExitCode, sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{FromRef, Request},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use clerk_auth::ConfigError;
use lambda_http::Adapter;
use lambda_runtime::{
    Context, LambdaEvent, Runtime, service_fn,
    tower::{Service as _, ServiceExt, layer::layer_fn},
};
use mimalloc::MiMalloc;
use serde::{Serialize, de::IgnoredAny};
use store::{Batch, Database, Streams};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    Auth, BatchOutcome, Code, Environment, FromEnvironment, JobOutcome, Problem,
    connect::{self, ConnectResponse},
    events, log, var,
};

/// The allocator of every function. The SDK allocates often: with glibc's allocator a request takes 10% more CPU time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs a function that serves signed-in users until Lambda ends it. Its state comes from the environment.
///
/// A function with an invalid configuration does not start. Its log names the variable.
pub fn serve<S>(router: impl FnOnce() -> OpenApiRouter<S>) -> ExitCode
where
    S: FromEnvironment + Clone + Send + Sync + 'static,
    Auth: FromRef<S>,
{
    // For the test that writes docs/openapi.json.
    #[cfg(debug_assertions)]
    if std::env::args().nth(1).as_deref() == Some("--openapi") {
        return print_openapi(router().into_openapi());
    }
    // The type of a function such as `chats::router` begins with the name of its crate.
    let name = crate_name(type_name_of_val(&router));
    run(name, async |environment| {
        let state: S = environment.get()?;
        // While a function starts, Lambda gives it a whole processor, so that TLS costs the first request nothing.
        Auth::from_ref(&state).accounts.connect().await;
        let (router, _) = router().split_for_parts();
        Ok(router.with_state(state))
    })
}

#[cfg(debug_assertions)]
fn print_openapi(document: utoipa::openapi::OpenApi) -> ExitCode {
    match document.to_json().map(|document| std::io::stdout().write_all(document.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn crate_name(type_name: &str) -> &str {
    type_name.split("::").next().unwrap_or_default()
}

/// Runs a function that serves requests until Lambda ends it. `crate_name` is the crate whose messages are logged at the
/// function's level.
///
/// A function with an invalid configuration does not start. Its log names the variable.
pub fn run(crate_name: &str, router: impl AsyncFnOnce(Environment) -> Result<Router, ConfigError>) -> ExitCode {
    start(crate_name, async |environment| {
        // Opening the connections makes large futures, which are of no use later.
        let service = finish(Box::pin(router(environment)).await?);
        let handler = service_fn(move |event: LambdaEvent<()>| respond(service.clone(), event.context));
        // Without lambda_runtime's span around each request: the one line of a request has all that it would say.
        Ok(Runtime::new(handler).layer(layer_fn(events::RawEvents)).run_concurrent().await)
    })
}

/// Runs a function that consumes batches of stream records until Lambda ends it, as [`run`] does.
pub fn consume<C, F>(crate_name: &str, consumer: impl AsyncFnOnce(&Environment) -> Result<C, ConfigError>) -> ExitCode
where
    C: Fn(Batch) -> F + Send + Sync + 'static,
    F: Future<Output = BatchOutcome> + Send + 'static,
{
    start(crate_name, async |environment| {
        let shared = Arc::new((environment.get::<Streams>()?, consumer(&environment).await?));
        let handler = service_fn(move |event: LambdaEvent<()>| {
            let shared = Arc::clone(&shared);
            async move {
                let (streams, consumer) = &*shared;
                let batch = events::RAW.with(|event| streams.read(event));
                let batch = batch.inspect_err(|error| tracing::error!(%error, "a batch is not consumed"))?;
                Ok::<_, lambda_runtime::Error>(log::batch(event.context, batch, consumer).await)
            }
        });
        Ok(Runtime::new(handler).layer(layer_fn(events::RawEvents)).run_concurrent().await)
    })
}

/// Runs a function that a schedule invokes until Lambda ends it, as [`run`] does. `job` gets the time at which Lambda ends
/// the invocation. If it fails, so does the invocation, which Lambda then repeats.
pub fn job(crate_name: &str, job: impl AsyncFn(SystemTime) -> JobOutcome) -> ExitCode {
    start(crate_name, async |_| {
        let handler = service_fn(|event: LambdaEvent<IgnoredAny>| log::job(event.context, &job));
        Ok(lambda_runtime::run(handler).await)
    })
}

/// Starts a function: logging, the asynchronous runtime, the environment.
fn start(
    crate_name: &str,
    run: impl AsyncFnOnce(Environment) -> Result<Result<(), lambda_runtime::Error>, ConfigError>,
) -> ExitCode {
    log::init(crate_name);
    let function = log::function_name();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, function, "the runtime does not start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(Environment::new(Database::from_env(var), var))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(%error, function, "the function lost its connection to Lambda");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(%error, function, "the function is not configured");
            ExitCode::FAILURE
        }
    }
}

/// The response to the current task's event.
async fn respond(mut service: Router, context: Context) -> Result<impl Serialize, lambda_runtime::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Reply<R> {
        Http(R),
        Connect(ConnectResponse),
    }
    match events::RAW.with(|event| events::request(event)) {
        Ok((request, mut problem)) => {
            let service = service.map_request(move |mut request: lambda_http::Request| {
                if let Some(problem) = problem.take() {
                    request.extensions_mut().insert(problem);
                }
                request
            });
            let response = Adapter::from(service).call(LambdaEvent::new(request, context));
            let Ok(response) = response.await;
            Ok(Reply::Http(response))
        }
        Err(error) => {
            let mut request = events::RAW.with(|event| connect::request(event)).ok_or(error)?;
            request.extensions_mut().insert(context);
            let Ok(response) = service.call(request).await;
            Ok(Reply::Connect(response.into()))
        }
    }
}

/// Responds with a problem where no route or method matches, and logs every request.
fn finish(service: Router) -> Router {
    service
        .fallback(async || Problem::new(Code::RouteNotFound, "No such path."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "This path does not accept this method. The Allow header lists those it accepts.",
            )
        })
        .layer(middleware::from_fn(log::request))
        .layer(middleware::from_fn(preflight))
}

/// Middleware: responds to a CORS preflight, to which API Gateway adds the headers. It has no token, and the browser
/// needs a success whatever the path.
async fn preflight(request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return StatusCode::NO_CONTENT.into_response();
    }
    next.run(request).await
}
