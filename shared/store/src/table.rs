//! The table of a [`Resource`]: partition key `userId`, sort key such as `chatId`; listed by the index `newest`, whose
//! sort key is `listPosition`.

use std::{collections::HashMap, marker::PhantomData};

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, KeysAndAttributes},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_content::Value;

use crate::{
    CreateOutcome, Cursor, Database, Error, Id, InvalidResource, Item, Limit, NewItem, Page, Precondition, ReadSession,
    Resource, WriteSession,
    item::{self, Attributes, now, number, string},
    resource::{self, members},
    write::{self, Outcome, Position, existing},
};

/// The index that lists are read from.
const INDEX: &str = "newest";

/// The attributes that are read of every item, beside its resource's members and its sort key.
const METADATA: [&str; 3] = ["createdAt", "updatedAt", "version"];

/// The attribute of an item that exists.
const POSITION: &str = "listPosition";

/// The table of a resource. It reads and writes only with a session, and only in the partition of the session's user.
#[derive(Clone)]
pub struct Table<R> {
    client: Client,
    name: String,
    sort_key: String,
    /// The prefix of every sort key and position: the ids of the items' parents.
    parents: String,
    resource: PhantomData<fn() -> R>,
}

impl<R: Resource> Table<R> {
    /// The table named `name` in `database`.
    pub fn new(database: &Database, name: String) -> Result<Self, InvalidResource> {
        resource::check::<R>()?;
        let (client, sort_key) = (database.0.clone(), resource::sort_key::<R>());
        Ok(Self { client, name, sort_key, parents: String::new(), resource: PhantomData })
    }

    /// Only the items below `parent`, an item of another resource. It need not exist, and deleting it does not delete
    /// these items.
    #[must_use]
    pub fn below(mut self, parent: Id) -> Self {
        self.parents = format!("{}{parent}#", self.parents);
        self
    }

    /// The user's items, to read them.
    pub fn reader<'a>(&'a self, session: &'a ReadSession) -> Reader<'a, R> {
        Reader { table: self, session }
    }

    /// The user's items, to write them.
    pub fn writer<'a>(&'a self, session: &'a WriteSession) -> Writer<'a, R> {
        Writer { table: self, user_id: session.identity().user_id() }
    }

    fn key(&self, user_id: &str, id: Id) -> Attributes {
        let sort_key = string(format!("{}{id}", self.parents));
        HashMap::from([("userId".to_owned(), string(user_id)), (self.sort_key.clone(), sort_key)])
    }

    fn position(&self, position: Position) -> AttributeValue {
        string(format!("{}{position}", self.parents))
    }

    /// The projection expression of a read that includes `others`, and its names.
    fn projection(&self, others: &[&str]) -> (String, HashMap<String, String>) {
        let attributes = members::<R>().iter().map(|member| R::attribute(member));
        let names: HashMap<_, _> =
            (0..).zip(attributes).map(|(index, name)| (placeholder('#', index), name.to_owned())).collect();
        let all = names.keys().map(String::as_str).chain(METADATA).chain([self.sort_key.as_str()]);
        let all = all.chain(others.iter().copied());
        (all.collect::<Vec<_>>().join(", "), names)
    }

    /// The ids of the parents of `item`, without those that this table is limited to.
    fn parents_of(&self, item: &Attributes) -> Vec<Id> {
        let sort_key = item.get(&self.sort_key).and_then(|key| key.as_s().ok()?.strip_prefix(&self.parents));
        let parents = sort_key.and_then(|key| key.rsplit_once('#')).map(|(parents, _)| parents.split('#'));
        parents.into_iter().flatten().filter_map(|id| id.parse().ok()).collect()
    }

    fn item(&self, mut attributes: Attributes) -> Result<Item<R>, Error> {
        let invalid = |what: &str| Error::Internal(format!("an item cannot be read: {what}"));
        let sort_key = attributes.remove(&self.sort_key).and_then(|key| key.as_s().ok().cloned());
        let id = sort_key.as_deref().and_then(|key| key.rsplit('#').next()?.parse().ok());
        let mut metadata = |name: &str| {
            let value = attributes.remove(name).and_then(|value| value.as_n().ok()?.parse().ok());
            value.ok_or_else(|| invalid(name))
        };
        let (created_at, updated_at, version) = (metadata("createdAt")?, metadata("updatedAt")?, metadata("version")?);
        let attribute_of = |member: &&'static str| Some((*member, attributes.remove(R::attribute(member))?));
        let members = members::<R>().iter().filter_map(attribute_of);
        let value = item::read(members)?;
        Ok(Item { id: id.ok_or_else(|| invalid(&self.sort_key))?, value, created_at, updated_at, version })
    }
}

/// A placeholder for the member or value of this number, since a member can have a reserved word of DynamoDB as its name.
fn placeholder(kind: char, number: usize) -> String {
    format!("{kind}m{number}")
}

/// Reads a user's items, within the user's partition.
pub struct Reader<'a, R> {
    table: &'a Table<R>,
    session: &'a ReadSession,
}

impl<R: Resource> Reader<'_, R> {
    /// The items from `cursor` on, newest created first, strongly consistent. One request, beside the session check.
    pub async fn list(&self, Limit(limit): Limit, cursor: Option<Cursor>) -> Result<Page<R>, Error> {
        let Self { table, session } = *self;
        let user_id = session.identity().user_id();
        // The index has only items that exist.
        let (projection, names) = table.projection(&[]);
        let mut query = table
            .client
            .query()
            .table_name(&table.name)
            .index_name(INDEX)
            .expression_attribute_values(":user", string(user_id))
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .set_exclusive_start_key(cursor.map(|Cursor { position, parents }| {
                let table = parents.into_iter().fold(table.clone(), Table::below);
                let mut key = table.key(user_id, position.id);
                key.insert(POSITION.to_owned(), table.position(position));
                key
            }))
            .scan_index_forward(false)
            .consistent_read(true)
            // One more than the page holds: if it exists, there is another page.
            .limit(i32::from(limit) + 1);
        query = if table.parents.is_empty() {
            query.key_condition_expression("userId = :user")
        } else {
            query
                .key_condition_expression("userId = :user AND begins_with(listPosition, :parents)")
                .expression_attribute_values(":parents", string(&table.parents))
        };
        let output = session.checked(Box::pin(async { query.send().await.map_err(Error::from_sdk) })).await?;
        // DynamoDB reports a last key if its own limit of 1 MB cut the page short.
        let is_cut_short = output.last_evaluated_key.is_some();
        let found = output.items.unwrap_or_default();
        let has_more = is_cut_short || found.len() > usize::from(limit);
        let parents = found.iter().take(limit.into()).next_back().map(|item| table.parents_of(item));
        let items = found.into_iter().take(limit.into()).map(|item| table.item(item)).collect::<Result<Vec<_>, _>>()?;
        let last = items.last().zip(parents).filter(|_| has_more);
        let cursor = last.map(|(&Item { created_at, id, .. }, parents)| {
            let position = Position { created_at, id };
            Cursor { position, parents }
        });
        Ok(Page { items, cursor })
    }

    /// One item, strongly consistent. One request, which makes the session check as well.
    pub async fn get(&self, id: Id) -> Result<Item<R>, Error> {
        let Self { table, session } = *self;
        let (projection, names) = table.projection(&[POSITION]);
        let item = KeysAndAttributes::builder()
            .keys(table.key(session.identity().user_id(), id))
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true)
            .build()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let item = session.accounts.check_and_get(session.identity(), &table.name, item).await?;
        table.item(existing(item).ok_or(Error::NotFound)?)
    }
}

/// Writes a user's items, within the user's partition. Every operation is one request and takes effect at most once,
/// however often the SDK sends it (see [`write`]). An operation that took effect returns the state that it produced, even
/// if the first response was lost and the item has changed since. Members that it did not set have their current values.
pub struct Writer<'a, R> {
    table: &'a Table<R>,
    user_id: &'a str,
}

impl<R: Resource> Writer<'_, R> {
    /// Creates an item. A repeated creation with the same id and content creates nothing.
    pub async fn create(&self, NewItem { id, value }: NewItem<R>) -> Result<CreateOutcome<R>, Error> {
        let (id, created_at) = (id.unwrap_or_default(), now());
        let position = Position { created_at, id };
        let fingerprint = write::fingerprint(id, &value)?;
        let mut update = self
            .update_item(id)
            .expression_attribute_values(":now", number(created_at))
            .expression_attribute_values(":position", self.table.position(position))
            .expression_attribute_values(":fingerprint", string(&fingerprint));
        let mut assignments =
            "createdAt = :now, updatedAt = :now, fingerprint = :fingerprint, listPosition = :position".to_owned();
        let mut content: Attributes = serde_dynamo::to_item(&value)?;
        let unstorable =
            members::<R>().iter().find(|member| content.get(**member).is_some_and(|value| !is_storable(value, 0)));
        if let Some(member) = unstorable {
            return Err(Error::Unstorable(member));
        }
        for (index, member) in (0..).zip(members::<R>()) {
            let Some(value) = content.remove(*member).filter(|value| !value.is_null()) else { continue };
            let (name, placeholder) = (placeholder('#', index), placeholder(':', index));
            assignments = format!("{assignments}, {name} = {placeholder}");
            update = update
                .expression_attribute_names(name, R::attribute(member))
                .expression_attribute_values(placeholder, value);
        }
        match write::create(update, &assignments).await? {
            Outcome::Applied { version, .. } => {
                Ok(CreateOutcome::Created(Item { id, value, created_at, updated_at: created_at, version }))
            }
            Outcome::ConditionFailed(Some(item)) if item.get("fingerprint") == Some(&string(fingerprint)) => {
                self.table.item(item).map(CreateOutcome::Replayed)
            }
            Outcome::ConditionFailed(_) => Err(Error::IdConflict),
        }
    }

    /// Changes an item.
    pub async fn update(&self, id: Id, update: R::Update, precondition: &Precondition) -> Result<Item<R>, Error> {
        let now = now();
        let changes = changes(&update)?;
        let is_unstorable = |value: &Option<AttributeValue>| value.as_ref().is_some_and(|value| !is_storable(value, 0));
        if let Some((member, _)) = changes.iter().find(|(_, value)| is_unstorable(value)) {
            return Err(Error::Unstorable(member));
        }
        let mut request = self.update_item(id).expression_attribute_values(":now", number(now));
        let (mut assignments, mut removals) = ("updatedAt = :now".to_owned(), Vec::new());
        for (index, (member, value)) in changes.iter().enumerate() {
            let (name, placeholder) = (placeholder('#', index), placeholder(':', index));
            request = request.expression_attribute_names(&name, R::attribute(member));
            match value {
                Some(value) => {
                    assignments = format!("{assignments}, {name} = {placeholder}");
                    request = request.expression_attribute_values(placeholder, value.clone());
                }
                None => removals.push(name),
            }
        }
        match write::update(request, precondition, &assignments, &removals).await? {
            Outcome::Applied { version, item: Some(mut item) } => {
                for (member, value) in changes {
                    let attribute = R::attribute(member);
                    match value {
                        Some(value) => item.insert(attribute.to_owned(), value),
                        None => item.remove(attribute),
                    };
                }
                Ok(Item { updated_at: now, version, ..self.table.item(item)? })
            }
            Outcome::Applied { item: None, .. } => Err(Error::NotFound),
            Outcome::ConditionFailed(item) => Err(self.precondition_failed(item)),
        }
    }

    /// Deletes an item.
    pub async fn delete(&self, id: Id, precondition: &Precondition) -> Result<(), Error> {
        let mut update = self.update_item(id);
        let mut content: Vec<_> = ["createdAt", "updatedAt", "fingerprint"].map(str::to_owned).into();
        for (index, member) in (0..).zip(members::<R>()) {
            let name = placeholder('#', index);
            update = update.expression_attribute_names(&name, R::attribute(member));
            content.push(name);
        }
        match write::delete(update, precondition, &content).await? {
            Outcome::Applied { .. } => Ok(()),
            Outcome::ConditionFailed(item) => Err(self.precondition_failed(item)),
        }
    }

    fn update_item(&self, id: Id) -> UpdateItemFluentBuilder {
        let Self { table, user_id } = *self;
        let update = table.client.update_item().table_name(&table.name).set_key(Some(table.key(user_id, id)));
        update.expression_attribute_values(":resourceType", string(R::PLURAL))
    }

    /// Why a precondition does not hold of this item, or of a missing one.
    fn precondition_failed(&self, item: Option<Attributes>) -> Error {
        match item.map(|item| self.table.item(item)) {
            None => Error::NotFound,
            Some(Ok(item)) => Error::VersionMismatch { current: item.version },
            Some(Err(error)) => error,
        }
    }
}

/// Whether DynamoDB can store a value: it limits numbers and how deep values nest, and members must have names
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
fn is_storable(value: &AttributeValue, depth: u8) -> bool {
    const MAX_DEPTH: u8 = 31;
    match value {
        AttributeValue::N(number) => {
            let magnitude = number.parse().map_or(f64::NAN, f64::abs);
            magnitude == 0.0 || (1e-130..1e126).contains(&magnitude)
        }
        AttributeValue::L(values) => depth < MAX_DEPTH && values.iter().all(|value| is_storable(value, depth + 1)),
        AttributeValue::M(members) => {
            depth < MAX_DEPTH && members.iter().all(|(name, value)| !name.is_empty() && is_storable(value, depth + 1))
        }
        _ => true,
    }
}

/// The members that `update` changes, and their new values, or None for a member that it removes.
fn changes<U: Serialize + DeserializeOwned>(update: &U) -> Result<Vec<(&'static str, Option<AttributeValue>)>, Error> {
    // An item does not distinguish `None` from `Some(None)`.
    let fields = resource::fields(update)?;
    let is_changed = |member: &str| fields.iter().any(|(name, value)| name == member && *value != Value::Option(None));
    let mut values: Attributes = serde_dynamo::to_item(update)?;
    let changed = members::<U>().iter().filter(|member| is_changed(member));
    Ok(changed.map(|member| (*member, values.remove(*member).filter(|value| !value.is_null()))).collect())
}
