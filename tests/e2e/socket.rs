//! Clients of a WebSocket API.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::sample::Sample;

/// The limit for a message.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open connection.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects with these headers, or returns the status of the rejection.
    pub(crate) async fn connect(url: &str, headers: &[(&'static str, String)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects as the client library does.
    pub(crate) async fn with_token(url: &str, token: &str) -> Result<Self, u16> {
        Self::connect(url, &[("sec-websocket-protocol", format!("live.v1, bearer.{token}"))]).await
    }

    pub(crate) async fn message(&mut self) -> Message {
        let message = timeout(TIMEOUT, self.0.next()).await.expect("in time");
        message.expect("a message").expect("the connection holds")
    }

    /// The changes of the next message.
    pub(crate) async fn changes(&mut self) -> Vec<Value> {
        let Message::Text(text) = self.message().await else { panic!("a message of another kind") };
        changes(&text)
    }

    /// Waits for a change.
    pub(crate) async fn receives(&mut self, change: &Value) {
        while !self.changes().await.contains(change) {}
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closes(&mut self) {
        while !matches!(self.message().await, Message::Close(_)) {}
    }
}

/// The changes of a message.
pub(crate) fn changes(text: &str) -> Vec<Value> {
    let message: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(message.as_object().map(serde_json::Map::len), Some(1), "{message}");
    message["changes"].as_array().unwrap_or_else(|| panic!("no changes: {message}")).clone()
}

/// The change that a message has for an item.
pub(crate) fn change(sample: &Sample, id: &Value, version: &Value) -> Value {
    let (route, path) = (sample.route.split('/'), sample.path.split('/'));
    let parents: Vec<_> = route.zip(path).filter(|(name, _)| name.starts_with('{')).map(|(_, id)| id).collect();
    let mut change = json!({ "of": sample.route.rsplit('/').next(), "id": id, "version": version });
    if !parents.is_empty() {
        change["parents"] = json!(parents);
    }
    change
}
