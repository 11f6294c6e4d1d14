//! A function's part of the OpenAPI document. A test writes the whole document to `docs/openapi.json`.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::de::DeserializeOwned;
use store::{Id, Limit, Resource};
use utoipa::{
    IntoParams, IntoResponses, PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Content, HeaderBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder,
        link::LinkBuilder,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
        response::Response,
        schema::{
            AdditionalProperties, ArrayBuilder, KnownFormat, Object, OneOfBuilder, Schema, SchemaFormat, SchemaType,
            Type,
        },
    },
};

use crate::{Code, IfMatch, Listed, Tagged, members::Change};

/// The problems of every call of a signed-in user.
const AUTHORIZED: &[Code] = &[
    Code::InvalidRequest,
    Code::UriTooLong,
    Code::HeadersTooLarge,
    Code::TokenMissing,
    Code::TokenMalformed,
    Code::TokenUnsupported,
    Code::TokenUnknownKey,
    Code::TokenBadSignature,
    Code::TokenWrongIssuer,
    Code::TokenUnauthorizedParty,
    Code::TokenWrongAudience,
    Code::TokenUnsupportedType,
    Code::TokenExpired,
    Code::TokenLifetimeTooLong,
    Code::TokenNotActiveYet,
    Code::SessionPending,
    Code::SessionEnded,
    Code::AccountInactive,
    Code::Internal,
    Code::Unavailable,
    Code::TokenKeyUndecided,
];

/// The problems of every call with a body.
const BODY: &[Code] = &[Code::InvalidJson, Code::BodyTooLarge, Code::UnsupportedMediaType, Code::InvalidBody];

/// An error response (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is the schema of crate::Problem")]
pub struct Problem {
    /// Always `about:blank`: `code` identifies the problem.
    #[schema(example = "about:blank")]
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for users: what is wrong and what to do. It may change at any time.
    detail: String,
    /// A name for programs. Names do not change. New ones may be added.
    code: String,
}

/// Documents the problems that a handler can return, beside those of every call of a signed-in user.
///
/// `problems!(RenameProblems: body, NotFound, …)` is for `#[utoipa::path(responses(…, RenameProblems))]`. `body` adds the
/// problems of every call with a body.
#[macro_export]
macro_rules! problems {
    ($name:ident) => {
        $crate::problems!(@ $name, false,);
    };
    ($name:ident: body $(, $code:ident)*) => {
        $crate::problems!(@ $name, true, $($code),*);
    };
    ($name:ident: $($code:ident),+) => {
        $crate::problems!(@ $name, false, $($code),+);
    };
    (@ $name:ident, $body:literal, $($code:ident),*) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses()
            -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::response::Response>> {
                $crate::openapi::responses($body, &[$($crate::Code::$code),*])
            }
        }
    };
}

/// The responses for these problems, one for each status.
pub fn responses(has_body: bool, own: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let body = if has_body { BODY } else { &[] };
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for code in own.iter().chain(body).chain(AUTHORIZED) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), response(&codes).into())).collect()
}

fn response(codes: &[Code]) -> Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{}`: {}", code.name(), code.meaning())).collect();
    let names = codes.iter().map(|code| code.name());
    let mut own = ObjectBuilder::new()
        .property("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)))
        .required("code");
    if codes.contains(&Code::VersionMismatch) {
        let version = ObjectBuilder::new().schema_type(Type::Integer).description(Some("The current version."));
        own = own.property("version", version).required("version");
    }
    if codes.contains(&Code::PermissionMissing) {
        let permission = ObjectBuilder::new().schema_type(Type::String).description(Some("The missing permission."));
        own = own.property("permission", permission).required("permission");
    }
    let schema = AllOfBuilder::new().item(Ref::from_schema_name(Problem::name())).item(own).build();
    let mut response = ResponseBuilder::new()
        .description(lines.join("\n"))
        .content("application/problem+json", Content::new(Some(RefOr::T(Schema::AllOf(schema)))));
    let text = || HeaderBuilder::new().schema(Some(String::schema()));
    if codes.contains(&Code::TokenMissing) {
        let header = text().description(Some("RFC 6750, section 3.")).build();
        response = response.header("WWW-Authenticate", header);
    }
    if codes.contains(&Code::Unavailable) {
        let header = HeaderBuilder::new().schema(Some(u32::schema())).description(Some("Seconds.")).build();
        response = response.header("Retry-After", header);
    }
    if codes.contains(&Code::VersionMismatch) {
        let header = text().description(Some("The current version, as an entity tag.")).build();
        response = response.header("ETag", header);
    }
    response.build()
}

/// The operations of a resource, described by its types.
pub(crate) struct Describe<R>(PhantomData<R>);

impl<R: Resource<Update: ToSchema> + ToSchema> Describe<R> {
    fn list() -> OperationBuilder {
        let limit = integer().minimum(Some(1)).maximum(Some(Limit::MAX)).default(Some(Limit::DEFAULT.into()));
        let query = |name: &str, description: &str, schema: ObjectBuilder| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).description(Some(description)).schema(Some(schema))
        };
        operation("list", R::PLURAL, format!("The user's {}, newest created first.", R::PLURAL))
            .parameter(query("limit", "How many items a page holds at most.", limit))
            .parameter(query("cursor", "Where the page begins: the `cursor` of the page before it.", cursor()))
            .response("200", listed::<R>())
            .problems(false, &[Code::InvalidQuery])
    }

    fn create() -> OperationBuilder {
        let link = |verb: &str| {
            LinkBuilder::new().operation_id(operation_id(verb, R::NAME)).parameter("id", "$response.body#/id").build()
        };
        let location = HeaderBuilder::new().schema(Some(String::schema())).description(Some("Its path."));
        let created = tagged::<R>("The new item.")
            .header("Location", location.build())
            .link("get", link("get"))
            .link("update", link("update"))
            .link("delete", link("delete"));
        operation("create", R::NAME, format!("Creates one of the user's {}.", R::PLURAL))
            .description(Some("The same request with the same id, sent again, creates nothing and returns the item."))
            .request_body(Some(request_body(&new_name::<R>())))
            .response("201", created)
            .response("200", tagged::<R>("The same creation took effect before. The item's current state."))
            .problems(true, &[Code::IdConflict])
    }

    fn get() -> OperationBuilder {
        operation("get", R::NAME, format!("One of the user's {}.", R::PLURAL))
            .parameters(Some(ItemPath::into_params(|| None)))
            .response("200", tagged::<R>("The item."))
            .problems(false, &[Code::InvalidId, Code::NotFound])
    }

    fn update() -> OperationBuilder {
        operation("update", R::NAME, format!("Changes one of the user's {}.", R::PLURAL))
            .parameters(Some(ItemPath::into_params(|| None)))
            .parameters(Some(IfMatch::into_params(|| None)))
            .request_body(Some(request_body(&R::Update::name())))
            .response("200", tagged::<R>("The changed item."))
            .problems(true, &[Code::InvalidId, Code::InvalidIfMatch, Code::NotFound, Code::VersionMismatch])
    }

    fn delete() -> OperationBuilder {
        operation("delete", R::NAME, format!("Deletes one of the user's {}.", R::PLURAL))
            .parameters(Some(ItemPath::into_params(|| None)))
            .parameters(Some(IfMatch::into_params(|| None)))
            .response("204", ResponseBuilder::new().description("The item is deleted."))
            .problems(false, &[Code::InvalidId, Code::InvalidIfMatch, Code::NotFound, Code::VersionMismatch])
    }

    /// An operation at `path`.
    pub(crate) fn operation(operation: crate::Operation, path: &str) -> Operation {
        let operation = match operation {
            crate::Operation::List => Self::list(),
            crate::Operation::Create => Self::create(),
            crate::Operation::Get => Self::get(),
            crate::Operation::Update => Self::update(),
            crate::Operation::Delete => Self::delete(),
        };
        let parents = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parents = parents.filter(|name| *name != "id").map(|name| id_parameter(name, "An id in the path."));
        parents.fold(operation, OperationBuilder::parameter).tag(R::PLURAL).build()
    }

    /// The resource as clients create, change and see it, a page of it, and what these refer to.
    pub(crate) fn schemas() -> Vec<(String, RefOr<Schema>)> {
        let mut schemas = Vec::new();
        R::schemas(&mut schemas);
        R::Update::schemas(&mut schemas);
        schemas.push((R::name().into_owned(), item_schema::<R>().into()));

        let mut new = members_schema::<R>();
        new.description = None;
        let id = id_schema().description(Some("An id that the client makes, so that it can retry the creation."));
        new.properties.insert("id".to_owned(), nullable(id.build().into()));
        schemas.push((new_name::<R>(), Schema::Object(new).into()));

        let mut update = members_schema::<R::Update>();
        for (member, schema) in &mut update.properties {
            if !accepts_null::<R::Update>(member) {
                *schema = without_null(std::mem::take(schema));
            }
        }
        schemas.push((R::Update::name().into_owned(), Schema::Object(update).into()));

        let items =
            ArrayBuilder::new().items(Ref::from_schema_name(R::name())).description(Some("Newest created first."));
        let next = cursor().description(Some("Where the next page begins. Null on the last page."));
        let next = next.schema_type(SchemaType::from_iter([Type::String, Type::Null]));
        let page = ObjectBuilder::new().property(R::PLURAL, items).required(R::PLURAL);
        schemas.push((page_name::<R>(), page.property("cursor", next).required("cursor").into()));
        schemas
    }
}

const JSON: &str = "application/json";

trait Problems {
    fn problems(self, has_body: bool, own: &[Code]) -> Self;
}

impl Problems for OperationBuilder {
    fn problems(self, has_body: bool, own: &[Code]) -> Self {
        responses(has_body, own)
            .into_iter()
            .fold(self, |operation, (status, problem)| operation.response(status, problem))
    }
}

fn operation(verb: &str, name: &str, summary: String) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(operation_id(verb, name))).summary(Some(summary))
}

/// `createChat` of `create` and `chat`.
fn operation_id(verb: &str, name: &str) -> String {
    let mut letters = name.chars();
    let capital = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters);
    verb.chars().chain(capital).collect()
}

fn new_name<R: ToSchema>() -> String {
    format!("New{}", R::name())
}

fn page_name<R: ToSchema>() -> String {
    format!("{}Page", R::name())
}

fn content(name: &str) -> Content {
    Content::new(Some(Ref::from_schema_name(name)))
}

fn request_body(name: &str) -> RequestBody {
    RequestBodyBuilder::new().content(JSON, content(name)).required(Some(Required::True)).build()
}

fn tagged<R: ToSchema>(description: &str) -> ResponseBuilder {
    let etag = HeaderBuilder::new().schema(Some(String::schema())).description(Some("Its version, as an entity tag."));
    ResponseBuilder::new().description(description).header("ETag", etag.build()).content(JSON, content(&R::name()))
}

fn listed<R: ToSchema>() -> ResponseBuilder {
    ResponseBuilder::new().description("A page of them.").content(JSON, content(&page_name::<R>()))
}

/// For `#[utoipa::path(responses(Tagged<Chat>))]`. A `body = Chat` would replace the item's schema by the one of its
/// members.
impl<R: Resource + ToSchema> IntoResponses for Tagged<R> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([("200".to_owned(), tagged::<R>("The item.").build().into())])
    }
}

/// For `#[utoipa::path(responses(Listed<Chat>))]`.
impl<R: Resource + ToSchema> IntoResponses for Listed<R> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([("200".to_owned(), listed::<R>().build().into())])
    }
}

/// The parameter `{id}` of a path, for `#[utoipa::path(params(ItemPath))]`.
pub struct ItemPath;

impl IntoParams for ItemPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![id_parameter("id", "The item's id.")]
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let tag = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r#"^(\*|"[0-9]{1,19}")$"#));
        let header = ParameterBuilder::new().name("If-Match").parameter_in(ParameterIn::Header);
        let header = header.required(Required::False).schema(Some(tag)).example(Some("\"1\"".into()));
        vec![header.description(Some("The ETag that the item must have. Any without the header.")).build()]
    }
}

fn id_parameter(name: &str, description: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(description)).schema(Some(id_schema())).build()
}

/// The schema of an [`Id`].
fn id_schema() -> ObjectBuilder {
    const PATTERN: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
    let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some(PATTERN));
    id.description(Some("A UUIDv7 (RFC 9562, section 5.7).")).examples([Id::EXAMPLE])
}

/// The schema of a [`store::Cursor`].
fn cursor() -> ObjectBuilder {
    let opaque = "A place in a list, opaque: only a response's `cursor` is one.";
    ObjectBuilder::new().schema_type(Type::String).description(Some(opaque))
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

/// The members of a resource or of a change.
fn members_schema<T: ToSchema>() -> Object {
    let mut members = match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::new(),
    };
    members.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    members
}

/// A resource as clients see it. New members can come at any time.
fn item_schema<R: Resource + ToSchema>() -> Schema {
    let mut item = members_schema::<R>();
    item.additional_properties = None;
    let number = |description| {
        integer()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .description(Some(description))
    };
    // Responses have every member, also those that a creation may omit.
    item.required = item.properties.keys().cloned().collect();
    for (name, schema) in [
        ("id", id_schema()),
        ("createdAt", number("Milliseconds since the epoch.")),
        ("updatedAt", number("Milliseconds since the epoch.")),
        ("version", number("1 at creation, and one more with each change.")),
    ] {
        item.properties.insert(name.to_owned(), schema.into());
        item.required.push(name.to_owned());
    }
    Schema::Object(item)
}

fn nullable(schema: RefOr<Schema>) -> RefOr<Schema> {
    OneOfBuilder::new().item(schema).item(ObjectBuilder::new().schema_type(Type::Null)).into()
}

/// Whether a change accepts null for `member`. utoipa describes `Option` and `Option<Option<_>>` alike.
fn accepts_null<U: DeserializeOwned>(member: &str) -> bool {
    let body = serde_json::json!({ member: null }).to_string();
    let mut json = serde_json::Deserializer::from_str(&body);
    // Another member may be missing, which is not an error of this one.
    match serde_path_to_error::deserialize::<_, Change<U>>(&mut json) {
        Ok(_) => true,
        Err(error) => error.path().to_string() != member,
    }
}

fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let is_null = |item: &RefOr<Schema>| matches!(item, RefOr::T(Schema::Object(object)) if object.schema_type == Type::Null.into());
    match schema {
        RefOr::T(Schema::OneOf(one_of)) => one_of.items.into_iter().find(|item| !is_null(item)).unwrap_or_default(),
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|kind| *kind != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = only.clone().into();
                }
            }
            Schema::Object(object).into()
        }
        other => other,
    }
}
