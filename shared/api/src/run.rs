#[cfg(debug_assertions)]
use std::io::Write;
use std::{any::type_name_of_val, process::ExitCode};

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
    LambdaEvent, Runtime, service_fn,
    tower::{Service as _, ServiceExt, layer::layer_fn},
};
use mimalloc::MiMalloc;
use store::Database;
use utoipa_axum::router::OpenApiRouter;

use crate::{Auth, Code, Environment, FromEnvironment, Problem, events, log, var};

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

/// Runs a function until Lambda ends it. `crate_name` is the crate whose messages are logged at the function's level.
///
/// A function with an invalid configuration does not start. Its log names the variable.
pub fn run(crate_name: &str, router: impl AsyncFnOnce(Environment) -> Result<Router, ConfigError>) -> ExitCode {
    log::init(crate_name);
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve_events(router)),
        Err(error) => {
            tracing::error!(%error, "the runtime does not start");
            ExitCode::FAILURE
        }
    }
}

async fn serve_events(router: impl AsyncFnOnce(Environment) -> Result<Router, ConfigError>) -> ExitCode {
    // Boxed, since opening the connections takes large futures, whose memory is free again afterwards.
    let service = match Box::pin(router(Environment::new(Database::from_env(var), var))).await {
        Ok(service) => finish(service),
        Err(error) => {
            tracing::error!(%error, "the function is not configured");
            return ExitCode::FAILURE;
        }
    };
    let handler = service_fn(move |event: LambdaEvent<()>| {
        let service = service.clone();
        async move {
            let (request, mut problem) = events::RAW.with(|event| events::request(event))?;
            let service = service.map_request(move |mut request: lambda_http::Request| {
                if let Some(problem) = problem.take() {
                    request.extensions_mut().insert(problem);
                }
                request
            });
            let response = Adapter::from(service).call(LambdaEvent::new(request, event.context));
            let Ok(response) = response.await;
            Ok::<_, lambda_runtime::Error>(response)
        }
    });
    // Without lambda_runtime's span around each request: the request's log line has the same fields.
    match Runtime::new(handler).layer(layer_fn(events::RawEvents)).run_concurrent().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function lost its connection to Lambda");
            ExitCode::FAILURE
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
