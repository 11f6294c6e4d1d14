//! CloudFormation's functions and nested stacks, as far as this project's templates use them.
//!
//! The name of a resource is its logical id, with those of its nested stacks before it. References become this name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use yaml_serde::{Mapping, Value};

/// The type of a nested stack.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A resource, without references.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Resource {
    /// The type, such as `AWS::DynamoDB::Table`.
    #[serde(rename = "Type")]
    pub kind: String,
    condition: Option<String>,
    /// The `Metadata`.
    #[serde(default)]
    pub metadata: Value,
    /// The `Properties`.
    #[serde(default)]
    pub properties: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    conditions: BTreeMap<String, Value>,
    #[serde(default)]
    globals: Value,
    resources: BTreeMap<String, Resource>,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    value: Value,
}

/// A stack, according to its template.
pub(crate) struct Stack {
    /// The template's folder, to which paths of nested templates are relative.
    folder: PathBuf,
    /// The prefix of its resources' names: the logical ids of the stacks in which it is nested.
    prefix: String,
    document: Document,
    arguments: BTreeMap<String, Value>,
}

impl Stack {
    /// The stack of a template, with the defaults of its parameters.
    pub(crate) fn read(template: &Path) -> Result<Self> {
        Self::nested_in(String::new(), template, BTreeMap::new())
    }

    fn nested_in(prefix: String, template: &Path, arguments: BTreeMap<String, Value>) -> Result<Self> {
        let text = fs::read_to_string(template).with_context(|| format!("{} cannot be read", template.display()))?;
        let document = yaml_serde::from_str(&text).with_context(|| format!("{} is malformed", template.display()))?;
        let folder = template.parent().context("a template is in a folder")?.to_owned();
        Ok(Self { folder, prefix, document, arguments })
    }

    /// SAM's `Globals`.
    pub(crate) fn globals(&self) -> Result<Value> {
        self.resolve(&self.document.globals)
    }

    /// All resources by name, including those of nested stacks.
    pub(crate) fn resources(&self) -> Result<BTreeMap<String, Resource>> {
        let mut resources = BTreeMap::new();
        for (id, resource) in &self.document.resources {
            if !resource.condition.as_ref().map_or(Ok(true), |condition| self.holds(&condition.as_str().into()))? {
                continue;
            }
            if resource.kind == STACK {
                resources.extend(self.nested(id)?.resources()?);
                continue;
            }
            let properties = self.resolve(&resource.properties).with_context(|| id.clone())?;
            resources.insert(self.name(id), Resource { properties, ..resource.clone() });
        }
        Ok(resources)
    }

    fn name(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    fn nested(&self, id: &str) -> Result<Self> {
        let resource = self.document.resources.get(id).filter(|resource| resource.kind == STACK);
        let properties = &resource.with_context(|| format!("there is no nested stack {id}"))?.properties;
        let path = properties.get("TemplateURL").and_then(Value::as_str).context("a nested stack has a template")?;
        let arguments = match properties.get("Parameters") {
            Some(parameters) => yaml_serde::from_value(self.resolve(parameters)?)?,
            None => BTreeMap::new(),
        };
        Self::nested_in(self.name(id), &self.folder.join(path), arguments)
    }

    fn resolve(&self, value: &Value) -> Result<Value> {
        let is_present = |value: &Result<Value>| !matches!(value, Ok(Value::Null));
        match value {
            Value::Tagged(tagged) => self.call(&tagged.tag.to_string(), value, &tagged.value),
            Value::Sequence(values) => values
                .iter()
                .map(|value| self.resolve(value))
                .filter(is_present)
                .collect::<Result<Vec<_>>>()
                .map(Into::into),
            Value::Mapping(members) => {
                let members = members.iter().map(|(name, value)| Ok((name.clone(), self.resolve(value)?)));
                let members = members.filter(|member| !matches!(member, Ok((_, Value::Null))));
                members.collect::<Result<Mapping>>().map(Into::into)
            }
            value => Ok(value.clone()),
        }
    }

    /// The result of a function. Functions whose result the local stack does not need stay as they are.
    fn call(&self, function: &str, call: &Value, argument: &Value) -> Result<Value> {
        match (function, argument) {
            ("!Ref" | "!GetAtt", Value::String(name)) => self.reference(name),
            ("!Sub", Value::String(text)) => self.substitute(text).map(Value::from),
            ("!If", Value::Sequence(arguments)) => match arguments.as_slice() {
                [condition, yes, no] => self.resolve(if self.holds(condition)? { yes } else { no }),
                _ => Ok(call.clone()),
            },
            ("!Join" | "!Split", Value::Sequence(_)) => match self.resolve(argument)? {
                Value::Sequence(resolved) => match resolved.as_slice() {
                    [Value::String(separator), Value::Sequence(parts)] => {
                        let parts: Vec<_> = parts.iter().filter_map(Value::as_str).collect();
                        Ok(parts.join(separator).into())
                    }
                    [Value::String(separator), Value::String(text)] => {
                        Ok(text.split(separator.as_str()).map(Value::from).collect::<Vec<_>>().into())
                    }
                    _ => Ok(call.clone()),
                },
                _ => Ok(call.clone()),
            },
            ("!Select", Value::Sequence(_)) => match self.resolve(argument)?.as_sequence().map(Vec::as_slice) {
                Some([index, Value::Sequence(values)]) => {
                    let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                    Ok(index.and_then(|index| values.get(index)).unwrap_or(call).clone())
                }
                _ => Ok(call.clone()),
            },
            _ => Ok(call.clone()),
        }
    }

    fn reference(&self, name: &str) -> Result<Value> {
        if name == "AWS::NoValue" {
            return Ok(Value::Null);
        }
        if let Some(argument) = self.arguments.get(name) {
            return Ok(argument.clone());
        }
        if let Some(parameter) = self.document.parameters.get(name) {
            return Ok(parameter.default.clone().unwrap_or_else(|| format!("${{{name}}}").into()));
        }
        if name.starts_with("AWS::") {
            return Ok(format!("${{{name}}}").into());
        }
        match name.split_once('.') {
            Some((id, attribute)) => match attribute.strip_prefix("Outputs.") {
                Some(output) => self.nested(id)?.output(output).with_context(|| name.to_owned()),
                None => Ok(self.name(id).into()),
            },
            None => Ok(self.name(name).into()),
        }
    }

    fn output(&self, name: &str) -> Result<Value> {
        self.resolve(&self.document.outputs.get(name).context("the nested stack has no such output")?.value)
    }

    fn substitute(&self, text: &str) -> Result<String> {
        let mut parts = text.split("${");
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').context("a ${ is not closed")?;
            match self.reference(name)? {
                Value::String(value) => result.push_str(&value),
                value => result.push_str(yaml_serde::to_string(&value)?.trim()),
            }
            result.push_str(rest);
        }
        Ok(result)
    }

    /// Whether a condition holds, given by its name or as an expression.
    fn holds(&self, condition: &Value) -> Result<bool> {
        let (function, argument) = match condition {
            Value::String(name) => {
                let condition = self.document.conditions.get(name);
                return self.holds(condition.with_context(|| format!("there is no condition {name}"))?);
            }
            Value::Tagged(tagged) => (tagged.tag.to_string(), &tagged.value),
            _ => (String::new(), condition),
        };
        match (function.as_str(), argument) {
            ("!Condition", name) => self.holds(name),
            ("!Not", Value::Sequence(conditions)) => Ok(!self.all_hold(conditions)?),
            ("!And", Value::Sequence(conditions)) => self.all_hold(conditions),
            ("!Equals", Value::Sequence(values)) => {
                let values = values.iter().map(|value| self.resolve(value)).collect::<Result<Vec<_>>>()?;
                Ok(values.windows(2).all(|pair| matches!(pair, [one, other] if one == other)))
            }
            _ => bail!("{function} is not supported in a condition"),
        }
    }

    fn all_hold(&self, conditions: &[Value]) -> Result<bool> {
        for condition in conditions {
            if !self.holds(condition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = r#"
Parameters: { Stage: { Default: dev }, Required: { Type: String } }
Conditions: { IsProduction: !Equals [!Ref Stage, prod] }
Globals: { Required: !Ref Required, Kept: !FindInMap [Stages, !Ref Stage, Kept] }
Resources:
  Plain:
    Type: Plain
    Metadata: { Binary: plain }
    Properties:
      Outer: !GetAtt Notes.Outputs.Inner
      Text: !Sub "${AWS::Region}:${Notes.Outputs.Inner}/${Stage}"
      List: [!Ref Stage, !If [IsProduction, alarm, !Ref AWS::NoValue]]
  Production: { Type: Plain, Condition: IsProduction }
  Notes:
    Type: AWS::CloudFormation::Stack
    Properties: { TemplateURL: below/nested.yaml, Parameters: { Key: noteId, Plain: !GetAtt Plain.Arn } }
  Empty:
    Type: AWS::CloudFormation::Stack
    Properties: { TemplateURL: below/nested.yaml, Parameters: { Plain: !Ref Plain } }
"#;

    const NESTED: &str = r#"
Parameters: { Key: { Default: "" }, Plain: { Type: String } }
Conditions:
  HasKey: !Not [!Equals [!Ref Key, ""]]
  HasBoth: !And [!Condition HasKey, !Equals [!Ref Plain, Plain]]
Resources:
  Keyed: { Type: Keyed, Condition: HasBoth, Properties: { Key: !Ref Key } }
  Always: { Type: Plain, Properties: { Of: !If [HasKey, !GetAtt Keyed.Arn, !Ref Plain] } }
Outputs:
  Inner: { Value: !Ref Keyed }
"#;

    fn stack(root: &str) -> Result<(Value, BTreeMap<String, Resource>)> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("below"))?;
        fs::write(folder.path().join("below/nested.yaml"), NESTED)?;
        fs::write(folder.path().join("root.yaml"), root)?;
        let stack = Stack::read(&folder.path().join("root.yaml"))?;
        Ok((stack.globals()?, stack.resources()?))
    }

    #[test]
    fn nested_resources_have_the_names_of_their_stacks_and_no_references() {
        let (globals, resources) = stack(ROOT).expect("it is resolved");
        assert_eq!(globals["Required"], "${Required}");
        assert!(matches!(globals["Kept"], Value::Tagged(_)));
        assert_eq!(resources.keys().collect::<Vec<_>>(), ["EmptyAlways", "NotesAlways", "NotesKeyed", "Plain"]);
        let plain = &resources["Plain"];
        assert_eq!((plain.kind.as_str(), &plain.metadata["Binary"]), ("Plain", &"plain".into()));
        assert_eq!(plain.properties["Outer"], "NotesKeyed");
        assert_eq!(plain.properties["Text"], "${AWS::Region}:NotesKeyed/dev");
        assert_eq!(plain.properties["List"], Value::Sequence(vec!["dev".into()]));
        assert_eq!(resources["NotesKeyed"].properties["Key"], "noteId");
        assert_eq!(resources["NotesAlways"].properties["Of"], "NotesKeyed");
        assert_eq!(resources["EmptyAlways"].properties["Of"], "Plain");
    }

    #[test]
    fn missing_outputs_stacks_and_conditions_are_errors() {
        for (part, instead) in [
            ("Notes.Outputs.Inner", "Notes.Outputs.Missing"),
            ("Notes.Outputs.Inner", "Missing.Outputs.Inner"),
            ("Condition: IsProduction", "Condition: IsMissing"),
            ("below/nested.yaml", "missing.yaml"),
            ("!Equals [!Ref Stage, prod]", "!Or [true]"),
        ] {
            let error = stack(&ROOT.replace(part, instead)).expect_err(instead);
            assert!(format!("{error:#}").contains("Missing") || !instead.contains("Missing"), "{error:#}");
        }
    }
}
