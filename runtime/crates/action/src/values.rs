//! The values of template variables in one call.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::budget::{Budget, Exceeded, RENDERED_BYTES};
use crate::filter::{Filter, Tables, Unfiltered, apply_filters, rfc3339_of_ms};
use crate::json::Object;
use crate::render_error::RenderError;
use crate::scalar::scalar_cow;
use crate::template::{Part, Scope, Template, Variable};

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Everything a template may use. There is no credential.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The action's validated input.
    pub input: Object<'a>,
    /// Non-secret values of the workspace's connection.
    pub config: Object<'a>,
    /// `{{action.id}}`.
    pub action_id: &'a str,
    /// `{{run.id}}`.
    pub run_id: &'a str,
    /// `{{source.…}}`: only an automation has one.
    pub source: Option<&'a Value>,
    /// The entries of lists that a mapping goes through, by the names it gave them.
    pub entries: &'a [(&'a str, &'a Value)],
    /// `{{now}}`: the time of the call, milliseconds since 1970. The host supplies it; nothing here
    /// reads a clock.
    pub now_ms: i64,
    /// The key by which the vendor recognizes a repeat, put where the plan says.
    pub idempotency_key: Option<&'a str>,
    /// What `lookup` filters look into.
    pub tables: &'a Tables,
    /// What rendering may cost; a default for each rendering if it is absent.
    pub budget: Option<&'a Budget>,
}

/// The most bytes of a value that are escaped before the budget is asked again.
const PIECE_BYTES: usize = 16 * 1024;

impl<'a> Values<'a> {
    /// Values of a connection only, for what is the same in all its calls: hosts, path patterns.
    #[must_use]
    pub fn config_only(config: &'a Map<String, Value>) -> Self {
        Self {
            input: Object::Map(&EMPTY),
            config: config.into(),
            action_id: "",
            run_id: "",
            source: None,
            entries: &[],
            now_ms: 0,
            idempotency_key: None,
            tables: &EMPTY,
            budget: None,
        }
    }

    /// The same values, drawing from `budget` unless they draw from one already.
    #[must_use]
    pub fn within<'b>(&self, budget: &'b Budget) -> Values<'b>
    where
        'a: 'b,
    {
        Values { budget: Some(self.budget.unwrap_or(budget)), ..*self }
    }

    /// Values of an automation's event only.
    #[must_use]
    pub fn source_only(source: &'a Value) -> Self {
        Self { source: Some(source), ..Self::config_only(&EMPTY) }
    }

    /// Looks a variable up and applies its filters; `None` when absent.
    ///
    /// # Errors
    /// [`RenderError`] if the copy or a filter would cost too much.
    pub fn get(&self, variable: &Variable) -> Result<Option<Value>, RenderError> {
        let own = Budget::rendering(RENDERED_BYTES);
        let values = self.within(&own);
        let found = values.find(variable)?;
        if let Some(Cow::Borrowed(value)) = found {
            values.pay(|budget| budget.copy(value)).map_err(|e| RenderError::exceeded(variable, e))?;
        }
        Ok(found.map(Cow::into_owned))
    }

    /// Asks the budget for something.
    pub(crate) fn pay(&self, ask: impl FnOnce(&Budget) -> Result<(), Exceeded>) -> Result<(), Exceeded> {
        self.budget.map_or(Ok(()), ask)
    }

    /// [`Values::get`] without a copy if no filter needs one.
    pub(crate) fn find(&self, variable: &Variable) -> Result<Option<Cow<'a, Value>>, RenderError> {
        let name = variable.name.as_str();
        let found = match variable.scope {
            Scope::Input => match self.member(self.input, name)? {
                Some(found) => Some(found),
                None => self.dotted_in(self.input, name)?,
            },
            Scope::Config => self.member(self.config, name)?,
            Scope::Action => Some(Cow::Owned(Value::String(self.action_id.to_owned()))),
            Scope::Run => Some(Cow::Owned(Value::String(self.run_id.to_owned()))),
            Scope::Source => match self.source {
                Some(source) => self.below(source, name)?,
                None => None,
            },
            Scope::Entry => {
                let (first, rest) = name.split_once('.').unwrap_or((name, ""));
                match self.entries.iter().rev().find(|(own, _)| *own == first) {
                    Some((_, entry)) if rest.is_empty() => Some(Cow::Borrowed(*entry)),
                    Some((_, entry)) => self.below(entry, rest)?,
                    None => None,
                }
            }
            Scope::Now if variable.filters.is_empty() => {
                rfc3339_of_ms(self.now_ms).map(|text| Cow::Owned(Value::String(text)))
            }
            Scope::Now => Some(Cow::Owned(Value::Number(self.now_ms.into()))),
            // Why: secrets, and values made with them, never reach this code; injection
            // happens behind the gate.
            Scope::Cred | Scope::Sign | Scope::Jwt => None,
        };
        if variable.filters.is_empty() {
            return Ok(found);
        }
        self.filtered(found, &variable.filters).map_err(|e| RenderError::unfiltered(variable, &e))
    }

    fn filtered<'v>(
        &self,
        found: Option<Cow<'v, Value>>,
        filters: &[Filter],
    ) -> Result<Option<Cow<'v, Value>>, Unfiltered> {
        match self.budget {
            Some(budget) => apply_filters(found, filters, self.tables, budget),
            None => apply_filters(found, filters, self.tables, &Budget::rendering(RENDERED_BYTES)),
        }
    }

    /// A value after filters.
    pub(crate) fn filter(
        &self,
        value: Option<Value>,
        filters: &[Filter],
    ) -> Result<Option<Value>, Unfiltered> {
        Ok(self.filtered(value.map(Cow::Owned), filters)?.map(Cow::into_owned))
    }

    /// A member of an object. One that is text still is parsed each time it is used.
    fn member(&self, object: Object<'a>, name: &str) -> Result<Option<Cow<'a, Value>>, RenderError> {
        if let Object::Members(members) = object
            && let Some(text) = members.get(name)
        {
            self.pay(|budget| budget.step(text.len() as u64))?;
        }
        Ok(object.get(name))
    }

    /// The value at a path; with a star in it the list of all that it leads to.
    fn below(&self, value: &'a Value, path: &str) -> Result<Option<Cow<'a, Value>>, RenderError> {
        if let Some(found) = dotted(value, path) {
            return Ok(Some(Cow::Borrowed(found)));
        }
        let Some((before, after)) = split_at_star(path) else { return Ok(None) };
        let list = if before.is_empty() { Some(value) } else { dotted(value, before) };
        let Some(Value::Array(items)) = list else { return Ok(None) };
        let mut found = Vec::new();
        for item in items {
            self.pay(|budget| budget.step(path.len() as u64))?;
            let entry = if after.is_empty() { Some(Cow::Borrowed(item)) } else { self.below(item, after)? };
            match entry {
                // Why flat: a star inside an entry gives its entries, and the list is of those.
                Some(Cow::Owned(Value::Array(inner))) => found.extend(inner),
                Some(Cow::Owned(other)) => found.push(other),
                Some(Cow::Borrowed(item)) => {
                    self.pay(|budget| budget.copy(item))?;
                    found.push(item.clone());
                }
                None => {}
            }
        }
        Ok(Some(Cow::Owned(Value::Array(found))))
    }

    fn dotted_in(&self, object: Object<'a>, path: &str) -> Result<Option<Cow<'a, Value>>, RenderError> {
        let Some((first, rest)) = path.split_once('.') else { return Ok(None) };
        Ok(match self.member(object, first)? {
            None => None,
            Some(Cow::Borrowed(value)) => dotted(value, rest).map(Cow::Borrowed),
            Some(Cow::Owned(value)) => dotted(&value, rest).cloned().map(Cow::Owned),
        })
    }

    /// The text of a variable that must have a value.
    pub(crate) fn text(&self, variable: &Variable) -> Result<Cow<'a, str>, RenderError> {
        match self.find(variable)? {
            None | Some(Cow::Borrowed(Value::Null) | Cow::Owned(Value::Null)) => {
                Err(RenderError::missing(variable))
            }
            Some(Cow::Borrowed(value)) => scalar_cow(value).ok_or_else(|| RenderError::not_scalar(variable)),
            Some(Cow::Owned(Value::String(text))) => Ok(Cow::Owned(text)),
            Some(Cow::Owned(value)) => scalar_cow(&value)
                .map(|text| Cow::Owned(text.into_owned()))
                .ok_or_else(|| RenderError::not_scalar(variable)),
        }
    }

    /// Whether a template is one variable without a value: the pair or header is then left out.
    pub(crate) fn leaves_out(&self, template: &Template) -> Result<bool, RenderError> {
        let Some(variable) = template.as_single_variable() else { return Ok(false) };
        Ok(self.find(variable)?.is_none_or(|found| found.is_null()))
    }

    /// Joins a template's parts, each value passing through `escape_into`.
    pub(crate) fn join<E: std::fmt::Display>(
        &self,
        template: &Template,
        out: &mut String,
        mut escape_into: impl FnMut(&str, &mut String) -> Result<(), E>,
    ) -> Result<(), RenderError> {
        for part in &template.parts {
            match part {
                Part::Literal(text) => {
                    self.pay(|budget| budget.make(text.len()))?;
                    out.push_str(text);
                }
                Part::Variable(variable) => self.escape(variable, out, &mut escape_into)?,
            }
        }
        Ok(())
    }

    /// Appends a variable's text, piece by piece, so that escaping makes little more than the budget allows.
    fn escape<E: std::fmt::Display>(
        &self,
        variable: &Variable,
        out: &mut String,
        escape_into: &mut impl FnMut(&str, &mut String) -> Result<(), E>,
    ) -> Result<(), RenderError> {
        let text = self.text(variable)?;
        let mut rest = &*text;
        loop {
            let (piece, tail) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            let before = out.len();
            escape_into(piece, out).map_err(|e| RenderError::new(variable.to_string(), e.to_string()))?;
            self.pay(|budget| budget.make(out.len().saturating_sub(before)))
                .map_err(|e| RenderError::exceeded(variable, e))?;
            if tail.is_empty() {
                return Ok(());
            }
            rest = tail;
        }
    }
}

/// What is before and after the first step that is a star.
fn split_at_star(path: &str) -> Option<(&str, &str)> {
    let mut start = 0;
    for step in path.split('.') {
        let end = start + step.len();
        if step == "*" {
            let before = path.get(..start.saturating_sub(1))?;
            return Some((before, path.get(end + 1..).unwrap_or_default()));
        }
        start = end + 1;
    }
    None
}

/// Walks `a.b.0.c` through objects and arrays.
#[must_use]
pub fn dotted<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text_of(template: &str, values: &Values<'_>) -> Option<Value> {
        values.get(Template::parse(template).unwrap().as_single_variable().unwrap()).unwrap()
    }

    #[test]
    fn dotted_paths_walk_objects_and_arrays() {
        let doc = json!({ "a": [{ "b": 1 }] });
        assert_eq!(dotted(&doc, "a.0.b"), Some(&json!(1)));
        assert_eq!(dotted(&doc, "a.1.b"), None);
        assert_eq!(dotted(&doc, "a.x"), None);
    }

    #[test]
    fn an_input_is_found_by_its_very_name_before_its_path() {
        let input = json!({ "a.b": 1, "a": { "b": 2, "c": [3] } }).as_object().cloned().unwrap();
        let values = Values { input: (&input).into(), ..Values::config_only(&input) };
        assert_eq!(text_of("{{input.a.b}}", &values), Some(json!(1)));
        assert_eq!(text_of("{{input.a.c.0}}", &values), Some(json!(3)));
        assert_eq!(text_of("{{input.a.c.1}}", &values), None);
        assert_eq!(text_of("{{config.a.c.0}}", &values), None, "config values are not nested");
    }

    #[test]
    fn now_is_rfc_3339_alone_and_milliseconds_for_a_filter() {
        let values = Values { now_ms: 1_795_343_400_250, ..Values::config_only(&EMPTY) };
        for (template, expected) in [
            ("{{now}}", json!("2026-11-22T10:30:00.25Z")),
            ("{{now|date:'%Y-%m-%d'}}", json!("2026-11-22")),
            ("{{now|iso8601}}", json!("2026-11-22T10:30:00.25Z")),
            ("{{now|epoch}}", json!(1_795_343_400)),
            ("{{now|string}}", json!("1795343400250")),
        ] {
            assert_eq!(text_of(template, &values), Some(expected), "{template}");
        }
    }

    #[test]
    fn what_a_signer_makes_has_no_value_here() {
        let config = json!({ "x": "1", "token": "t", "signature": "s" }).as_object().cloned().unwrap();
        let values = Values { input: (&config).into(), ..Values::config_only(&config) };
        for template in ["{{cred.x}}", "{{sign.signature}}", "{{sign.timestamp}}", "{{jwt.token}}"] {
            assert_eq!(text_of(template, &values), None, "{template}");
        }
    }
}
