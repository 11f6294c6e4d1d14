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
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::Error;

/// An item, or values of an expression.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn read<T: DeserializeOwned>(item: Attributes) -> Result<T, Error> {
    let item = item.into_iter().map(|(name, value)| (name, value.into())).collect();
    let deserializer = serde_dynamo::Deserializer::from_attribute_value(serde_dynamo::AttributeValue::M(item));
    // Without the error's own text, which quotes the value.
    serde_path_to_error::deserialize(deserializer)
        .map_err(|error| Error::Internal(format!("an item cannot be read: {}", error.path())))
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
