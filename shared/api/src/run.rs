use std::{any::type_name_of_val, process::ExitCode};

use axum::{
    Router,
    extract::Request,
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

use crate::{Code, Problem, context, events, log};

/// Of every function. The SDK allocates much: with glibc's allocator a request takes a tenth more of the processor.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What a function serves, once it is configured.
pub type Service = Router;

/// Runs a function: `build` configures it, then it answers events until Lambda ends it.
///
/// What `build` lacks is logged by name, and the function does not start.
pub async fn run(build: impl AsyncFnOnce() -> Result<Service, ConfigError>) -> ExitCode {
    // The closure's type begins with the name of the crate that wrote it.
    log::init(type_name_of_val(&build).split("::").next().unwrap_or_default());
    // Opening the connections makes large futures, which are of no use later.
    let service = match Box::pin(build()).await {
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
    // Without lambda_runtime's span around each request: the one line of a request has all that it would say.
    match Runtime::new(handler).layer(layer_fn(events::RawEvents)).run_concurrent().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function lost its connection to Lambda");
            ExitCode::FAILURE
        }
    }
}

/// Answers in the API's own form where no route or method fits, lets no answer out to whom it is not due, and logs
/// every request.
fn finish(service: Service) -> Service {
    service
        .fallback(async || Problem::new(Code::RouteNotFound, "No such path."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "This path does not accept this method. The Allow header lists those it accepts.",
            )
        })
        .layer(middleware::from_fn(context::gate))
        .layer(middleware::from_fn(log::request))
        .layer(middleware::from_fn(preflight))
}

/// Middleware: answers a CORS preflight, to which API Gateway adds the headers. It carries no token, and a browser needs
/// a success whatever the path.
async fn preflight(request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return StatusCode::NO_CONTENT.into_response();
    }
    next.run(request).await
}
