//! Accepts WebSocket connections of signed-in users, on which `live-notify` announces their changes.

use std::process::ExitCode;

use api::{Auth, Problem, ReadSession, connect};
use axum::{
    Extension, Router,
    extract::{FromRef, State},
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use store::{Accounts, Connections, NewConnection};

#[derive(Clone, FromRef)]
struct Context {
    auth: Auth,
    connections: Connections,
}

fn main() -> ExitCode {
    api::run("live_connect", async |environment| {
        environment.get::<Accounts>()?.connect().await;
        let context = Context { auth: environment.get()?, connections: environment.get()? };
        Ok(Router::new().route(connect::PATH, get(open)).with_state(context))
    })
}

/// Stores the connection before it checks the session, so that an end of the session is noticed by one of the two.
async fn open(
    session: ReadSession,
    State(connections): State<Connections>,
    Extension(connection): Extension<NewConnection>,
) -> Result<[(HeaderName, HeaderValue); 1], Problem> {
    let connection = connections.open(&session, connection).await?;
    let check = session.check().await.map_err(Problem::from);
    let accepted = check.and_then(|()| {
        if connection.is_too_late() {
            Err(Problem::unavailable("the connection was announced too long ago"))
        } else {
            Ok(())
        }
    });
    if let Err(problem) = accepted {
        if let Err(error) = connections.remove(&connection).await {
            tracing::warn!(%error, "the row of a refused connection stays until it expires");
        }
        return Err(problem);
    }
    Ok([(header::SEC_WEBSOCKET_PROTOCOL, connect::PROTOCOL)])
}
