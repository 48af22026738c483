//! Field mappings of automations: `{"Email": "{{source.email}}"}` to concrete input.
//!
//! A mapping value that is a single variable keeps its type; a variable inside text is inserted as text;
//! anything that is not a template stays as it is. What the source does not have is left out, at any depth, in objects
//! and arrays; a null that it has is sent. The result is plain data: nothing in a source
//! document is ever read as a template.
//!
//! What is given besides the source (see [`crate::given`]) is used in the same way: `{{workspace.values.pipeline_id}}`.
//!
//! Two objects are read and not copied: `{"each": "source.lines", "as": "line", "value": …}` makes an array, one entry
//! for each of a list's, and `{"when": <predicate>, "value": …}` is left out unless its predicate holds for the source.

use std::fmt;

use serde_json::{Map, Value};

use crate::budget::{Budget, Exceeded};
use crate::escape;
use crate::given::{self, Given};
use crate::predicate::{Predicate, PredicateError};
use crate::render_error::RenderError;
use crate::template::{Scope, Tables, Template, TemplateError, tables_of};
use crate::values::{Values, dotted};

/// A mapping whose templates are parsed: once, when it is saved or first used.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    inputs: Vec<(String, Node)>,
    /// What its `lookup` filters look into.
    tables: Tables,
    /// The variables that it uses of what is given besides the source.
    given: Vec<String>,
}

#[derive(Debug, Clone)]
enum Node {
    /// A value without a template.
    Fixed(Value),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Each {
        /// Path below the source, or below the entry of an outer `each`.
        list: Path,
        /// What an entry is called inside.
        name: String,
        value: Box<Self>,
    },
    When {
        condition: Predicate,
        value: Box<Self>,
    },
}

/// `source.lines`, or `line.taxes` inside an `each`: the name it begins with and the rest.
#[derive(Debug, Clone)]
struct Path {
    first: String,
    rest: String,
}

/// Why a mapping has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingError {
    /// The input that was being made.
    pub input: String,
    pub error: RenderError,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field_mapping {:?}: {}", self.input, self.error)
    }
}

impl std::error::Error for MappingError {}

/// Compiles a condition.
type Compile<'c> = &'c mut dyn FnMut(&Value) -> Result<Predicate, PredicateError>;

impl Mapping {
    /// Parses a mapping.
    ///
    /// # Errors
    /// Each template that is wrong: the input's name and what is wrong with it.
    pub fn parse(mapping: &Map<String, Value>) -> Result<Self, Vec<(String, String)>> {
        Self::compiled(mapping, Tables::new(), &mut Predicate::parse_given)
    }

    /// As [`Self::parse`], with tables to look into and conditions that are compiled by a [`crate::Compiler`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn compiled(
        mapping: &Map<String, Value>,
        tables: Tables,
        compile: Compile<'_>,
    ) -> Result<Self, Vec<(String, String)>> {
        let (mut inputs, mut wrong) = (Vec::with_capacity(mapping.len()), Vec::new());
        let mut parser = Parser { compile, tables: &tables, entries: Vec::new(), given: Vec::new() };
        for (name, value) in mapping {
            match parser.parse(value) {
                Ok(node) => inputs.push((name.clone(), node)),
                Err(why) => wrong.push((name.clone(), why)),
            }
        }
        let mut given = parser.given;
        given.sort_unstable();
        given.dedup();
        if wrong.is_empty() { Ok(Self { inputs, tables, given }) } else { Err(wrong) }
    }

    /// Resolves the mapping against a source document. Inputs that resolve to an absent value are left out.
    ///
    /// # Errors
    /// [`MappingError`] naming the input, and the source path that is missing inside a text, whose value a filter cannot
    /// read or where the budget ended.
    pub fn resolve(&self, source: &Value, budget: &Budget) -> Result<Map<String, Value>, MappingError> {
        self.resolve_given(source, &[], budget)
    }

    /// As [`Self::resolve`], with what is given besides the source.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_given(
        &self,
        source: &Value,
        given: Given<'_>,
        budget: &Budget,
    ) -> Result<Map<String, Value>, MappingError> {
        let values = Values { tables: &self.tables, ..Values::source_only(source) };
        // Why one for the whole mapping: inside an `each` a condition is evaluated once for every entry of the list.
        let matching = Budget::matching(crate::budget::MATCHING_STEPS);
        let mut place =
            Place { values: values.within(budget), source, given, budget, matching, entries: given.to_vec() };
        let mut input = Map::with_capacity(self.inputs.len());
        for (name, node) in &self.inputs {
            let resolved =
                place.resolve(node).map_err(|error| MappingError { input: name.clone(), error })?;
            if let Some(resolved) = resolved {
                input.insert(name.clone(), resolved);
            }
        }
        Ok(input)
    }

    /// The variables that it uses of what is given besides the source, such as `workspace.values.pipeline_id`.
    #[must_use]
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// The source paths that an input is made from, as `source.email`, and `source.lines.*.sku` where it is made from
    /// every entry of a list.
    #[must_use]
    pub fn sources(&self, input: &str) -> Vec<String> {
        let mut found = Vec::new();
        if let Some((_, node)) = self.inputs.iter().find(|(name, _)| name == input) {
            node.sources(&mut found);
        }
        found
    }

    /// The inputs whose text looks like a template with one brace where there should be two, with that text.
    #[must_use]
    pub fn half_templates(&self) -> Vec<(&str, String)> {
        let mut found = Vec::new();
        for (name, node) in &self.inputs {
            if let Some(text) = node.half_template() {
                found.push((name.as_str(), text));
            }
        }
        found
    }
}

impl Node {
    fn sources(&self, found: &mut Vec<String>) {
        match self {
            Self::Fixed(_) => {}
            Self::Text(template) => found.extend(template.variables().map(ToString::to_string)),
            Self::List(items) => items.iter().for_each(|item| item.sources(found)),
            Self::Object(members) => members.iter().for_each(|(_, item)| item.sources(found)),
            Self::Each { list, name, value } => {
                found.push(list.to_string());
                let mut inside = Vec::new();
                value.sources(&mut inside);
                found.extend(inside.into_iter().map(|path| match below(&path, name) {
                    Some(rest) => format!("{list}.*{rest}"),
                    None => path,
                }));
            }
            Self::When { value, .. } => value.sources(found),
        }
    }

    fn half_template(&self) -> Option<String> {
        match self {
            Self::Fixed(Value::String(text)) => half_template(text),
            Self::Fixed(_) => None,
            Self::Text(template) => template.literals().find_map(half_template),
            Self::List(items) => items.iter().find_map(Self::half_template),
            Self::Object(members) => members.iter().find_map(|(_, item)| item.half_template()),
            Self::Each { value, .. } | Self::When { value, .. } => value.half_template(),
        }
    }
}

/// `{source.email}`, or another of the names that templates begin with, in one brace or with a dollar sign.
fn half_template(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let inner = after.split('}').next().unwrap_or_default();
        let scope = inner.trim_start().split(['.', '|', ' ']).next().unwrap_or_default();
        let is_name = Scope::parse(scope).is_some() || given::NAMES.contains(&scope);
        if inner.len() < after.len() && inner.contains('.') && is_name {
            return Some(format!("{{{inner}}}"));
        }
        rest = after;
    }
    None
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        if self.rest.is_empty() { Ok(()) } else { write!(f, ".{}", self.rest) }
    }
}

/// Reads the values of a mapping.
struct Parser<'c> {
    compile: Compile<'c>,
    tables: &'c Tables,
    /// Names of the entries of the `each` around the current place.
    entries: Vec<String>,
    /// The variables of what is given that were met.
    given: Vec<String>,
}

impl Parser<'_> {
    fn parse(&mut self, value: &Value) -> Result<Node, String> {
        Ok(match value {
            Value::String(text) => {
                let template = self.template(text)?;
                match template.as_literal() {
                    Some(_) => Node::Fixed(value.clone()),
                    None => Node::Text(template),
                }
            }
            Value::Array(items) => {
                Node::List(items.iter().map(|item| self.parse(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => match (map.get("each"), map.get("when"), map.get("value")) {
                (Some(list), None, Some(value)) if map.len() == 3 && map.contains_key("as") => {
                    self.each(list, map.get("as"), value)?
                }
                (None, Some(condition), Some(value)) if map.len() == 2 => {
                    let condition =
                        (self.compile)(condition).map_err(|e| format!("when{} {}", e.pointer, e.message))?;
                    self.given.extend(condition.given());
                    Node::When { condition, value: Box::new(self.parse(value)?) }
                }
                _ => Node::Object(
                    map.iter()
                        .map(|(name, item)| Ok::<_, String>((name.clone(), self.parse(item)?)))
                        .collect::<Result<_, _>>()?,
                ),
            },
            other => Node::Fixed(other.clone()),
        })
    }

    fn each(&mut self, list: &Value, name: Option<&Value>, value: &Value) -> Result<Node, String> {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_word || Scope::parse(name).is_some() || self.entries.iter().any(|own| own == name) {
            return Err(format!(
                "\"as\" is what an entry is called inside: a word of letters, digits and _ that means nothing else yet, \
                 not {name:?}"
            ));
        }
        let path = list.as_str().unwrap_or_default();
        let path = path.strip_prefix("{{").and_then(|path| path.strip_suffix("}}")).unwrap_or(path).trim();
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let is_in_source = first == "source" && !rest.is_empty();
        if !is_in_source && !self.entries.iter().any(|own| own == first) {
            return Err(format!("\"each\" is the path of a list, such as source.lines, not {path:?}"));
        }
        let list = Path { first: first.to_owned(), rest: rest.to_owned() };
        self.entries.push(name.to_owned());
        let value = self.parse(value);
        self.entries.pop();
        Ok(Node::Each { list, name: name.to_owned(), value: Box::new(value?) })
    }

    fn template(&mut self, text: &str) -> Result<Template, String> {
        let names: Vec<&str> =
            given::NAMES.into_iter().chain(self.entries.iter().map(String::as_str)).collect();
        let template = Template::parse_with_entries(text, &names).map_err(|error| match error {
            TemplateError::NotAVariable { text } => {
                format!("{text:?} is not a variable; in a mapping write source.<path>, {}", given::FORMS)
            }
            other => other.to_string(),
        })?;
        if let Some(other) = template.variables().find(|v| !matches!(v.scope, Scope::Source | Scope::Entry)) {
            return Err(format!(
                "{other} is not available in a mapping; write source.<path>, {}",
                given::FORMS
            ));
        }
        for variable in template.variables() {
            let first = variable.name.split('.').next().unwrap_or_default();
            let is_entry = self.entries.iter().any(|own| own == first);
            if !is_entry && given::check(variable)? {
                self.given.push(variable.to_string());
            }
        }
        let mut tables = template.variables().flat_map(|variable| tables_of(&variable.filters));
        if let Some(table) = tables.find(|table| !self.tables.contains_key(*table)) {
            return Err(format!("there is no table {table:?} in tables"));
        }
        drop(tables);
        Ok(template)
    }
}

/// Where a mapping is being resolved.
struct Place<'v> {
    values: Values<'v>,
    source: &'v Value,
    given: Given<'v>,
    budget: &'v Budget,
    /// Steps that all conditions may take together.
    matching: Budget,
    /// What is given, and the entries of the `each` around the current place, by name.
    entries: Vec<(&'v str, &'v Value)>,
}

impl<'v> Place<'v> {
    /// The value that a node stands for; `None` if the source does not have it.
    fn resolve(&mut self, node: &'v Node) -> Result<Option<Value>, RenderError> {
        Ok(match node {
            Node::Fixed(value) => {
                self.budget.copy(value)?;
                Some(value.clone())
            }
            Node::Text(template) => self.text(template)?,
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(self.resolve(item)?);
                }
                Some(Value::Array(list))
            }
            Node::Object(members) => {
                let mut object = Map::with_capacity(members.len());
                for (name, item) in members {
                    if let Some(value) = self.resolve(item)? {
                        self.budget.make(name.len())?;
                        object.insert(name.clone(), value);
                    }
                }
                Some(Value::Object(object))
            }
            Node::Each { list, name, value } => self.each(list, name, value)?,
            Node::When { condition, value } => {
                let holds = condition.holds_given(self.source, self.given, &self.matching);
                let holds = holds.map_err(|e: Exceeded| RenderError {
                    exceeded: true,
                    ..RenderError::new("when".to_owned(), e.to_string())
                })?;
                if holds { self.resolve(value)? } else { None }
            }
        })
    }

    fn each(&mut self, list: &Path, name: &'v str, value: &'v Node) -> Result<Option<Value>, RenderError> {
        let start = self.entries.iter().rev().find(|(own, _)| *own == list.first).map(|(_, entry)| *entry);
        let start = start.unwrap_or(self.source);
        let found = if list.rest.is_empty() { Some(start) } else { dotted(start, &list.rest) };
        let items = match found {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(RenderError::new(list.to_string(), "is no list".to_owned())),
        };
        let mut made = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.budget.step(1)?;
            self.entries.push((name, item));
            let resolved = self.resolve(value);
            self.entries.pop();
            made.extend(resolved.map_err(|error| in_entry(error, name, list, index))?);
        }
        Ok(Some(Value::Array(made)))
    }

    fn text(&self, template: &Template) -> Result<Option<Value>, RenderError> {
        let values = Values { entries: &self.entries, ..self.values };
        if let Some(variable) = template.as_single_variable() {
            return values.get(variable);
        }
        let mut out = String::new();
        values.join(template, &mut out, escape::as_is)?;
        Ok(Some(Value::String(out)))
    }
}

/// An error of an entry, named by the path of the document: `line.sku` of the fourth is `source.lines.3.sku`. With one
/// list in another each adds its own part, the inner one first.
fn in_entry(error: RenderError, name: &str, list: &Path, index: usize) -> RenderError {
    match below(&error.variable, name) {
        Some(rest) => RenderError { variable: format!("{list}.{index}{rest}"), ..error },
        None => error,
    }
}

/// What follows the name of an entry in a path that begins with it: nothing, or a dot and the rest.
fn below<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests;
