//! The personal details that a user supplies.

use std::borrow::Cow;

use api::{Text, TextFormat};
use serde::{Deserialize, Deserializer, de::Error};
use store::text::{
    MAX_EMAIL_CHARS, MAX_IMAGE_URL_CHARS, MAX_NAME_CHARS, normalize_email, normalize_image_url, normalize_name, trim,
};
use utoipa::openapi::{
    RefOr, Schema,
    schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, Type},
};

/// Reads a detail. A blank one counts as missing, as it does in Clerk's events and tokens.
pub(crate) fn unless_blank<'de, D: Deserializer<'de>, F: TextFormat>(
    deserializer: D,
) -> Result<Option<Text<F>>, D::Error> {
    let text = Option::<Cow<str>>::deserialize(deserializer)?.unwrap_or_default();
    if trim(&text).is_empty() { Ok(None) } else { Text::parse(&text).map(Some).map_err(D::Error::custom) }
}

/// An email address.
pub(crate) type Email = Text<EmailFormat>;

/// The format of [`Email`].
pub(crate) struct EmailFormat;

impl TextFormat for EmailFormat {
    fn name() -> String {
        "Email".to_owned()
    }

    fn parse(text: &str) -> Result<String, Cow<'static, str>> {
        normalize_email(text)
            .ok_or_else(|| format!("it must be like ada@example.com, with at most {MAX_EMAIL_CHARS} characters").into())
    }

    fn schema() -> RefOr<Schema> {
        const PATTERN: &str = r"^(?: *[^\s\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]+@[^@\s\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]+)? *$";
        let email = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX_EMAIL_CHARS));
        let email = email.pattern(Some(PATTERN)).examples(["ada@example.com"]);
        email.description(Some("An email address. Only Clerk knows whether it is the user's.")).into()
    }
}

/// A first or last name.
pub(crate) type Name = Text<NameFormat>;

/// The format of [`Name`].
pub(crate) struct NameFormat;

impl TextFormat for NameFormat {
    fn name() -> String {
        "Name".to_owned()
    }

    fn parse(text: &str) -> Result<String, Cow<'static, str>> {
        // The user learns what is wrong, where a webhook's name is sanitized.
        normalize_name(text).filter(|name| name == trim(text)).ok_or_else(|| {
            format!("it must have at most {MAX_NAME_CHARS} characters, none of them a control character or invisible")
                .into()
        })
    }

    fn schema() -> RefOr<Schema> {
        const PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]*$";
        let name = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX_NAME_CHARS));
        name.pattern(Some(PATTERN)).examples(["Ada"]).description(Some("A first or last name.")).into()
    }
}

/// The URL of a picture.
pub(crate) type ImageUrl = Text<ImageUrlFormat>;

/// The format of [`ImageUrl`].
pub(crate) struct ImageUrlFormat;

impl TextFormat for ImageUrlFormat {
    fn name() -> String {
        "ImageUrl".to_owned()
    }

    fn parse(text: &str) -> Result<String, Cow<'static, str>> {
        normalize_image_url(text).ok_or_else(|| {
            format!("it must begin with https:// and have at most {MAX_IMAGE_URL_CHARS} characters").into()
        })
    }

    fn schema() -> RefOr<Schema> {
        let uri = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uri".to_owned())));
        let uri = uri.max_length(Some(MAX_IMAGE_URL_CHARS)).examples(["https://example.com/ada.png"]);
        // An empty text counts as missing and is not a URI.
        let blank = ObjectBuilder::new().schema_type(Type::String).max_length(Some(0));
        AnyOfBuilder::new().item(uri).item(blank).description(Some("The URL of a picture; only https.")).into()
    }
}
