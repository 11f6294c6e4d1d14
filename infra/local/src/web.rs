//! The example application: built by Vite for this stack, and served with the development Clerk under `/clerk`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use tokio::{net::TcpListener, process::Command, task::JoinHandle};
use tower_http::services::{ServeDir, ServeFile};

use crate::{
    clerk::Clerk,
    functions::workspace,
    guard::Guard,
    logs::{self, Logs},
};

/// Where `make` installs the packages with the scripts of Clerk's SDK and components.
const CLERK_PACKAGES: &str = ".tools/clerk-browser/node_modules";

/// If it is set, the application uses this instance of Clerk.
pub(crate) const PUBLISHABLE_KEY: &str = "VITE_CLERK_PUBLISHABLE_KEY";

/// The issuer in the publishable key that the variable `name` has: `pk_test_` or `pk_live_`, and in base64 a host and a
/// dollar sign.
pub(crate) fn issuer(name: &str, key: &str) -> Result<String> {
    let encoded = key.strip_prefix("pk_test_").or_else(|| key.strip_prefix("pk_live_"));
    let host = encoded.and_then(|encoded| BASE64_STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok());
    let host = host.and_then(|host| String::from_utf8(host).ok());
    let host = host.as_deref().and_then(|host| host.strip_suffix('$'));
    let host = host.with_context(|| format!("{name} is not a publishable key of Clerk"))?;
    Ok(format!("https://{host}"))
}

/// Builds the application, which is to use the API at `api` and the WebSocket API at `live`, into a folder of the stack's
/// data.
pub(crate) async fn build(folder: &Path, api: &str, live: &str, clerk: &Clerk) -> Result<PathBuf> {
    let node = workspace().join(".tools/node/bin/node");
    let vite = workspace().join("web/node_modules/vite/bin/vite.js");
    let scripts = workspace().join(CLERK_PACKAGES);
    if let Some(missing) = [&node, &vite, &scripts].into_iter().find(|path| !path.exists()) {
        bail!("{} is missing. Run `make run`, which installs it", missing.display());
    }
    let built = folder.join("web");
    let mut command = Command::new(node);
    if std::env::var_os(PUBLISHABLE_KEY).is_none() {
        command.env(PUBLISHABLE_KEY, clerk.publishable_key()).env("VITE_CLERK_PROXY_URL", "/clerk");
    }
    let output = command
        .arg(vite)
        .args(["build", "--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(std::path::absolute(&built)?)
        .current_dir(workspace().join("web/app"))
        .env("VITE_API_URL", api)
        .env("VITE_LIVE_URL", live)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("node cannot be started")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the application does not build:\n{errors}");
    Ok(built)
}

/// Serves a router to pages of `origins`, with the development Clerk, until the task is dropped or aborted.
pub(crate) fn serve(
    listener: TcpListener,
    application: Router,
    clerk: &Arc<Clerk>,
    origins: Vec<String>,
    logs: &Arc<Logs>,
) -> Result<JoinHandle<std::io::Result<()>>> {
    let router = with_clerk(listener.local_addr()?.port(), application, clerk, origins);
    let router = router.layer(middleware::from_fn_with_state(Arc::clone(logs), logs::note));
    Ok(tokio::spawn(async move { axum::serve(listener, router).await }))
}

/// The built application, with the headers of a deployment. It handles all paths except those of files.
pub(crate) fn router(built: &Path) -> Result<Router> {
    // Without folders: the redirect to a folder's path with a slash would make `//assets` another host.
    let files = ServeDir::new(built).append_index_html_on_directories(false);
    let files = files.fallback(ServeFile::new(built.join("index.html")));
    Ok(Router::new().fallback_service(files).layer(middleware::map_response_with_state(headers(built)?, with_headers)))
}

/// An application on a port, and the development Clerk under `/clerk`.
pub(crate) fn with_clerk(port: u16, application: Router, clerk: &Arc<Clerk>, origins: Vec<String>) -> Router {
    let router = Router::new()
        .nest("/clerk", clerk.frontend(&workspace().join(CLERK_PACKAGES)))
        .fallback_service(application)
        .layer(middleware::from_fn(with_defaults));
    Guard::web(port, origins).layer(router)
}

/// The headers of every response, from the file `_headers` of static hosts: a pattern of paths, and below it an indented
/// line for each header.
fn headers(built: &Path) -> Result<HeaderMap> {
    let file = built.join("_headers");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .map(|line| {
            let (name, value) = line.split_once(": ").with_context(|| format!("`{line}` is not a header"))?;
            Ok((name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?))
        })
        .collect()
}

async fn with_headers(State(headers): State<HeaderMap>, mut response: Response) -> Response {
    response.headers_mut().extend(headers);
    response
}

/// Prevents other pages from embedding these, and makes browsers revalidate files that the next build may replace. Files
/// with a hash in their name are cached.
async fn with_defaults(request: Request, next: Next) -> Response {
    let caching =
        if request.uri().path().starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::issuer;

    #[test]
    fn a_publishable_key_names_its_issuer() {
        let found = issuer("KEY", "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k").ok();
        assert_eq!(found.as_deref(), Some("https://clerk.example.com"));
        for key in ["", "sk_test_Y2xlcmsuZXhhbXBsZS5jb20k", "pk_test_", "pk_test_Y2xlcms", "pk_test_?"] {
            assert!(issuer("KEY", key).is_err(), "{key}");
        }
    }
}
