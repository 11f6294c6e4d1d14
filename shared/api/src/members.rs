//! Bodies with the members of a resource.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};
use store::{Id, NewItem, members};

/// The body of a creation: a resource's members and an optional `id`.
///
/// Not by `serde(flatten)`, which accepts unknown members and does not name the member that is invalid.
pub(crate) struct Creation<R>(pub(crate) NewItem<R>);

impl<'de, R: DeserializeOwned> Deserialize<'de> for Creation<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut id = None;
        let value = deserializer.deserialize_map(MembersVisitor { id: Some(&mut id), value: PhantomData })?;
        Ok(Self(NewItem { id: id.flatten(), value }))
    }
}

/// The body of a change. A member that is `Option` may be omitted; one that is `Option<Option<_>>` may be null as well.
pub(crate) struct Change<U>(pub(crate) U);

impl<'de, U: DeserializeOwned> Deserialize<'de> for Change<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor { id: None, value: PhantomData }).map(Self)
    }
}

struct MembersVisitor<'a, T> {
    /// Where the member `id` goes, in the body of a creation.
    id: Option<&'a mut Option<Option<Id>>>,
    value: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for MembersVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(Members { map, id: self.id, known: members::<T>() }))
    }
}

/// The members of a body. Unknown ones are an error, even if the type would skip them.
struct Members<'a, A> {
    map: A,
    id: Option<&'a mut Option<Option<Id>>>,
    known: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.map.next_key::<String>()? {
            match &mut self.id {
                Some(id) if name == "id" => {
                    if id.replace(self.map.next_value()?).is_some() {
                        return Err(A::Error::duplicate_field("id"));
                    }
                }
                _ if !self.known.contains(&name.as_str()) => return Err(A::Error::unknown_field(&name, self.known)),
                _ => return seed.deserialize(name.into_deserializer()).map(Some),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        // In a creation, null is the same as an omitted member.
        if self.id.is_some() { self.map.next_value_seed(seed) } else { self.map.next_value_seed(Present(seed)) }
    }
}

/// Deserializes a member that is present: its `Option` is `Some` also if the member is null.
struct Present<T>(T);

impl<'de, V: DeserializeSeed<'de>> DeserializeSeed<'de> for Present<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.deserialize(Present(deserializer))
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Present<D> {
    type Error = D::Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}
