//! `make resource`: a new resource as a function, its part of the template, and the client's hooks.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

/// The header in template.yaml above which a resource goes.
const NEXT_PART: &str = "  # ---------------------------------------------------------------- profile\n";
/// The parameter in template.yaml above which that of a resource's existing table goes.
const NEXT_PARAMETER: &str = "  DomainName:\n";
/// Plurals that cannot be a resource's: crates that a function uses, members of the workspace in other folders, the tables
/// of the session check, members of the OpenAPI document, and types that a function imports, as their plural.
const TAKEN: [&str; 29] = [
    "alloc",
    "api",
    "aws",
    "bench",
    "connections",
    "contexts",
    "core",
    "cursors",
    "ids",
    "lines",
    "local",
    "operate",
    "options",
    "problems",
    "profile",
    "profiles",
    "resources",
    "results",
    "routers",
    "serde",
    "sessions",
    "std",
    "store",
    "strings",
    "tables",
    "test",
    "users",
    "utoipa",
    "vecs",
];
/// The members and attributes of every item.
const RESERVED: [&str; 15] = [
    "id",
    "userId",
    "createdAt",
    "updatedAt",
    "version",
    "firstVersion",
    "fingerprint",
    "listPosition",
    "expiresAt",
    "cursor",
    "resourceType",
    "write1",
    "write2",
    "write3",
    "write4",
];
/// Names that Rust accepts only with `r#`.
const KEYWORDS: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Nouns that end in s in the singular as well.
const UNCHANGED_PLURALS: [&str; 3] = ["news", "series", "species"];
const MAX_STRING: usize = 10_000;

/// The resource to create.
#[derive(Args)]
pub(crate) struct NewResource {
    /// The resource's plural name in lower case, such as notes, for the path, the crate and the folder
    plural: String,
    /// The resource's singular name, such as note [default: the plural without its ending]
    #[arg(long)]
    singular: Option<String>,
    /// Members: name:string[:longest], name:bool or name:integer. A ? after the type lets clients omit the member. At least
    /// one must be a string without ?
    #[arg(long, default_value = "text:string:1000", value_delimiter = ',', value_parser = Field::parse)]
    fields: Vec<Field>,
}

/// A member of the resource.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    kind: Kind,
    is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A line of text with at most this many characters.
    Line(usize),
    Bool,
    Integer,
}

impl Field {
    fn parse(text: &str) -> Result<Self> {
        let (name, kind) = text.split_once(':').context("a field is a name, a colon and a type")?;
        let is_name = name.starts_with(|char: char| char.is_ascii_lowercase());
        ensure!(
            is_name
                && name.chars().all(|char| char.is_ascii_alphanumeric())
                && !["crate", "self", "super"].contains(&name),
            "{name} is not a name in camel case, such as dueAt"
        );
        ensure!(!RESERVED.contains(&name), "every item has a member {name} already; choose another name");
        let (kind, is_optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        let kind = match kind.split_once(':') {
            None if kind == "string" => Kind::Line(200),
            None if kind == "bool" => Kind::Bool,
            None if kind == "integer" => Kind::Integer,
            Some(("string", longest)) => match longest.parse() {
                Ok(longest @ 1..=MAX_STRING) => Kind::Line(longest),
                _ => bail!("{longest} is not a length from 1 to {MAX_STRING}"),
            },
            _ => bail!("{kind} is not a type; use string, string:1000, bool or integer"),
        };
        Ok(Self { name: name.to_owned(), kind, is_optional })
    }

    /// `due_at` of `dueAt`.
    fn identifier(&self) -> String {
        let mut identifier = String::new();
        for char in self.name.chars() {
            if char.is_ascii_uppercase() {
                identifier.push('_');
            }
            identifier.push(char.to_ascii_lowercase());
        }
        if KEYWORDS.contains(&identifier.as_str()) { format!("r#{identifier}") } else { identifier }
    }

    fn rust_type(&self) -> String {
        match self.kind {
            Kind::Line(longest) => format!("Line<{longest}>"),
            Kind::Bool => "bool".to_owned(),
            Kind::Integer => "i64".to_owned(),
        }
    }

    /// Whether clients can omit it from a creation.
    fn can_be_omitted(&self) -> bool {
        self.is_optional || self.kind == Kind::Bool
    }

    fn member(&self) -> String {
        let (identifier, kind) = (self.identifier(), self.rust_type());
        let kind = if self.is_optional { format!("Option<{kind}>") } else { kind };
        let default = if self.can_be_omitted() && !self.is_optional { "    #[serde(default)]\n" } else { "" };
        format!(
            "    /// Describe it here: the text becomes part of the OpenAPI document.\n{default}    pub {identifier}: {kind},\n"
        )
    }

    fn change(&self) -> String {
        let (identifier, kind) = (self.identifier(), self.rust_type());
        let (kind, description) = if self.is_optional {
            (format!("Option<Option<{kind}>>"), "The new value. Null removes it.")
        } else {
            (format!("Option<{kind}>"), "The new value.")
        };
        format!("    /// {description}\n    pub {identifier}: {kind},\n")
    }

    /// The value that a new item has in the client until it is confirmed.
    fn default(&self) -> Value {
        if self.is_optional { Value::Null } else { json!(false) }
    }

    /// A value for `sample.json`.
    fn sample(&self, number: usize) -> Value {
        match self.kind {
            Kind::Line(longest) => {
                let text = format!("{number} sample {} of a test", self.name);
                text.chars().take(longest).collect::<String>().trim().into()
            }
            Kind::Bool => json!(number.is_multiple_of(2)),
            Kind::Integer => json!(number),
        }
    }
}

impl NewResource {
    /// Writes the resource into the project.
    pub(crate) fn write(&self, project: &Path) -> Result<()> {
        let plural = &self.plural;
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|char| char.is_ascii_lowercase());
        ensure!(is_name(plural), "{plural} is not a plural of letters from a to z");
        ensure!(
            !TAKEN.contains(&plural.as_str()) && !KEYWORDS.contains(&plural.as_str()),
            "{plural} is a reserved name. Choose another one"
        );
        let singular = self.singular.clone().or_else(|| singular_of(plural));
        let singular = singular.filter(|singular| is_name(singular) && singular != plural);
        let singular = singular.with_context(|| {
            format!("the singular of {plural} is not known. Set SINGULAR (--singular) to a word other than {plural}")
        })?;
        let is_text = |field: &Field| matches!(field.kind, Kind::Line(_)) && !field.can_be_omitted();
        ensure!(self.fields.iter().any(is_text), "at least one field must be a string that cannot be omitted");
        for (index, Field { name, .. }) in self.fields.iter().enumerate() {
            let is_repeated = self.fields.iter().take(index).any(|other| other.name == *name);
            ensure!(!is_repeated && *name != format!("{singular}Id"), "the name {name} is used twice");
        }
        let function = project.join("functions").join(plural);
        ensure!(!function.exists(), "functions/{plural} exists already");
        let template = project.join("template.yaml");
        let before = fs::read_to_string(&template).context("template.yaml cannot be read")?;
        let (before, rest) =
            before.split_once(NEXT_PART).context("template.yaml has no header for the part of profile")?;
        let (parameters, resources) =
            before.split_once(NEXT_PARAMETER).context("template.yaml has no parameter DomainName")?;

        let fill = |text: &str| self.fill(text, &singular);
        for (path, text) in [
            ("Cargo.toml", include_str!("../scaffold/Cargo.toml.txt")),
            ("src/lib.rs", include_str!("../scaffold/lib.rs.txt")),
            ("src/main.rs", include_str!("../scaffold/main.rs.txt")),
            (&format!("events/list-{plural}.json"), include_str!("../scaffold/event.json.txt")),
        ] {
            write(&function.join(path), &fill(text))?;
        }
        write(&function.join("sample.json"), &format!("{:#}\n", self.sample()))?;
        let hooks = project.join(format!("web/app/src/resources/{plural}.ts"));
        write(&hooks, &fill(include_str!("../scaffold/hooks.ts.txt")))?;
        let part = fill(include_str!("../scaffold/template.yaml.txt"));
        let parameter = fill(include_str!("../scaffold/parameter.yaml.txt"));
        fs::write(&template, format!("{parameters}{parameter}{NEXT_PARAMETER}{resources}{part}{NEXT_PART}{rest}"))
            .context("template.yaml cannot be written")?;
        println!("wrote functions/{plural}, its part of template.yaml, and web/app/src/resources/{plural}.ts");
        Ok(())
    }

    fn fill(&self, text: &str, singular: &str) -> String {
        let all = |part: fn(&Field) -> String| self.fields.iter().map(part).collect::<String>();
        let defaults: Map<_, _> = self
            .fields
            .iter()
            .filter(|field| field.can_be_omitted())
            .map(|field| (field.name.clone(), field.default()))
            .collect();
        let defaults = if defaults.is_empty() { String::new() } else { format!(", {}", object(&defaults)) };
        let uses_lines = self.fields.iter().any(|field| matches!(field.kind, Kind::Line(_)));
        text.replace("{{plural}}", &self.plural)
            .replace("{{singular}}", singular)
            .replace("{{Plural}}", &capitalized(&self.plural))
            .replace("{{Singular}}", &capitalized(singular))
            .replace("{{PLURAL}}", &self.plural.to_uppercase())
            .replace("{{imports}}", if uses_lines { "Line, " } else { "" })
            .replace("{{fields}}", &all(Field::member))
            .replace("{{changes}}", &all(Field::change))
            .replace("{{defaults}}", &defaults)
    }

    fn sample(&self) -> Value {
        let members = |number: usize| -> Map<String, Value> {
            self.fields.iter().map(|field| (field.name.clone(), field.sample(number))).collect()
        };
        json!({ "path": format!("/{}", self.plural), "create": members(1), "other": members(2), "update": members(3) })
    }
}

/// A TypeScript literal of scalar members.
fn object(members: &Map<String, Value>) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{ {} }}", members.join(", "))
}

fn singular_of(plural: &str) -> Option<String> {
    if UNCHANGED_PLURALS.contains(&plural) {
        return None;
    }
    if let Some(stem) = plural.strip_suffix("ies") {
        return Some(format!("{stem}y"));
    }
    let doubled = ["ches", "shes", "sses", "xes", "zes"].iter().any(|ending| plural.ends_with(ending));
    plural.strip_suffix(if doubled { "es" } else { "s" }).map(str::to_owned)
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_have_a_singular() {
        for (plural, singular) in [("notes", "note"), ("entries", "entry"), ("boxes", "box"), ("classes", "class")] {
            assert_eq!(singular_of(plural).as_deref(), Some(singular));
        }
        for plural in ["children", "news", "series"] {
            let resource = NewResource { plural: plural.to_owned(), singular: None, fields: Vec::new() };
            let error = resource.write(Path::new("/nonexistent")).expect_err("its singular is not known").to_string();
            assert!(error.starts_with(&format!("the singular of {plural} is not known. Set SINGULAR")), "{error}");
        }
    }

    #[test]
    fn fields_are_names_with_types() {
        let parsed =
            |text: &str| Field::parse(text).map(|field| (field.identifier(), field.rust_type(), field.is_optional));
        for (text, expected) in [
            ("text:string:1000", ("text", "Line<1000>", false)),
            ("text:string", ("text", "Line<200>", false)),
            ("dueAt:integer?", ("due_at", "i64", true)),
            ("type:bool", ("r#type", "bool", false)),
            ("where:string", ("r#where", "Line<200>", false)),
        ] {
            let (identifier, kind, is_optional) = parsed(text).expect(text);
            assert_eq!((identifier.as_str(), kind.as_str(), is_optional), expected);
        }
        for text in [
            "text",
            "text:",
            "text:strings",
            "text:string:0",
            "text:string:many",
            "Text:string",
            "due_at:bool",
            "id:string",
            ":bool",
            "self:bool",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
