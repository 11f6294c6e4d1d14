//! Two resources in one function, one below the other, and handlers beside the generated ones.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{collections::HashMap, time::UNIX_EPOCH};

use api::{
    Auth, ConfigError, Environment, FromEnvironment, IfMatch, Line, Listed, OpenApiRouter, Operation, Path, Problem,
    Query, ReadSession, Scoped, Tagged, WriteSession, openapi::ItemPath, problems, routes,
};
use aws_sdk_dynamodb::{
    Client,
    config::{self, BehaviorVersion, Credentials, Region},
    types::AttributeValue,
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRef, State},
    http::{Request, StatusCode, header},
};
use local::template::{self, Template};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Database, Limit, Resource, Table};
use test_support::{Engine, SigningKey, in_memory_with};
use tower::ServiceExt;
use utoipa::ToSchema;

const ISSUER: &str = "https://clerk.example.com";
const PERMISSION: &str = "org:billing:manage";

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
struct Trip {
    name: Line<200>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct TripUpdate {
    name: Line<200>,
}

impl Resource for Trip {
    const NAME: &str = "trip";
    const PLURAL: &str = "trips";
    type Update = TripUpdate;
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
struct Stop {
    place: Line<200>,
    #[serde(default)]
    pinned: bool,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct StopUpdate {
    place: Option<Line<200>>,
    pinned: Option<bool>,
}

impl Resource for Stop {
    const NAME: &str = "stop";
    const PLURAL: &str = "stops";
    type Update = StopUpdate;
}

#[derive(Clone, FromRef)]
struct Tables {
    auth: Auth,
    trips: Table<Trip>,
    stops: Table<Stop>,
}

impl FromEnvironment for Tables {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { auth: environment.get()?, trips: environment.get()?, stops: environment.get()? })
    }
}

fn router() -> OpenApiRouter<Tables> {
    api::resource::<Trip>("/trips")
        .without(Operation::Update)
        .router()
        .merge(api::resource::<Stop>("/trips/{trip}/stops").router())
        .routes(routes!(pin))
        .routes(routes!(pinned))
        .route("/counts", axum::routing::get(counts))
        .route("/trips/{trip}/late-session/{id}", axum::routing::get(late_session))
        .route("/billing", axum::routing::get(read_billing).post(change_billing))
}

problems!(PinProblems: InvalidId, InvalidIfMatch, NotFound, VersionMismatch);
problems!(PinnedProblems: InvalidId);

/// Pins a stop.
#[utoipa::path(
    post, path = "/trips/{trip}/stops/{id}/pin", operation_id = "pinStop", tag = "stops",
    params(("trip" = String, Path), ItemPath, IfMatch), responses(Tagged<Stop>, PinProblems)
)]
async fn pin(
    session: WriteSession,
    Scoped(stops): Scoped<Stop>,
    Path(id): Path<store::Id>,
    IfMatch(precondition): IfMatch,
) -> Result<Tagged<Stop>, Problem> {
    let update = StopUpdate { place: None, pinned: Some(true) };
    Ok(Tagged(stops.writer(&session).update(id, update, &precondition).await?))
}

/// The pinned stops among the newest ones.
#[utoipa::path(
    get, path = "/trips/{trip}/pinned-stops", operation_id = "listPinnedStops", tag = "stops",
    params(("trip" = String, Path)), responses(Listed<Stop>, PinnedProblems)
)]
async fn pinned(session: ReadSession, Scoped(stops): Scoped<Stop>) -> Result<Listed<Stop>, Problem> {
    let mut page = stops.reader(&session).list(Limit::default(), None).await?;
    page.items.retain(|stop| stop.value.pinned);
    Ok(Listed(page))
}

async fn counts(
    session: ReadSession,
    State(trips): State<Table<Trip>>,
    State(stops): State<Table<Stop>>,
) -> Result<Json<[usize; 2]>, Problem> {
    let (trips, stops) = (trips.reader(&session), stops.reader(&session));
    let (trips, stops) = tokio::try_join!(trips.list(Limit::default(), None), stops.list(Limit::default(), None))?;
    Ok(Json([trips.items.len(), stops.items.len()]))
}

#[derive(Deserialize)]
struct LimitQuery {
    #[serde(rename = "limit", default)]
    _limit: Limit,
}

/// Its session is one of the last arguments.
async fn late_session(
    _: Scoped<Stop>,
    _: Path<store::Id>,
    _: Query<LimitQuery>,
    _: IfMatch,
    _: ReadSession,
    _: api::Body<TripUpdate>,
) -> Result<StatusCode, Problem> {
    Ok(StatusCode::NO_CONTENT)
}

async fn read_billing(session: ReadSession) -> Result<StatusCode, Problem> {
    session.require(PERMISSION).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change_billing(session: WriteSession) -> Result<StatusCode, Problem> {
    session.require(PERMISSION)?;
    Ok(StatusCode::NO_CONTENT)
}

struct Function {
    client: Client,
    router: Router,
    key: SigningKey,
    _engine: Engine,
}

impl Function {
    async fn start() -> Self {
        let mut template = Template::load().expect("the template is valid");
        template.tables.extend([table("TripsTable", "tripId"), table("StopsTable", "stopId")]);
        let engine = in_memory_with(&template).await.expect("the engine starts");
        let key = SigningKey::generate().expect("a key");
        let variables = HashMap::from([
            ("CLERK_ISSUER", ISSUER.to_owned()),
            ("CLERK_JWT_KEY", key.public_key_pem().expect("it has a public half")),
            ("USERS_TABLE", "UsersTable".to_owned()),
            ("SESSIONS_TABLE", "SessionsTable".to_owned()),
            ("TRIPS_TABLE", "TripsTable".to_owned()),
            ("STOPS_TABLE", "StopsTable".to_owned()),
        ]);
        let database = config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("local"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(aws::http_client(None))
            .endpoint_url(engine.url());
        let client = Client::from_conf(database.clone().build());
        let environment = Environment::new(Database::from(database), move |name| variables.get(name).cloned());
        let tables: Tables = environment.get().expect("it is configured");
        let (router, _) = router().split_for_parts();
        Self { client, router: router.with_state(tables), key, _engine: engine }
    }

    fn authorization(&self, user: &str) -> String {
        self.authorization_with(user, &json!({}))
    }

    fn authorization_with(&self, user: &str, claims: &Value) -> String {
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let token = self.key.session_token(ISSUER, user, "sess_1", now, claims).expect("signed");
        format!("Bearer {token}")
    }

    /// Ends the session of a user's tokens.
    async fn end_session(&self, user: &str) {
        let end = self.client.put_item().table_name("SessionsTable");
        let end = end.item("userId", AttributeValue::S(user.to_owned()));
        let end = end.item("sessionId", AttributeValue::S("sess_1".to_owned()));
        end.item("expiresAt", AttributeValue::N(u32::MAX.to_string())).send().await.expect("written");
    }

    async fn call(&self, user: &str, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request =
            Request::builder().method(method).uri(path).header(header::AUTHORIZATION, self.authorization(user));
        self.send(request.header(header::CONTENT_TYPE, "application/json"), body).await
    }

    async fn send(&self, request: axum::http::request::Builder, body: Value) -> (StatusCode, Value) {
        self.answer(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("it is complete");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The path of a new item.
    async fn create(&self, user: &str, path: &str, body: Value) -> String {
        let (status, item) = self.call(user, "POST", path, body).await;
        assert_eq!(status, 201, "{item}");
        format!("{path}/{}", item["id"].as_str().expect("an id"))
    }
}

fn table(name: &str, sort_key: &str) -> template::Table {
    let key = |range: &str| json!([{ "AttributeName": "userId", "KeyType": "HASH" }, { "AttributeName": range, "KeyType": "RANGE" }]);
    let attributes = ["userId", sort_key, "listPosition"];
    let create = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes.map(|name| json!({ "AttributeName": name, "AttributeType": "S" })),
        "KeySchema": key(sort_key),
        "LocalSecondaryIndexes":
            [{ "IndexName": "newest", "KeySchema": key("listPosition"), "Projection": { "ProjectionType": "ALL" } }],
    });
    template::Table { name: name.to_owned(), create, ttl_attribute: None, stream_view_type: None }
}

#[tokio::test]
async fn two_resources_in_one_function_are_separate() {
    let function = Function::start().await;
    let trip = function.create("user_ada", "/trips", json!({ "name": "Alps" })).await;
    let other_trip = function.create("user_ada", "/trips", json!({ "name": "Coast" })).await;
    let stop = function.create("user_ada", &format!("{trip}/stops"), json!({ "place": "Chur" })).await;

    let get = async |user: &str, path: &str| function.call(user, "GET", path, Value::Null).await;
    assert_eq!(get("user_ada", &trip).await.1["name"], "Alps");
    assert_eq!(get("user_ada", &stop).await.1["place"], "Chur");
    assert_eq!(get("user_ada", "/trips").await.1["trips"].as_array().map(Vec::len), Some(2));
    assert_eq!(get("user_ada", &format!("{trip}/stops")).await.1["stops"][0]["place"], "Chur");
    assert_eq!(get("user_ada", &format!("{other_trip}/stops")).await.1["stops"], json!([]));
    assert_eq!(get("user_ada", "/counts").await.1, json!([2, 1]));

    for path in [&trip, &stop, &stop.replace(&trip, &other_trip)] {
        let user = if path.starts_with(&trip) { "user_eve" } else { "user_ada" };
        assert_eq!(get(user, path).await.0, 404, "{user} {path}");
    }
    assert_eq!(get("user_eve", &format!("{trip}/stops")).await.1["stops"], json!([]));
    assert_eq!(get("user_eve", "/counts").await.1, json!([0, 0]));
}

#[tokio::test]
async fn items_below_a_deleted_parent_stay() {
    let function = Function::start().await;
    let trip = function.create("user_ada", "/trips", json!({ "name": "Alps" })).await;
    let stop = function.create("user_ada", &format!("{trip}/stops"), json!({ "place": "Chur" })).await;
    assert_eq!(function.call("user_ada", "DELETE", &trip, Value::Null).await.0, 204);
    assert_eq!(function.call("user_ada", "GET", &stop, Value::Null).await.0, 200);
}

#[tokio::test]
async fn every_route_requires_a_token() {
    let function = Function::start().await;
    let trip = function.create("user_ada", "/trips", json!({ "name": "Alps" })).await;
    let stop = function.create("user_ada", &format!("{trip}/stops"), json!({ "place": "Chur" })).await;
    for (method, path) in [
        ("GET", "/trips"),
        ("GET", &*trip),
        ("POST", &format!("{trip}/stops")),
        ("DELETE", &stop),
        ("POST", &format!("{stop}/pin")),
        ("GET", &format!("{trip}/pinned-stops")),
        ("GET", "/counts"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let (status, problem) = function.send(request, Value::Null).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("token_missing")), "{method} {path}");
    }
}

#[tokio::test]
async fn invalid_requests_are_401_without_a_valid_session_whatever_the_order_of_arguments() {
    let function = Function::start().await;
    let id = store::Id::new();
    function.end_session("user_eve").await;
    for (path, if_match, code) in [
        (format!("/trips/1/late-session/{id}"), "*", "invalid_id"),
        (format!("/trips/{id}/late-session/1"), "*", "invalid_id"),
        (format!("/trips/{id}/late-session/{id}?limit=0"), "*", "invalid_query"),
        (format!("/trips/{id}/late-session/{id}"), "1", "invalid_if_match"),
        (format!("/trips/{id}/late-session/{id}"), "*", "invalid_body"),
    ] {
        let request = || Request::builder().uri(&path).header(header::IF_MATCH, if_match);
        let problem = async |request| {
            let (status, problem) = function.send(request, json!([])).await;
            (status.as_u16(), problem["code"].as_str().map(str::to_owned))
        };
        let expected = |status: u16, code: &str| (status, Some(code.to_owned()));
        let of = |user| request().header(header::AUTHORIZATION, function.authorization(user));
        assert_eq!(problem(request()).await, expected(401, "token_missing"), "{path}");
        assert_eq!(problem(of("user_eve")).await, expected(401, "session_ended"), "{path}");
        let status = if code == "invalid_body" { 422 } else { 400 };
        assert_eq!(problem(of("user_ada")).await, expected(status, code), "{path}");
    }
    let path = format!("/trips/{id}/late-session/{id}");
    assert_eq!(function.call("user_ada", "GET", &path, json!({ "name": "Alps" })).await.0, 204);
}

#[tokio::test]
async fn rejections_say_what_is_wrong_and_what_to_do() {
    let function = Function::start().await;
    let bodies = [
        ("[]", "The body must be a JSON object."),
        ("{}", "The body has no `place`. Send it."),
        (r#"{ "place": null }"#, "`place` must be a string, not null."),
        (r#"{ "place": " " }"#, "`place` must have at least one character that is not white space."),
        (r#"{ "place": "Chur", "pinned": 1 }"#, "`pinned` must be a boolean, not integer `1`."),
        (r#"{ "place": "Chur", "id": "1" }"#, "`id` must be a UUIDv7, such as 01890a5d-ac96-774b-bcce-b302099a8057."),
        (r#"{ "place": "Chur", "place": "Chur" }"#, "The body has `place` twice. Send it once."),
        (r#"{ "place": "Chur", "plan": 1 }"#, "The body must not have `plan`. Known names: `place`, `pinned`."),
    ];
    let path = format!("/trips/{}/stops", store::Id::new());
    let authorized =
        |uri: &str| Request::builder().uri(uri).header(header::AUTHORIZATION, function.authorization("user_ada"));
    let not_utf8: &[u8] = b"{ \"place\": \"\xff\" }";
    let bodies = bodies.into_iter().map(|(body, expected)| (body.as_bytes(), expected));
    for (body, expected) in bodies.chain([(not_utf8, "The body is not JSON: it is not UTF-8.")]) {
        let request = authorized(&path).method("POST").body(Body::from(body)).expect("a request");
        assert_eq!(function.answer(request).await.1["detail"], expected, "{}", String::from_utf8_lossy(body));
    }
    for (path, expected) in [
        ("/trips?limit=0", "`limit` must be a number from 1 to 100."),
        ("/trips?limit=1&limit=2", "The query string has `limit` twice. Send it once."),
        ("/trips?cursor=1", "`cursor` is not a cursor of this API. Omit it to start from the newest item."),
        ("/trips/1", "The id in the path must be a UUIDv7, such as 01890a5d-ac96-774b-bcce-b302099a8057."),
        ("/trips/%ff", "The id in the path is not UTF-8. Encode it as UTF-8."),
    ] {
        let request = authorized(path).body(Body::empty()).expect("a request");
        assert_eq!(function.answer(request).await.1["detail"], expected, "{path}");
    }
}

#[tokio::test]
async fn only_the_active_organizations_role_grants_permissions() {
    let function = Function::start().await;
    function.end_session("user_eve").await;
    let organization = |permissions: &str, mask: &str| {
        let claims = json!({ "id": "org_1", "slg": "acme", "rol": "admin", "per": permissions, "fpm": mask });
        json!({ "o": claims, "fea": "o:billing" })
    };
    let granted = organization("read,manage", "2");
    for method in ["GET", "POST"] {
        let call = async |user: &str, claims: &Value| {
            let request = Request::builder().method(method).uri("/billing");
            let request = request.header(header::AUTHORIZATION, function.authorization_with(user, claims));
            let (status, problem) = function.send(request, Value::Null).await;
            (status.as_u16(), problem)
        };
        assert_eq!(call("user_ada", &granted).await.0, 204, "{method}");
        let malformed = organization("manage", "-1");
        for claims in [json!({}), organization("read,manage", "1"), malformed, json!({ "o": "org_1" })] {
            let (status, problem) = call("user_ada", &claims).await;
            assert_eq!((status, &problem["code"]), (403, &json!("permission_missing")), "{method} {claims}");
            assert_eq!(problem["permission"], PERMISSION);
        }
        let (status, problem) = call("user_eve", &json!({})).await;
        assert_eq!((status, &problem["code"]), (401, &json!("session_ended")), "{method}");
    }
}

#[tokio::test]
async fn handlers_beside_the_generated_ones_change_and_list_only_the_users_items() {
    let function = Function::start().await;
    let trip = function.create("user_ada", "/trips", json!({ "name": "Alps" })).await;
    let stop = function.create("user_ada", &format!("{trip}/stops"), json!({ "place": "Chur" })).await;
    function.create("user_ada", &format!("{trip}/stops"), json!({ "place": "Bern" })).await;
    let pin = format!("{stop}/pin");

    let (status, problem) = function.call("user_eve", "POST", &pin, Value::Null).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")));
    let (status, pinned) = function.call("user_ada", "POST", &pin, Value::Null).await;
    assert_eq!(status, 200, "{pinned}");
    assert_eq!((&pinned["pinned"], &pinned["version"]), (&json!(true), &json!(2)));
    let path = format!("{trip}/pinned-stops");
    assert_eq!(function.call("user_ada", "GET", &path, Value::Null).await.1["stops"], json!([pinned]));
    assert_eq!(function.call("user_eve", "GET", &path, Value::Null).await.1["stops"], json!([]));
}

#[test]
fn a_handler_beside_the_generated_ones_has_the_same_schemas() {
    let document = json!(router().into_openapi());
    let schema = |path: &str, method: &str| {
        document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"].clone()
    };
    let item = schema("/trips/{trip}/stops/{id}", "get");
    assert_eq!(item, json!({ "$ref": "#/components/schemas/Stop" }));
    assert_eq!(schema("/trips/{trip}/stops/{id}/pin", "post"), item);
    assert_eq!(schema("/trips/{trip}/pinned-stops", "get"), schema("/trips/{trip}/stops", "get"));
    let members = &document["components"]["schemas"]["Stop"]["properties"];
    assert!(["id", "version", "place"].iter().all(|member| members[member].is_object()), "{members}");
}

#[tokio::test]
async fn without_omits_an_operation_and_its_documentation() {
    let function = Function::start().await;
    let trip = function.create("user_ada", "/trips", json!({ "name": "Alps" })).await;
    let update = json!({ "name": "Coast" });
    assert_eq!(function.call("user_ada", "PATCH", &trip, update).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(function.call("user_ada", "GET", &trip, Value::Null).await.1["name"], "Alps");

    let document = json!(router().into_openapi());
    let methods = |path: &str| document["paths"][path].as_object().expect("a path").keys().cloned().collect::<Vec<_>>();
    assert_eq!(methods("/trips"), ["get", "post"]);
    assert_eq!(methods("/trips/{id}"), ["delete", "get"]);
    assert_eq!(methods("/trips/{trip}/stops/{id}"), ["delete", "get", "patch"]);
}
