//! Field mappings of automations: `{"Email": "{{source.email}}"}` to concrete input.
//!
//! A mapping value that is a single variable keeps its type; a variable inside text is inserted as text;
//! anything that is not a template stays as it is. The result is plain data: nothing in a source
//! document is ever read as a template.

use serde_json::{Map, Value};

use crate::escape;
use crate::render_error::RenderError;
use crate::template::{Scope, Template, TemplateError};
use crate::values::Values;

/// Checks every template of a mapping. Returns the input name and what is wrong with it.
#[must_use]
pub fn check(mapping: &Map<String, Value>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, value) in mapping {
        let mut walk = |text: &str| match parse_source_template(text) {
            Ok(_) => {}
            Err(why) => problems.push((name.clone(), why)),
        };
        visit_text(value, &mut walk);
    }
    problems
}

fn parse_source_template(text: &str) -> Result<Template, String> {
    let template = Template::parse_text(text).map_err(|e: TemplateError| e.to_string())?;
    if let Some(other) = template.variables().find(|v| v.scope != Scope::Source) {
        return Err(format!("{other} is not available in a mapping; write source.<path>"));
    }
    Ok(template)
}

fn visit_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| visit_text(item, visit)),
        Value::Object(map) => map.values().for_each(|item| visit_text(item, visit)),
        _ => {}
    }
}

/// Resolves a mapping against a source document. Inputs that resolve to an absent value are left out.
///
/// # Errors
/// [`RenderError`] naming the source path that is missing inside a text.
pub fn resolve(mapping: &Map<String, Value>, source: &Value) -> Result<Map<String, Value>, RenderError> {
    let values = Values::source_only(source);
    let mut input = Map::new();
    for (name, value) in mapping {
        let resolved = resolve_value(value, &values)?;
        if !resolved.is_null() {
            input.insert(name.clone(), resolved);
        }
    }
    Ok(input)
}

fn resolve_value(value: &Value, values: &Values<'_>) -> Result<Value, RenderError> {
    Ok(match value {
        Value::String(text) => resolve_text(text, values)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| resolve_value(item, values)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, item)| Ok((name.clone(), resolve_value(item, values)?)))
                .collect::<Result<_, RenderError>>()?,
        ),
        other => other.clone(),
    })
}

fn resolve_text(text: &str, values: &Values<'_>) -> Result<Value, RenderError> {
    let template = parse_source_template(text).map_err(|why| RenderError::new(String::new(), why))?;
    if let Some(variable) = template.as_single_variable() {
        return Ok(values.get(variable).unwrap_or(Value::Null));
    }
    let mut out = String::new();
    values.join(&template, &mut out, escape::as_is)?;
    Ok(Value::String(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(mapping: Value, source: Value) -> Result<Value, RenderError> {
        resolve(mapping.as_object().unwrap(), &source).map(Value::Object)
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
        assert_eq!(error.variable, "source.a");
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
        let problems = check(mapping.as_object().unwrap());
        let names: Vec<&str> = problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
