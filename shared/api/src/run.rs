use std::process::ExitCode;

use axum::{Router, middleware};
use clerk_auth::ConfigError;
use lambda_http::{Adapter, LambdaEvent, Service as _, service_fn};
use lambda_runtime::Runtime;
use mimalloc::MiMalloc;
use serde_json::value::RawValue;

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
    log::init();
    // Opening the connections makes large futures, which are of no use later.
    let service = match Box::pin(build()).await {
        Ok(service) => finish(service),
        Err(error) => {
            tracing::error!(%error, "the function is not configured");
            return ExitCode::FAILURE;
        }
    };
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let service = service.clone();
        async move {
            let request = events::request(event.payload.get())?;
            let answer = Adapter::from(service).call(LambdaEvent::new(request, event.context));
            let Ok(answer) = answer.await;
            Ok::<_, lambda_runtime::Error>(answer)
        }
    });
    // Without lambda_runtime's span around each request: the one line of a request has all that it would say.
    match Runtime::new(handler).run_concurrent().await {
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
        .fallback(async || Problem::new(Code::NoSuchPath, "There is nothing at this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "This path does not take this method; the header Allow lists those it does.",
            )
        })
        .layer(middleware::from_fn(context::gate))
        .layer(middleware::from_fn(log::request))
}
