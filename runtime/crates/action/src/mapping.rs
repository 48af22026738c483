//! Field mappings of automations: `{"Email": "{{source.email}}"}` to concrete input.
//!
//! A mapping value that is a single variable keeps its type; a variable inside text is inserted as text;
//! anything that is not a template stays as it is. What the source does not have is left out, at any depth, in objects
//! and arrays; a null that it has is sent. The result is plain data: nothing in a source
//! document is ever read as a template.
//!
//! Two objects are read and not copied: `{"each": "source.lines", "as": "line", "value": …}` makes an array, one entry
//! for each of a list's, and `{"when": <predicate>, "value": …}` is left out unless its predicate holds for the source.

use std::fmt;

use serde_json::{Map, Value};

use crate::budget::{Budget, Exceeded};
use crate::escape;
use crate::predicate::{Predicate, PredicateError};
use crate::render_error::RenderError;
use crate::template::{Scope, Template, TemplateError};
use crate::values::{Values, dotted};

/// A mapping whose templates are parsed: once, when it is saved or first used.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    inputs: Vec<(String, Node)>,
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
        Self::compiled(mapping, &mut Predicate::parse)
    }

    /// As [`Self::parse`], with conditions that are compiled by a [`crate::Compiler`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn compiled(
        mapping: &Map<String, Value>,
        compile: Compile<'_>,
    ) -> Result<Self, Vec<(String, String)>> {
        let (mut inputs, mut wrong) = (Vec::with_capacity(mapping.len()), Vec::new());
        let mut parser = Parser { compile, entries: Vec::new() };
        for (name, value) in mapping {
            match parser.parse(value) {
                Ok(node) => inputs.push((name.clone(), node)),
                Err(why) => wrong.push((name.clone(), why)),
            }
        }
        if wrong.is_empty() { Ok(Self { inputs }) } else { Err(wrong) }
    }

    /// Resolves the mapping against a source document. Inputs that resolve to an absent value are left out.
    ///
    /// # Errors
    /// [`MappingError`] naming the input, and the source path that is missing inside a text, whose value a filter cannot
    /// read or where the budget ended.
    pub fn resolve(&self, source: &Value, budget: &Budget) -> Result<Map<String, Value>, MappingError> {
        let values = Values::source_only(source);
        // Why one for all: an `each` may ask the same condition for every entry.
        let matching = Budget::matching(crate::budget::MATCHING_STEPS);
        let mut place =
            Place { values: values.within(budget), source, budget, matching, entries: Vec::new() };
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

    /// The source paths that an input is made from, as `source.email`.
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
            Self::Each { list, value, .. } => {
                found.push(list.to_string());
                value.sources(found);
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
        if inner.len() < after.len() && inner.contains('.') && Scope::parse(scope).is_some() {
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
    /// Names of the entries of the `each` around the current place.
    entries: Vec<String>,
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

    fn template(&self, text: &str) -> Result<Template, String> {
        let names: Vec<&str> = self.entries.iter().map(String::as_str).collect();
        let template =
            Template::parse_with_entries(text, &names).map_err(|e: TemplateError| e.to_string())?;
        if let Some(other) = template.variables().find(|v| !matches!(v.scope, Scope::Source | Scope::Entry)) {
            return Err(format!("{other} is not available in a mapping; write source.<path>"));
        }
        Ok(template)
    }
}

/// Where a mapping is being resolved.
struct Place<'v> {
    values: Values<'v>,
    source: &'v Value,
    budget: &'v Budget,
    /// Steps that all conditions may take together.
    matching: Budget,
    /// The entries of the `each` around the current place, by name.
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
                let holds = condition.holds(self.source, &self.matching).map_err(|e: Exceeded| {
                    RenderError { exceeded: true, ..RenderError::new("when".to_owned(), e.to_string()) }
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
        for item in items {
            self.budget.step(1)?;
            self.entries.push((name, item));
            let resolved = self.resolve(value);
            self.entries.pop();
            made.extend(resolved?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run_within(mapping: &Value, source: &Value, budget: &Budget) -> Result<Value, MappingError> {
        let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
        mapping.resolve(source, budget).map(Value::Object)
    }

    fn run(mapping: Value, source: Value) -> Result<Value, MappingError> {
        run_within(&mapping, &source, &Budget::rendering(1 << 20))
    }

    #[test]
    fn a_whole_variable_keeps_its_type_and_an_embedded_one_is_text() {
        let mapping = json!({
            "Email": "{{source.email}}", "n": "{{source.n}}", "text": "n={{source.n}}", "fixed": 7,
            "list": ["{{source.tags.0}}"],
        });
        let source = json!({ "email": "a@b.c", "n": 5, "tags": ["x"] });
        assert_eq!(
            run(mapping, source).unwrap(),
            json!({ "Email": "a@b.c", "n": 5, "text": "n=5", "fixed": 7, "list": ["x"] })
        );
    }

    #[test]
    fn a_missing_whole_value_is_left_out_and_a_missing_part_is_an_error() {
        assert_eq!(run(json!({ "a": "{{source.a}}" }), json!({})).unwrap(), json!({}));
        let error = run(json!({ "a": "hi {{source.a}}" }), json!({})).unwrap_err();
        assert_eq!((error.input.as_str(), error.error.variable.as_str()), ("a", "source.a"));
        let with_default = json!({ "a": "hi {{source.a|default:'you'}}" });
        assert_eq!(run(with_default, json!({})).unwrap(), json!({ "a": "hi you" }));
    }

    #[test]
    fn source_text_is_never_a_template() {
        let out = run(json!({ "a": "{{source.a}}" }), json!({ "a": "{{source.b}}", "b": "leak" }));
        assert_eq!(out.unwrap(), json!({ "a": "{{source.b}}" }));
    }

    #[test]
    fn other_scopes_are_refused_when_checked() {
        let mapping = json!({ "a": "{{cred.api_key}}", "b": "{{source.x}}", "c": ["{{input.y}}"] });
        let problems = Mapping::parse(mapping.as_object().unwrap()).unwrap_err();
        let names: Vec<&str> = problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn c3_what_is_missing_is_left_out_at_any_depth_and_a_null_is_kept() {
        let mapping = json!({ "props": { "phone": "{{source.phone}}", "name": "{{source.name}}" },
            "list": ["{{source.phone}}", "{{source.name}}", ["{{source.phone}}"]], "top": "{{source.fax}}" });
        let source = json!({ "name": "a", "fax": null });
        let made = run(mapping.clone(), source).unwrap();
        assert_eq!(made, json!({ "props": { "name": "a" }, "list": ["a", []], "top": null }));
        assert_eq!(run(mapping, json!({ "phone": null })).unwrap()["props"], json!({ "phone": null }));
    }

    #[test]
    fn c6_a_value_that_a_filter_cannot_read_names_input_path_and_filter() {
        let mapping = json!({ "when": { "at": ["{{source.t|iso8601}}"] } });
        let error = run(mapping, json!({ "t": "yesterday" })).unwrap_err();
        assert!(error.error.unfit && !error.error.exceeded);
        let text = error.to_string();
        assert!(
            text.starts_with("field_mapping \"when\": source.t cannot be read by the filter iso8601"),
            "{text}"
        );
        assert!(!text.contains("yesterday"), "{text}");
        let kept = run(json!({ "at": "{{source.t|iso8601|default:'never'}}" }), json!({ "t": "yesterday" }));
        assert_eq!(kept.unwrap(), json!({ "at": "never" }));
    }

    #[test]
    fn c7_a_star_takes_a_member_of_every_entry() {
        let source = json!({ "lines": [{ "id": 1, "tags": ["a", "b"] }, { "sku": "x" }, { "id": "c", "tags": ["d"] }] });
        let mapping = json!({ "ids": "{{source.lines.*.id}}", "tags": "{{source.lines.*.tags.*}}",
            "text": "{{source.lines.*.id|join:','}}", "none": "{{source.rows.*.id}}" });
        assert_eq!(
            run(mapping, source).unwrap(),
            json!({ "ids": [1, "c"], "tags": ["a", "b", "d"], "text": "1,c" })
        );
        assert_eq!(
            run(json!({ "a": "{{source.l.*}}" }), json!({ "l": { "*": 1 } })).unwrap(),
            json!({ "a": 1 })
        );
        assert_eq!(run(json!({ "a": "{{source.l.*}}" }), json!({ "l": [] })).unwrap(), json!({ "a": [] }));
    }

    #[test]
    fn each_makes_an_entry_for_each_and_when_leaves_out() {
        let mapping = json!({
            "items": { "each": "source.lines", "as": "line", "value": {
                "sku": "{{line.sku|upper}}", "order": "{{source.id}}", "note": "{{line.note}}",
                "taxes": { "each": "line.taxes", "as": "tax", "value": "{{tax.rate}} of {{line.sku}}" } } },
            "codes": { "each": "source.codes", "as": "code", "value": "{{code}}" },
            "gift": { "when": { "path": "/gift", "eq": true }, "value": "{{source.id}}" },
            "plain": { "each": "x", "value": "y" },
        });
        let source = json!({ "id": 7, "codes": ["a", 2], "gift": true,
            "lines": [{ "sku": "a", "taxes": [{ "rate": 5 }] }, { "sku": "b", "note": "n" }] });
        assert_eq!(
            run(mapping.clone(), source).unwrap(),
            json!({ "items": [{ "sku": "A", "order": 7, "taxes": ["5 of a"] }, { "sku": "B", "order": 7, "note": "n" }],
                    "codes": ["a", 2], "gift": 7, "plain": { "each": "x", "value": "y" } })
        );
        let made = run(mapping.clone(), json!({ "gift": false, "lines": [] })).unwrap();
        assert_eq!(made, json!({ "items": [], "plain": { "each": "x", "value": "y" } }));
        let error = run(mapping, json!({ "lines": "none" })).unwrap_err();
        assert!(error.to_string().ends_with("source.lines is no list"), "{error}");
        for bad in [
            json!({ "each": "lines", "as": "line", "value": 1 }),
            json!({ "each": "source.lines", "as": "source", "value": 1 }),
            json!({ "each": "source.lines", "as": "a b", "value": 1 }),
            json!({ "each": "source.lines", "as": "line", "value": "{{row.x}}" }),
            json!({ "each": "source.lines", "as": "l", "value": { "each": "l.x", "as": "l", "value": 1 } }),
            json!({ "when": { "path": "x" }, "value": 1 }),
            json!("{{line.x}}"),
        ] {
            assert!(Mapping::parse(json!({ "a": bad }).as_object().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn s3_conditions_inside_each_share_their_steps() {
        let condition = json!({ "path": "/text", "contains": "b" });
        let mapping = json!({ "a": { "each": "source.lines", "as": "line",
            "value": { "when": condition, "value": "{{line}}" } } });
        let source = json!({ "text": "a".repeat(1_000_000), "lines": vec![1; 2000] });
        let error = run(mapping.clone(), source).unwrap_err();
        assert!(error.error.exceeded && error.to_string().contains("limits.matching_steps"), "{error}");
        let small = run(mapping, json!({ "text": "ab", "lines": [1, 2] })).unwrap();
        assert_eq!(small, json!({ "a": [1, 2] }));
    }

    #[test]
    fn c8_a_template_with_one_brace_is_noticed() {
        let mapping = json!({ "a": "{source.email}", "b": "${source.x} y", "c": { "d": ["hi { source.name | upper }"] },
            "e": "{not a path}", "f": "{{source.g}}", "g": "{\"source.x\": 1", "h": "{{source.a}} {source.b}" });
        let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
        let found = mapping.half_templates();
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["a", "b", "c", "h"]);
        assert_eq!(found[0].1, "{source.email}");
    }

    #[test]
    fn c9_the_sources_of_an_input_are_told() {
        let mapping = json!({ "s": "{{source.a}} {{source.b|upper}}",
            "l": { "each": "source.lines", "as": "line", "value": "{{line.x}}" } });
        let mapping = Mapping::parse(mapping.as_object().unwrap()).unwrap();
        assert_eq!(mapping.sources("s"), ["source.a", "source.b"]);
        assert_eq!(mapping.sources("l"), ["source.lines", "line.x"]);
        assert!(mapping.sources("x").is_empty());
    }

    #[test]
    fn s1_a_mapping_makes_no_more_than_its_budget() {
        let grow = format!("{{{{source.a{}}}}}", "|replace:'a','aa'".repeat(34));
        let many: Map<String, Value> = (0..400).map(|i| (format!("i{i}"), json!("{{source.b}}"))).collect();
        let source = json!({ "a": "a", "b": "x".repeat(7_000_000), "c": vec![vec![1; 1000]; 1000] });
        let list: Vec<&str> = vec!["{{source.c}}"; 400];
        for (mapping, input) in [
            (json!({ "n": 1, "big": grow }), "big"),
            (Value::Object(many), "i1"),
            (json!({ "list": list }), "list"),
            (json!({ "text": "{{source.b}}{{source.b}}" }), "text"),
            (json!({ "nested": format!("{{{{source.a{}}}}}", "|json".repeat(60)) }), "nested"),
            (json!({ "coded": format!("{{{{source.b{}}}}}", "|base64|hex|urlencode".repeat(9)) }), "coded"),
        ] {
            let budget = Budget::rendering(crate::budget::RENDERED_BYTES);
            let error = run_within(&mapping, &source, &budget).unwrap_err();
            assert!(error.error.exceeded && error.to_string().contains("limits.rendered_bytes"), "{error}");
            assert_eq!(error.input, input);
            assert!(budget.made() <= crate::budget::RENDERED_BYTES);
        }
        let small = json!({ "a": "{{source.a|replace:'a','aa'|replace:'a','aa'}}", "b": "{{source.b}}" });
        let out = run(small, json!({ "a": "a", "b": "x".repeat(900_000) })).unwrap();
        assert_eq!(out["a"], "aaaa");
    }
}
