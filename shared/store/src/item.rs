//! Attributes, conditional writes and their ids, for all tables.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput},
    types::AttributeValue,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IntoDeserializer, value::MapDeserializer},
};
use uuid::Uuid;

use crate::{Error, resource::members};

/// An item, or values of an expression.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Reads a struct from attributes.
pub(crate) fn read<T, N>(attributes: impl IntoIterator<Item = (N, AttributeValue)>) -> Result<T, Error>
where
    T: DeserializeOwned,
    N: IntoDeserializer<'static, serde_dynamo::Error>,
{
    let attributes = attributes.into_iter().map(|(name, value)| (name, Attribute(value)));
    // Without the error's own text, which quotes the value.
    serde_path_to_error::deserialize(MapDeserializer::new(attributes))
        .map_err(|error| Error::Internal(format!("an item cannot be read: {}", error.path())))
}

/// Reads a struct from those attributes of an item that it has as members.
pub(crate) fn read_some<T: DeserializeOwned>(item: &Attributes) -> Result<T, Error> {
    read(members::<T>().iter().filter_map(|name| Some((*name, item.get(*name)?.clone()))))
}

struct Attribute(AttributeValue);

impl IntoDeserializer<'_, serde_dynamo::Error> for Attribute {
    type Deserializer = serde_dynamo::Deserializer;

    fn into_deserializer(self) -> Self::Deserializer {
        serde_dynamo::Deserializer::from_attribute_value(self.0.into())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The condition of a write does not hold.
pub(crate) struct ConditionFailure {
    /// The item, if it exists and the write asked for it.
    pub(crate) item: Option<Attributes>,
}

/// The attributes that a conditional write returned.
pub(crate) fn conditional(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>,
) -> Result<Result<Attributes, ConditionFailure>, Error> {
    match result {
        Ok(output) => Ok(Ok(output.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                Ok(Err(ConditionFailure { item: failure.item().cloned() }))
            }
            _ => Err(Error::from_sdk(error)),
        },
    }
}

/// An idempotency token: identifies one write, however often the SDK sends it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct WriteId(String);

impl WriteId {
    pub(crate) fn new() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(Uuid::now_v7()))
    }
}

impl From<&WriteId> for String {
    fn from(WriteId(id): &WriteId) -> Self {
        id.clone()
    }
}
