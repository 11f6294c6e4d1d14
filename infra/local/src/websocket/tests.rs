#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Error,
        client::IntoClientRequest,
        error::{ProtocolError, SubProtocolError},
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::*;
use crate::invoker::tests::lambda;

const KEY: &str = "LOCALKEY";
const ORIGIN: &str = "http://localhost:3000";

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A served WebSocket API.
struct Api {
    port: u16,
    /// The events of `$connect`, in order.
    events: mpsc::UnboundedReceiver<Value>,
}

impl Api {
    /// The function responds to `$connect` with this.
    async fn start(limits: Limits, response: Result<Value, Value>) -> Self {
        let (connecting, events) = mpsc::unbounded_channel();
        let functions = lambda(move |function, event: Value| {
            let (response, connecting) = (response.clone(), connecting.clone());
            async move {
                assert_eq!(function, "live-connect");
                connecting.send(event).expect("the test waits");
                response
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let api = WebSocketApi { stage: "v1".to_owned(), connect: "live-connect".to_owned() };
        let router =
            router(api, functions.await, limits, port, vec![ORIGIN.to_owned()], KEY.to_owned(), Arc::default());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, events }
    }

    /// One that accepts every connection.
    async fn accepting(limits: Limits) -> Self {
        let headers = json!({ "sec-websocket-PROTOCOL": "live.v1" });
        Self::start(limits, Ok(json!({ "statusCode": 200, "headers": headers }))).await
    }

    async fn try_connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
        let url = format!("ws://127.0.0.1:{}{path}", self.port);
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        request.headers_mut().append("sec-websocket-protocol", "live.v1, bearer.token".parse().expect("a header"));
        connect_async(request).await.map(|(client, _)| client)
    }

    /// An open connection and its id.
    async fn connect(&mut self) -> (Client, String) {
        let client = self.try_connect("/v1", &[]).await.expect("it opens");
        let event = self.events.recv().await.expect("an event");
        (client, event["requestContext"]["connectionId"].as_str().expect("an id").to_owned())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let signature = format!("AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/execute-api/aws4_request");
        client.request(method, format!("http://127.0.0.1:{}{path}", self.port)).header("authorization", signature)
    }

    /// A request to `@connections`: the status, and the name of the error if there is one.
    async fn connection(&self, method: Method, id: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let path = format!("/v1/@connections/{}", id.replace('=', "%3D"));
        let response = self.request(method, &path).body(body).send().await.expect("it responds");
        let error = response.headers().get("x-amzn-errortype").map(|error| error.to_str().expect("text").to_owned());
        (response.status().as_u16(), error.unwrap_or_default())
    }

    async fn set_faults(&self, id: &str, faults: Value) {
        let response = self.request(Method::PUT, &format!("/faults/{id}")).json(&faults).send().await;
        assert_eq!(response.expect("it responds").status(), 204);
    }

    /// Waits until the connection counts as closed.
    async fn closes(&self, id: &str) {
        in_time(async {
            while self.connection(Method::GET, id, "").await.0 != 410 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

fn is_gone(answer: &(u16, String)) -> bool {
    *answer == (410, "GoneException".to_owned())
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn next(client: &mut Client) -> tungstenite::Message {
    let message = in_time(client.next()).await;
    message.expect("a message").expect("the connection holds")
}

/// The code that the server closes with.
async fn close_code(client: &mut Client) -> u16 {
    match next(client).await {
        tungstenite::Message::Close(Some(frame)) => frame.code.into(),
        message => panic!("not closed: {message:?}"),
    }
}

#[tokio::test]
async fn the_function_gets_the_event_of_api_gateway() {
    let mut api = Api::accepting(Limits::AWS).await;
    let client = api.try_connect("/v1?a=1&b=2", &[("user-agent", "test"), ("origin", ORIGIN)]).await;
    let _client = client.expect("it opens, with the protocol of the function");
    let event = api.events.recv().await.expect("an event");
    assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "live.v1, bearer.token");
    assert_eq!(event["multiValueHeaders"]["Origin"], json!([ORIGIN]));
    assert_eq!(event["queryStringParameters"], json!({ "a": "1", "b": "2" }));
    assert_eq!(event["isBase64Encoded"], false);
    let context = &event["requestContext"];
    assert_eq!((&context["routeKey"], &context["eventType"]), (&json!("$connect"), &json!("CONNECT")));
    assert_eq!((&context["stage"], &context["messageDirection"]), (&json!("v1"), &json!("IN")));
    assert_eq!(context["identity"], json!({ "sourceIp": "127.0.0.1", "userAgent": "test" }));
    assert!(context["connectedAt"].as_i64().is_some_and(|at| (now() - at) < 10_000), "{context}");
    let id = context["connectionId"].as_str().expect("an id");
    assert!(id.len() == 16 && id.ends_with('='), "{id}");
    drop(api.connect().await);
    let plain = connect_event(&connection_id(), now(), "v1", &HeaderMap::new(), &BTreeMap::new());
    assert!(plain.get("queryStringParameters").is_none() && plain["headers"] == json!({}), "{plain}");
}

#[tokio::test]
async fn rejected_connections_get_the_functions_status() {
    let status = |status: u16| Ok(json!({ "statusCode": status, "body": "secret" }));
    let cases = [
        (status(401), 401),
        (status(403), 403),
        (status(429), 429),
        (status(503), 503),
        (status(7), 502),
        (Ok(json!("accepted")), 502),
        (Err(json!({ "errorType": "Runtime.ExitError" })), 502),
    ];
    for (response, expected) in cases {
        let api = Api::start(Limits::AWS, response.clone()).await;
        let Err(Error::Http(rejected)) = api.try_connect("/v1", &[]).await else { panic!("{response:?} opens") };
        assert_eq!(rejected.status(), expected, "{response:?}");
        assert!(rejected.body().as_ref().is_none_or(Vec::is_empty), "{rejected:?}");
    }
    let api = Api::start(Limits::AWS, Ok(json!({ "statusCode": 200 }))).await;
    let missing = Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol));
    let error = api.try_connect("/v1", &[]).await.expect_err("clients require the protocol");
    assert_eq!(error.to_string(), missing.to_string());
    assert!(api.try_connect("/v2", &[]).await.is_err(), "another stage");
}

#[tokio::test]
async fn only_pages_of_known_origins_connect() {
    let api = Api::accepting(Limits::AWS).await;
    api.try_connect("/v1", &[("origin", ORIGIN), ("sec-fetch-site", "same-site")]).await.expect("the front end");
    for headers in [&[("origin", "http://evil.example")][..], &[("origin", "null")], &[("host", "evil.example")]] {
        let Err(Error::Http(rejected)) = api.try_connect("/v1", headers).await else { panic!("{headers:?} opens") };
        assert_eq!(rejected.status(), 403, "{headers:?}");
    }
}

#[tokio::test]
async fn only_programs_with_the_access_key_use_connections() {
    let mut api = Api::accepting(Limits::AWS).await;
    let (_client, id) = api.connect().await;
    for path in [format!("/v1/@connections/{id}"), format!("/faults/{id}")] {
        for method in [Method::POST, Method::GET, Method::DELETE, Method::PUT] {
            let request = api.request(method.clone(), &path).header("origin", ORIGIN);
            assert_eq!(request.send().await.expect("it responds").status(), 403, "{method} {path}");
            let request =
                reqwest::Client::new().request(method.clone(), format!("http://127.0.0.1:{}{path}", api.port));
            assert_eq!(request.send().await.expect("it responds").status(), 400, "{method} {path}");
        }
    }
    assert_eq!(api.connection(Method::GET, &id, "").await.0, 200);
}

#[tokio::test]
async fn messages_reach_open_connections_and_no_others() {
    let mut api = Api::accepting(Limits::AWS).await;
    let (mut client, id) = api.connect().await;
    let (mut other, other_id) = api.connect().await;
    assert_eq!(api.connection(Method::POST, &id, "one").await.0, 200);
    assert_eq!(api.connection(Method::POST, &id, "two").await.0, 200);
    assert_eq!(next(&mut client).await, tungstenite::Message::text("one"));
    assert_eq!(next(&mut client).await, tungstenite::Message::text("two"));
    // A client's message gets no response.
    client.send(tungstenite::Message::text("{}")).await.expect("sent");
    assert_eq!(api.connection(Method::POST, &id, "three").await.0, 200);
    assert_eq!(next(&mut client).await, tungstenite::Message::text("three"));

    client.close(None).await.expect("closed");
    api.closes(&id).await;
    let too_large = vec![b' '; MAX_MESSAGE + 1];
    let answer = api.connection(Method::POST, &other_id, too_large).await;
    assert_eq!(answer, (413, "PayloadTooLargeException".to_owned()));
    assert_eq!(api.connection(Method::DELETE, &other_id, "").await.0, 204);
    assert_eq!(close_code(&mut other).await, 1000);
    for id in [&*id, &*other_id, "L0SM9cOFvHcCIhw="] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            assert!(is_gone(&api.connection(method.clone(), id, "").await), "{method} {id}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_gone_until_it_is_open() {
    let (connecting, mut is_connecting) = mpsc::unbounded_channel();
    let (accept, accepted) = tokio::sync::watch::channel(false);
    let functions = lambda(move |_, event: Value| {
        let (connecting, mut accepted) = (connecting.clone(), accepted.clone());
        async move {
            connecting.send(event).expect("the test waits");
            accepted.wait_for(|accepted| *accepted).await.expect("the test accepts");
            Ok(json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": "live.v1" } }))
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let api = WebSocketApi { stage: "v1".to_owned(), connect: "live-connect".to_owned() };
    let router = router(api, functions.await, Limits::AWS, port, Vec::new(), KEY.to_owned(), Arc::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let api = Api { port, events: mpsc::unbounded_channel().1 };
    let opening = api.try_connect("/v1", &[]);
    let posting = async {
        let event = is_connecting.recv().await.expect("an event");
        let id = event["requestContext"]["connectionId"].as_str().expect("an id").to_owned();
        assert!(is_gone(&api.connection(Method::POST, &id, "early").await));
        accept.send_replace(true);
        id
    };
    let (client, id) = tokio::join!(opening, posting);
    let mut client = client.expect("it opens");
    in_time(async { while is_gone(&api.connection(Method::POST, &id, "open").await) {} }).await;
    assert_eq!(next(&mut client).await, tungstenite::Message::text("open"));
}

#[tokio::test]
async fn connections_are_described() {
    let mut api = Api::accepting(Limits::AWS).await;
    let (mut client, id) = api.connect().await;
    let describe = async || -> Value {
        let described = api.request(Method::GET, &format!("/v1/@connections/{id}")).send().await;
        described.expect("it responds").json().await.expect("JSON")
    };
    let before = describe().await;
    assert_eq!(before["identity"]["sourceIp"], "127.0.0.1");
    assert!(before["connectedAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{before}");
    in_time(async {
        while describe().await["lastActiveAt"] == before["lastActiveAt"] {
            client.send(tungstenite::Message::text("{}")).await.expect("sent");
        }
    })
    .await;
    assert_eq!(describe().await["connectedAt"], before["connectedAt"]);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let mut api = Api::accepting(Limits { idle: Duration::from_secs(1), ..Limits::AWS }).await;
    let (mut sends, sending) = api.connect().await;
    let (mut receives, receiving) = api.connect().await;
    let (mut idle, _) = api.connect().await;
    let active = async {
        loop {
            sends.send(tungstenite::Message::text("{}")).await.expect("sent");
            assert_eq!(api.connection(Method::POST, &receiving, "{}").await.0, 200);
            assert_eq!(next(&mut receives).await, tungstenite::Message::text("{}"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let code = tokio::select! { code = close_code(&mut idle) => code, () = active => 0 };
    assert_eq!(code, 1001);
    assert_eq!(api.connection(Method::GET, &sending, "").await.0, 200);
    assert_eq!(api.connection(Method::GET, &receiving, "").await.0, 200);
}

#[tokio::test]
async fn connections_end_after_their_lifetime() {
    let mut api = Api::accepting(Limits { lifetime: Duration::from_millis(200), ..Limits::AWS }).await;
    let (mut client, id) = api.connect().await;
    assert_eq!(close_code(&mut client).await, 1001);
    api.closes(&id).await;
}

#[tokio::test]
async fn frames_and_messages_have_a_largest_size() {
    let mut api = Api::accepting(Limits::AWS).await;
    let frame = |size: usize, code, is_final| {
        tungstenite::Message::Frame(Frame::message(vec![b' '; size], OpCode::Data(code), is_final))
    };
    let message = |frames: &[usize]| -> Vec<_> {
        let code = |index| if index == 0 { Data::Text } else { Data::Continue };
        let frames = frames.iter().enumerate();
        let count = frames.len();
        frames.map(|(index, size)| frame(*size, code(index), index + 1 == count)).collect()
    };
    for (frames, fits) in [
        (message(&[MAX_FRAME; 4]), true),
        (message(&[MAX_FRAME + 1]), false),
        (message(&[MAX_FRAME, MAX_FRAME, MAX_FRAME, MAX_FRAME, 1]), false),
    ] {
        let (mut client, id) = api.connect().await;
        for frame in frames {
            client.send(frame).await.expect("sent");
        }
        if fits {
            assert_eq!(api.connection(Method::POST, &id, "still open").await.0, 200);
            assert_eq!(next(&mut client).await, tungstenite::Message::text("still open"));
        } else {
            assert_eq!(close_code(&mut client).await, 1009);
            api.closes(&id).await;
        }
    }
}

#[tokio::test]
async fn clients_that_do_not_read_are_throttled() {
    let mut api = Api::accepting(Limits::AWS).await;
    // On a busy machine, the connection can time out before its buffer is full.
    for _ in 0..5 {
        let (_client, id) = api.connect().await;
        let mut answer = (200, String::new());
        while answer.0 == 200 {
            answer = api.connection(Method::POST, &id, vec![b' '; MAX_MESSAGE]).await;
        }
        if answer.0 != 410 {
            return assert_eq!(answer, (429, "LimitExceededException".to_owned()));
        }
    }
    panic!("each connection timed out");
}

#[tokio::test]
async fn connections_fail_on_demand() {
    let mut api = Api::accepting(Limits::AWS).await;
    let (mut client, id) = api.connect().await;
    for (fault, expected) in [("gone", 410), ("throttled", 429), ("failed", 500)] {
        api.set_faults(&id, json!({ "post": fault })).await;
        assert_eq!(api.connection(Method::POST, &id, "lost").await.0, expected);
        assert_eq!(api.connection(Method::GET, &id, "").await.0, 200);
    }
    api.set_faults(&id, json!({ "post": "timeout", "delete": "failed" })).await;
    let post = timeout(Duration::from_millis(200), api.connection(Method::POST, &id, "lost")).await;
    assert!(post.is_err(), "{post:?}");
    assert_eq!(api.connection(Method::DELETE, &id, "").await.0, 500);
    api.set_faults(&id, json!({})).await;
    assert_eq!(api.connection(Method::POST, &id, "sent").await.0, 200);
    assert_eq!(next(&mut client).await, tungstenite::Message::text("sent"));
    let unknown = api.request(Method::PUT, "/faults/unknown").json(&json!({})).send().await;
    assert_eq!(unknown.expect("it responds").status(), 404);
}
