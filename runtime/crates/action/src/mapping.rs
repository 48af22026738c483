//! Field mappings of automations: `{"Email": "{{source.email}}"}` to concrete input.
//!
//! A mapping value that is a single variable keeps its type; a variable inside text is inserted as text;
//! anything that is not a template stays as it is. The result is plain data: nothing in a source
//! document is ever read as a template.

use std::fmt;

use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::escape;
use crate::render_error::RenderError;
use crate::template::{Scope, Template, TemplateError};
use crate::values::Values;

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

impl Mapping {
    /// Parses a mapping.
    ///
    /// # Errors
    /// Each template that is wrong: the input's name and what is wrong with it.
    pub fn parse(mapping: &Map<String, Value>) -> Result<Self, Vec<(String, String)>> {
        let (mut inputs, mut wrong) = (Vec::with_capacity(mapping.len()), Vec::new());
        for (name, value) in mapping {
            match parse(value) {
                Ok(node) => inputs.push((name.clone(), node)),
                Err(why) => wrong.push((name.clone(), why)),
            }
        }
        if wrong.is_empty() { Ok(Self { inputs }) } else { Err(wrong) }
    }

    /// Resolves the mapping against a source document. Inputs that resolve to an absent value are left out.
    ///
    /// # Errors
    /// [`MappingError`] naming the input, and the source path that is missing inside a text or where the budget ended.
    pub fn resolve(&self, source: &Value, budget: &Budget) -> Result<Map<String, Value>, MappingError> {
        let source = Values::source_only(source);
        let values = source.within(budget);
        let mut input = Map::with_capacity(self.inputs.len());
        for (name, node) in &self.inputs {
            let resolved =
                resolve(node, &values).map_err(|error| MappingError { input: name.clone(), error })?;
            if !resolved.is_null() {
                input.insert(name.clone(), resolved);
            }
        }
        Ok(input)
    }
}

fn parse(value: &Value) -> Result<Node, String> {
    Ok(match value {
        Value::String(text) => {
            let template = parse_source_template(text)?;
            match template.as_literal() {
                Some(_) => Node::Fixed(value.clone()),
                None => Node::Text(template),
            }
        }
        Value::Array(items) => Node::List(items.iter().map(parse).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let member = |(name, item): (&String, &Value)| Ok::<_, String>((name.clone(), parse(item)?));
            Node::Object(map.iter().map(member).collect::<Result<_, _>>()?)
        }
        other => Node::Fixed(other.clone()),
    })
}

fn parse_source_template(text: &str) -> Result<Template, String> {
    let template = Template::parse_text(text).map_err(|e: TemplateError| e.to_string())?;
    if let Some(other) = template.variables().find(|v| v.scope != Scope::Source) {
        return Err(format!("{other} is not available in a mapping; write source.<path>"));
    }
    Ok(template)
}

fn resolve(node: &Node, values: &Values<'_>) -> Result<Value, RenderError> {
    Ok(match node {
        Node::Fixed(value) => {
            values.pay(|budget| budget.copy(value))?;
            value.clone()
        }
        Node::Text(template) => match template.as_single_variable() {
            Some(variable) => values.get(variable)?.unwrap_or(Value::Null),
            None => {
                let mut out = String::new();
                values.join(template, &mut out, escape::as_is)?;
                Value::String(out)
            }
        },
        Node::List(items) => {
            Value::Array(items.iter().map(|item| resolve(item, values)).collect::<Result<_, _>>()?)
        }
        Node::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, item)| Ok((name.clone(), resolve(item, values)?)))
                .collect::<Result<_, RenderError>>()?,
        ),
    })
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
