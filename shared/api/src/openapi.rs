//! What the functions' documentation shares. None of it is called by a function: the document is made by a test, and
//! kept in `docs/openapi.json`.

use std::collections::BTreeMap;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Content, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder,
        response::Response,
        schema::{Schema, Type},
    },
};

use crate::Code;

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

/// An answer that is not a success (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what Problem is written as")]
pub struct Problem {
    /// Always this: `code` says more.
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

/// Documents the problems that a handler's calls can be answered with, beside those that every call can be.
///
/// `#[utoipa::path(responses(…, RenameProblems))]` takes what `problems!(RenameProblems: Body, NotFound, …)` makes.
#[macro_export]
macro_rules! problems {
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
