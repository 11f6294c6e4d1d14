use std::{borrow::Cow, marker::PhantomData, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// The format of a text member of a body.
pub trait TextFormat {
    /// The name of its schema.
    fn name() -> String;
    /// The text in the form in which it is stored, or why it is rejected: a sentence that begins with `it`, without its period.
    fn parse(text: &str) -> Result<String, Cow<'static, str>>;
    /// Its schema.
    fn schema() -> RefOr<Schema>;
}

/// Text that fits a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<F> {
    text: String,
    #[serde(skip)]
    format: PhantomData<fn() -> F>,
}

impl<F: TextFormat> Text<F> {
    /// The text in the form in which it is stored, if it fits.
    pub fn parse(text: &str) -> Result<Self, Cow<'static, str>> {
        F::parse(text).map(|text| Self { text, format: PhantomData })
    }
}

impl<'de, F: TextFormat> Deserialize<'de> for Text<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl<F> Deref for Text<F> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<F> From<Text<F>> for String {
    fn from(text: Text<F>) -> Self {
        text.text
    }
}

impl<F: TextFormat> ToSchema for Text<F> {
    fn name() -> Cow<'static, str> {
        F::name().into()
    }
}

impl<F: TextFormat> PartialSchema for Text<F> {
    fn schema() -> RefOr<Schema> {
        F::schema()
    }
}

/// A line of text: trimmed, 1 to `MAX` characters (Unicode scalar values), without control characters.
pub type Line<const MAX: usize> = Text<LineFormat<MAX>>;

/// The format of [`Line`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFormat<const MAX: usize>;

impl<const MAX: usize> TextFormat for LineFormat<MAX> {
    fn name() -> String {
        format!("Line{MAX}")
    }

    fn parse(text: &str) -> Result<String, Cow<'static, str>> {
        let text = text.trim();
        if text.is_empty() {
            Err("it must have at least one character that is not white space".into())
        } else if text.chars().count() > MAX {
            Err(format!("it must have at most {MAX} characters").into())
        } else if text.chars().any(char::is_control) {
            Err("it must not have control characters, such as line breaks or tabs".into())
        } else {
            Ok(text.to_owned())
        }
    }

    fn schema() -> RefOr<Schema> {
        const PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
        let line = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX)).pattern(Some(PATTERN));
        let line = line.description(Some(format!("A line of 1 to {MAX} characters, without control characters.")));
        line.examples(["Plans"]).into()
    }
}
