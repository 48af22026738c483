//! The key that an automation's durable runs are ordered by, made of an event by a template.

use portcullis_action::budget::Budget;
use portcullis_action::mapping::Mapping;
use portcullis_action::predicate::Predicate;
use portcullis_action::template::{Tables, scalar_text};
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use serde_json::{Map, Value};

use super::compiled::mapping_failed;
use crate::error::Error;

/// The member of an automation.
const MEMBER: &str = "order_by";
/// Pointer to it.
const POINTER: &str = "/order_by";

/// A compiled `order_by`.
#[derive(Debug)]
pub(super) struct OrderBy(Mapping);

impl OrderBy {
    /// Compiles it, and reports what is wrong with it.
    pub(super) fn of(template: &Value, tables: Tables, violations: &mut Violations) -> Option<Self> {
        let refuse = |why: String| Violation::new(POINTER, "template_invalid", why);
        if !template.is_string() {
            violations.push(refuse("must be a text, such as {{source.id}}".to_owned()));
            return None;
        }
        let one = Map::from_iter([(MEMBER.to_owned(), template.clone())]);
        match Mapping::compiled(&one, tables, &mut Predicate::parse) {
            Ok(mapping) => Some(Self(mapping)),
            Err(wrong) => {
                wrong.into_iter().for_each(|(_, why)| violations.push(refuse(why)));
                None
            }
        }
    }

    /// The key of an event; `None` for null and an empty text.
    ///
    /// # Errors
    /// `input_invalid` if the event does not have it, or if it is no single value or too long.
    pub(super) fn key(&self, source: &Value, limits: &Limits) -> Result<Option<String>, Error> {
        let refuse = |code, message: String| {
            Error::violations(Code::InputInvalid, vec![Violation::new("/source", code, message)])
        };
        let budget = Budget::rendering(limits.rendered_bytes);
        let mut made = self.0.resolve(source, &budget).map_err(|why| mapping_failed(&why))?;
        let Some(value) = made.remove(MEMBER) else {
            // Why no run: whether it may be executed before another cannot be told.
            let paths = self.0.sources(MEMBER).join(", ");
            let message = format!("order_by is made of {paths}, which the event does not have");
            return Err(refuse("missing_source", message));
        };
        if value.is_null() {
            return Ok(None);
        }
        let Some(key) = scalar_text(&value) else {
            return Err(refuse(
                "mapping_failed",
                "order_by must make a text, a number or a boolean".to_owned(),
            ));
        };
        if key.len() as u64 > limits.order_key_bytes {
            let (bytes, limit) = (key.len(), limits.order_key_bytes);
            let message = format!(
                "order_by makes a key of {bytes} bytes, the limit is {limit} (limits.order_key_bytes)"
            );
            return Err(refuse("mapping_failed", message));
        }
        Ok(Some(key).filter(|key| !key.is_empty()))
    }

    /// What its author should look at.
    pub(super) fn warning(&self) -> Option<Violation> {
        let (_, text) = self.0.half_templates().pop()?;
        let inner = text.trim_matches(['{', '}']).trim();
        let message = format!(
            "{text:?} is taken as it stands, so that all runs wait for each other; a template has two braces: \
             {{{{{inner}}}}}"
        );
        Some(Violation::new(POINTER, "template_in_one_brace", message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(template: &Value) -> Result<OrderBy, Vec<Violation>> {
        let mut violations = Violations::default();
        let order = OrderBy::of(template, Tables::new(), &mut violations);
        order.ok_or_else(|| violations.into_vec())
    }

    #[test]
    fn a_key_is_a_text_and_none_at_all_for_null_and_nothing() {
        let order = order(&json!("{{source.id}}")).unwrap();
        let limits = Limits { order_key_bytes: 8, ..Limits::default() };
        for (id, expected) in [
            (json!("a"), Some("a")),
            (json!(7), Some("7")),
            (json!(true), Some("true")),
            (json!("12345678"), Some("12345678")),
            (json!(""), None),
            (json!(null), None),
        ] {
            let found = order.key(&json!({ "id": id }), &limits).unwrap();
            assert_eq!(found.as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn an_event_without_the_key_or_with_one_that_is_none_is_refused() {
        let limits = Limits { order_key_bytes: 8, ..Limits::default() };
        for (template, source, code) in [
            ("{{source.id}}", json!({}), "missing_source"),
            ("{{source.kind}}/{{source.id}}", json!({ "kind": "a" }), "missing_source"),
            ("{{source.id}}", json!({ "id": ["a"] }), "mapping_failed"),
            ("{{source.id}}", json!({ "id": { "a": 1 } }), "mapping_failed"),
            ("{{source.id}}", json!({ "id": "123456789" }), "mapping_failed"),
        ] {
            let error = order(&json!(template)).unwrap().key(&source, &limits).unwrap_err();
            assert_eq!((error.code, error.violations[0].code), (Code::InputInvalid, code), "{source}");
            assert!(!error.violations[0].message.contains("123456789"), "the key is not told");
        }
    }

    #[test]
    fn a_wrong_template_is_refused_and_half_a_one_warned_of() {
        for wrong in [json!("{{source.id"), json!(7), json!({ "each": "source.l", "as": "l", "value": "x" })]
        {
            let violations = order(&wrong).unwrap_err();
            assert_eq!((violations[0].pointer.as_str(), violations[0].code), (POINTER, "template_invalid"));
        }
        assert!(order(&json!("{{source.id}}")).unwrap().warning().is_none());
        assert!(order(&json!("{source.id}")).unwrap().warning().is_some());
    }
}
