//! The Next.js application in place of the example application. Its server listens where web pages cannot reach it, and the
//! stack forwards requests to it.

use std::{future::pending, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

use crate::{clerk::Clerk, functions::workspace, proxy::hidden_listener};

/// If it is set, the application uses this instance of Clerk.
pub(crate) const PUBLISHABLE_KEY: &str = "NEXT_PUBLIC_CLERK_PUBLISHABLE_KEY";

/// The program of the server. `next start` would take an IP address of the loopback interface for another host than that of
/// the pages, and would forward requests to it.
const PROGRAM: &str = include_str!("next.mjs");

/// How long the server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A server of the built application.
pub(crate) struct Next {
    pub(crate) address: SocketAddr,
    process: Child,
    /// The server ends with it, however this program ends.
    _input: Option<ChildStdin>,
}

impl Next {
    /// Starts the server of pages on `web_port`, which use the API at `api`, the WebSocket API at `live` and Clerk's Backend
    /// API at `backend`, and waits until it listens.
    pub(crate) async fn start(web_port: u16, api: &str, live: &str, backend: &str, clerk: &Clerk) -> Result<Self> {
        let node = workspace().join(".tools/node/bin/node");
        let built = workspace().join("web/next/.next/BUILD_ID");
        if let Some(missing) = [&node, &built].into_iter().find(|path| !path.exists()) {
            bail!("{} is missing. Run `make run NEXT=1`, which makes it", missing.display());
        }
        // Next.js accepts no listener, so this one makes room for its own.
        let address = hidden_listener().await?.local_addr()?;
        let mut command = Command::new(node);
        if std::env::var_os(PUBLISHABLE_KEY).is_none() {
            command
                .env(PUBLISHABLE_KEY, clerk.publishable_key())
                .env("NEXT_PUBLIC_CLERK_PROXY_URL", "/clerk")
                .env("CLERK_SECRET_KEY", &clerk.secrets().secret_key)
                .env("CLERK_API_URL", backend);
        }
        let mut process = command
            .args(["--input-type=module", "--eval", PROGRAM])
            .current_dir(workspace().join("web/next"))
            .env("NODE_ENV", "production")
            .env("HOST", address.ip().to_string())
            .env("PORT", address.port().to_string())
            .env("WEB_PORT", web_port.to_string())
            .env("API_URL", api)
            .env("LIVE_URL", live)
            .env("NEXT_TELEMETRY_DISABLED", "1")
            .stdin(Stdio::piped())
            // An interrupt of the terminal ends only this program, which then ends the server.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("node cannot be started")?;
        let input = process.stdin.take();
        let mut server = Self { address, process, _input: input };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            listens = timeout(START_TIMEOUT, listening) => listens.context("Next.js does not respond")?,
            error = server.ended() => return Err(error),
        }
        Ok(server)
    }

    /// Waits until the server ends, and returns that as an error.
    async fn ended(&mut self) -> anyhow::Error {
        match self.process.wait().await {
            Ok(status) => anyhow!("Next.js has stopped ({status}). See its output above"),
            Err(error) => error.into(),
        }
    }
}

/// Waits until the server ends, if there is one, and returns that as an error.
pub(crate) async fn ended(server: Option<&mut Next>) -> anyhow::Error {
    match server {
        Some(server) => server.ended().await,
        None => pending().await,
    }
}
