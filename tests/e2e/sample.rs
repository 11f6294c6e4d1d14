//! The resources that the tests use: a function has one for each of its files `sample.json` and `…-sample.json`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use api::Operation;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stack::workspace;

/// A resource's path, and bodies that it accepts. Their values have the form in which the API returns them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// The function: its folder, its binary and its name in the local stack.
    #[serde(skip)]
    pub(crate) function: String,
    /// The list's path as the template and the OpenAPI document have it, such as `/chats/{chat}/notes`.
    #[serde(rename = "path")]
    pub(crate) route: String,
    /// The list's path with a new id in the place of each parameter.
    #[serde(skip)]
    pub(crate) path: String,
    /// What clients can do with it, by the OpenAPI document.
    #[serde(skip)]
    operations: Vec<Operation>,
    /// A creation.
    pub(crate) create: Value,
    /// A different creation.
    pub(crate) other: Value,
    /// A change to an item that was created by either.
    pub(crate) update: Value,
}

impl Sample {
    /// The samples of all resources.
    pub(crate) fn all() -> Vec<Self> {
        let folders = entries(&workspace().join("functions"));
        let files = folders.iter().flat_map(|folder| entries(folder));
        let mut samples: Vec<Self> = files
            .filter(|file| file.to_string_lossy().ends_with("sample.json"))
            .map(|file| {
                let text = fs::read_to_string(&file).expect("the file is readable");
                let sample: Self =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                let folder = file.parent().and_then(Path::file_name).expect("it is in a function's folder");
                Self {
                    function: folder.to_string_lossy().into_owned(),
                    path: with_ids(&sample.route),
                    operations: documented_operations(&sample.route),
                    ..sample
                }
            })
            .collect();
        samples.sort_by(|one, other| (&one.function, &one.route).cmp(&(&other.function, &other.route)));
        assert!(!samples.is_empty(), "no function has a sample.json");
        samples
    }

    /// The samples of the resources that have these operations. A resource can omit some: `Operations::without`.
    pub(crate) fn with(operations: &[Operation]) -> Vec<Self> {
        let mut samples = Self::all();
        samples.retain(|sample| operations.iter().all(|operation| sample.has(*operation)));
        samples
    }

    /// The resource of tests that need one and do not depend on which: one that omits as few operations as possible.
    pub(crate) fn first() -> Self {
        let mut samples = Self::all();
        samples.sort_by_key(|sample| OPERATIONS.len() - sample.operations.len());
        samples.swap_remove(0)
    }

    /// Whether clients can do this.
    pub(crate) fn has(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }

    /// Whether clients can do everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.operations.len() == OPERATIONS.len()
    }

    /// The path of an item.
    pub(crate) fn item(&self, id: &str) -> String {
        format!("{}/{id}", self.path)
    }

    /// The path of an item that does not exist.
    pub(crate) fn missing_item(&self) -> String {
        self.item(&new_id())
    }

    /// A creation with an id of the client's.
    pub(crate) fn create_with_id(&self, id: &str) -> Value {
        with(&self.create, "id", json!(id))
    }

    /// The text of the creation. Tests check that no log has it, so samples have text that is nowhere else.
    pub(crate) fn texts(&self) -> Vec<&str> {
        fn texts(value: &Value) -> Vec<&str> {
            match value {
                // A shorter one can be part of anything.
                Value::String(text) if text.len() >= 8 => vec![text],
                Value::Array(values) => values.iter().flat_map(texts).collect(),
                Value::Object(members) => members.values().flat_map(texts).collect(),
                _ => Vec::new(),
            }
        }
        texts(&self.create)
    }

    /// A request to each operation that the resource has, those on an item to the one at `item`.
    pub(crate) fn requests(&self, item: &str) -> Vec<(Method, String, Value)> {
        let operations = OPERATIONS.into_iter().filter(|(operation, ..)| self.has(*operation));
        let requests = operations.map(|(operation, method, of_item)| {
            let body = match operation {
                Operation::Create => self.create.clone(),
                Operation::Update => self.update.clone(),
                _ => Value::Null,
            };
            (method, if of_item { item } else { &self.path }.to_owned(), body)
        });
        requests.collect()
    }
}

/// Each operation, its method, and whether it is on an item.
const OPERATIONS: [(Operation, Method, bool); 5] = [
    (Operation::List, Method::GET, false),
    (Operation::Create, Method::POST, false),
    (Operation::Get, Method::GET, true),
    (Operation::Update, Method::PATCH, true),
    (Operation::Delete, Method::DELETE, true),
];

/// The operations that the OpenAPI document has of the resource at this route.
fn documented_operations(route: &str) -> Vec<Operation> {
    let document = fs::read_to_string(workspace().join("docs/openapi.json")).expect("the document is readable");
    let document: Value = serde_json::from_str(&document).expect("the document is JSON");
    let item = format!("{route}/{{id}}");
    let documented = OPERATIONS.into_iter().filter(|(_, method, of_item)| {
        let path = if *of_item { &item } else { route };
        document["paths"][path].get(method.as_str().to_lowercase()).is_some()
    });
    documented.map(|(operation, ..)| operation).collect()
}

/// The entries of a folder, or nothing for a file.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("the folder is readable").path()).collect()
}

/// An id as clients make them.
pub(crate) fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// A route with a new id in the place of each parameter.
pub(crate) fn with_ids(route: &str) -> String {
    let segments = route.split('/');
    let segments = segments.map(|segment| if segment.starts_with('{') { new_id() } else { segment.to_owned() });
    segments.collect::<Vec<_>>().join("/")
}

/// A body with one member more, or with another value of it.
pub(crate) fn with(body: &Value, member: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[member] = value;
    body
}

/// The items of a page.
#[track_caller]
pub(crate) fn items(page: &Value) -> &Vec<Value> {
    let members = page.as_object().expect("a page is an object");
    let mut lists = members.iter().filter(|(name, _)| *name != "cursor");
    match (lists.next(), lists.next(), members.get("cursor")) {
        (Some((_, Value::Array(items))), None, Some(_)) => items,
        _ => panic!("not a list of items and a cursor: {page}"),
    }
}

/// Whether an item has the members of a body, with their values.
pub(crate) fn contains(item: &Value, body: &Value) -> bool {
    body.as_object().expect("a body is an object").iter().all(|(member, value)| item.get(member) == Some(value))
}
