//! What an automation does with an event, compiled once for each revision: its conditions and its mapping.
//!
//! An automation is an org's text and an event is a caller's, so evaluating one on the other is bounded: steps for
//! the conditions, bytes for the mapping. What exceeds is refused before it is done, with the limit's name.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use portcullis_action::budget::Budget;
use portcullis_action::compile::Compiler;
use portcullis_action::mapping::{Mapping, MappingError};
use portcullis_action::predicate::Predicate;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::sync::{read, write};
use portcullis_core::tables::{self, WrittenTables};
use portcullis_core::violation::{Violation, Violations, step};
use portcullis_store::AutomationRecord;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::order::OrderBy;
use super::{DESTINATION, Destination};
use crate::error::Error;
use crate::workspace_values::Given;

/// Size of the automations that are kept, as JSON, bytes. Compiled they are some ten times as large.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An automation that is ready to be fired.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    enabled: bool,
    /// Absent if it fires always.
    conditions: Option<Predicate>,
    mapping: Mapping,
    /// Absent if its runs are in no order.
    order_by: Option<OrderBy>,
    /// The variables of what is given besides the source that conditions and mapping use.
    given: Vec<String>,
    /// Size of its document and its patterns.
    bytes: usize,
}

impl Compiled {
    /// Compiles an automation's document, and reports what is wrong with its conditions and templates.
    pub(crate) fn of(document: &Value, limits: &Limits, violations: &mut Violations) -> Self {
        let mut compiler = Compiler::new(limits.compiling_automation());
        let conditions = document.get("entry_conditions").filter(|conditions| !conditions.is_null());
        let conditions = conditions.and_then(|conditions| match compiler.predicate_given(conditions) {
            Ok(predicate) => Some(predicate),
            Err(why) => {
                let pointer = format!("/entry_conditions{}", why.pointer);
                violations.push(Violation::new(pointer, "condition_invalid", why.message));
                None
            }
        });
        let empty = Map::new();
        let written = Destination::of(document).field_mapping.unwrap_or(&empty);
        // Why none else: the document's own schema was checked, or another version's was.
        let tables = document.get("tables").and_then(|tables| WrittenTables::deserialize(tables).ok());
        let tables = tables::checked(&tables.unwrap_or_default(), limits, violations);
        let order_by = document.get("order_by").filter(|template| !template.is_null());
        let order_by = order_by.and_then(|template| OrderBy::of(template, tables.clone(), violations));
        let mapping =
            Mapping::compiled(written, tables, &mut |condition| compiler.predicate_given(condition));
        let mapping = mapping.unwrap_or_else(|wrong| {
            for (name, why) in wrong {
                violations.push_with(|| {
                    let pointer = format!("{DESTINATION}/field_mapping/{}", step(&name));
                    Violation::new(pointer, "template_invalid", why)
                });
            }
            Mapping::default()
        });
        let size = Budget::unlimited();
        // Why ignored: an unlimited budget does not end.
        let _ = size.copy(document);
        let bytes = usize::try_from(size.made().saturating_add(compiler.bytes())).unwrap_or(usize::MAX);
        let enabled = document.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        let mut given = mapping.given().to_vec();
        given.extend(conditions.iter().flat_map(Predicate::given));
        Self { enabled, conditions, mapping, order_by, given, bytes }
    }

    /// The input that the automation makes of an event; `None` if it does not fire for it.
    ///
    /// # Errors
    /// `input_invalid` if the event lacks what the mapping needs, or if its conditions or its mapping would cost too
    /// much on this event.
    pub(crate) fn fire(
        &self,
        source: &Value,
        given: &Given,
        limits: &Limits,
    ) -> Result<Option<Map<String, Value>>, Error> {
        if !self.enabled || !self.holds(source, given, limits)? {
            return Ok(None);
        }
        self.map(source, given, &Budget::rendering(limits.rendered_bytes)).map(Some)
    }

    /// The variables of what is given besides the source that it uses, such as `workspace.values.pipeline_id`.
    pub(crate) fn given(&self) -> &[String] {
        &self.given
    }

    /// Whether its conditions use what is given besides the source.
    pub(super) fn has_given_conditions(&self) -> bool {
        self.conditions.as_ref().is_some_and(|conditions| !conditions.given().is_empty())
    }

    /// Whether an input is made of what a workspace gives.
    pub(super) fn is_given(&self, input: &str) -> bool {
        self.mapping.sources(input).iter().any(|path| path.starts_with("workspace."))
    }

    /// Whether it is switched on.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The input that the mapping makes of an event, whether the automation fires for it or not.
    ///
    /// # Errors
    /// `input_invalid` if the event lacks what the mapping needs, or if the budget ends.
    pub(crate) fn map(
        &self,
        source: &Value,
        given: &Given,
        budget: &Budget,
    ) -> Result<Map<String, Value>, Error> {
        let resolved = self.mapping.resolve_given(source, &given.documents(), budget);
        resolved.map_err(|why| mapping_failed(&why))
    }

    /// The key that an event's durable runs are ordered by; `None` if they wait for no other.
    ///
    /// # Errors
    /// `input_invalid` if the event does not have what the key is made of, or if the key would be too long.
    pub(crate) fn order_key(&self, source: &Value, limits: &Limits) -> Result<Option<String>, Error> {
        self.order_by.as_ref().map_or(Ok(None), |order_by| order_by.key(source, limits))
    }

    /// Texts of the mapping that are sent as they stand, and look as if they should not be.
    pub(crate) fn warnings(&self) -> Vec<Violation> {
        let mut warnings = Violations::default();
        for (name, text) in self.mapping.half_templates() {
            let inner = text.trim_matches(['{', '}']).trim();
            let message =
                format!("{text:?} is sent as it stands; a template has two braces: {{{{{inner}}}}}");
            warnings.push(Violation::new(
                format!("{DESTINATION}/field_mapping/{}", step(name)),
                "template_in_one_brace",
                message,
            ));
        }
        warnings.extend(self.order_by.as_ref().and_then(OrderBy::warning));
        warnings.into_vec()
    }

    /// An error of the call that was made of an event: an input that is missing is named with where it should have come
    /// from.
    pub(crate) fn explained(&self, mut error: Error) -> Error {
        for violation in error.violations.iter_mut().filter(|v| v.code == "missing_input") {
            let name = violation.pointer.strip_prefix("/input/").unwrap_or_default();
            let name = name.replace("~1", "/").replace("~0", "~");
            let sources = self.mapping.sources(&name);
            if !sources.is_empty() {
                let sources = sources.join(", ");
                let who =
                    if self.is_given(&name) { "the event or the workspace does" } else { "the event does" };
                violation.message = format!(
                    "{}; field_mapping {name:?} makes it of {sources}, which {who} not have",
                    violation.message
                );
            }
        }
        error
    }

    /// Whether the conditions hold for an event.
    ///
    /// # Errors
    /// `input_invalid` if finding out would cost too much on this event.
    pub(crate) fn holds(&self, source: &Value, given: &Given, limits: &Limits) -> Result<bool, Error> {
        let Some(conditions) = &self.conditions else { return Ok(true) };
        let budget = Budget::matching(limits.matching_steps);
        conditions.holds_given(source, &given.documents(), &budget).map_err(|why| {
            let message = format!("evaluating the automation's entry_conditions on this source {why}");
            let violation = Violation::new("/source", "condition_too_costly", message);
            Error::violations(Code::InputInvalid, vec![violation])
        })
    }
}

pub(super) fn mapping_failed(why: &MappingError) -> Error {
    let variable = &why.error.variable;
    if variable.starts_with("workspace.values.") && !why.error.exceeded && !why.error.unfit {
        // Why no pointer: it is missing in the workspace's settings, and nothing is wrong with the request.
        let message = format!("{variable} has no value: the workspace did not set it (settings/values)");
        return Error::violations(
            Code::InputInvalid,
            vec![Violation::new("", "missing_workspace_value", message)],
        );
    }
    // Why only such names: an error of the work as a whole names what is made and no place in the event.
    let path = why.error.variable.strip_prefix("source.").unwrap_or_default();
    let mut pointer = "/source".to_owned();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        pointer.push('/');
        pointer.push_str(&step(name));
    }
    let (code, message) = if why.error.exceeded || why.error.unfit {
        ("mapping_failed", why.to_string())
    } else {
        ("missing_source", why.error.to_string())
    };
    Error::violations(Code::InputInvalid, vec![Violation::new(pointer, code, message)])
}

/// Compiled automations by their id. An entry is of one commit, so a change needs no other invalidation.
#[derive(Debug, Default)]
pub(crate) struct CompiledAutomations {
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    automations: HashMap<String, (u64, Arc<Compiled>)>,
    bytes: usize,
}

impl CompiledAutomations {
    /// The compiled form of a record as it was written by a commit.
    ///
    /// # Errors
    /// `internal` if a stored automation breaks the current limits.
    pub(crate) fn of(
        &self,
        record: &AutomationRecord,
        commit: u64,
        limits: &Limits,
    ) -> Result<Arc<Compiled>, Error> {
        let id = record.automation_id.as_str();
        let known = read(&self.kept).automations.get(id).cloned();
        if let Some((_, compiled)) = known.filter(|(known, _)| *known == commit) {
            return Ok(compiled);
        }
        let mut violations = Violations::default();
        let compiled = Arc::new(Compiled::of(&record.definition, limits, &mut violations));
        if !violations.is_empty() {
            tracing::error!(automation_id = id, ?violations, "a stored automation is not valid any more");
            return Err(Error::new(
                Code::Internal,
                "the stored automation is no longer valid; save it again",
            ));
        }
        write(&self.kept).insert(id, commit, &compiled);
        Ok(compiled)
    }
}

impl Kept {
    fn insert(&mut self, id: &str, commit: u64, compiled: &Arc<Compiled>) {
        if let Some((_, old)) = self.automations.remove(id) {
            self.bytes = self.bytes.saturating_sub(old.bytes);
        }
        // Why all: those in use are compiled again at once, and which are not is not known.
        if self.bytes.saturating_add(compiled.bytes) > KEPT_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes = self.bytes.saturating_add(compiled.bytes);
        self.automations.insert(id.to_owned(), (commit, Arc::clone(compiled)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(document: &Value) -> Result<Compiled, Vec<Violation>> {
        let mut violations = Violations::default();
        let compiled = Compiled::of(document, &Limits::default(), &mut violations);
        if violations.is_empty() { Ok(compiled) } else { Err(violations.into_vec()) }
    }

    #[test]
    fn a_condition_decides_and_a_mapping_makes_the_input() {
        let automation = compiled(&json!({
            "entry_conditions": { "path": "/kind", "matches": "lead|contact" },
            "destination_config": { "field_mapping": { "Email": "{{source.email}}" } },
        }))
        .unwrap();
        let (limits, none) = (Limits::default(), Given::default());
        let fired = automation.fire(&json!({ "kind": "lead", "email": "a@b.c" }), &none, &limits).unwrap();
        assert_eq!(fired.unwrap()["Email"], "a@b.c");
        assert!(automation.fire(&json!({ "kind": "other" }), &none, &limits).unwrap().is_none());
        let off = compiled(&json!({ "enabled": false })).unwrap();
        assert!(off.fire(&json!({}), &none, &limits).unwrap().is_none());
    }

    #[test]
    fn what_an_event_lacks_is_named_by_its_path_in_it() {
        let automation = compiled(&json!({ "destination_config": { "field_mapping": {
            "Items": { "each": "source.lines", "as": "line", "value": "{{line.sku}}!" },
            "Name": "{{source.a/b.c}}!",
        } } }))
        .unwrap();
        let lines = json!([{ "sku": 1 }, { "sku": 2 }, { "sku": 3 }, {}]);
        for (source, pointer, says) in [
            (json!({ "lines": lines }), "/source/lines/3/sku", "source.lines.3.sku has no value"),
            (json!({ "lines": [] }), "/source/a~1b/c", "source.a/b.c has no value"),
        ] {
            let error = automation.fire(&source, &Given::default(), &Limits::default()).unwrap_err();
            let violation = &error.violations[0];
            assert_eq!(
                (violation.pointer.as_str(), violation.code, violation.message.as_str()),
                (pointer, "missing_source", says)
            );
        }
    }

    #[test]
    fn s3_many_or_large_conditions_are_refused_when_they_are_saved() {
        let large = json!({ "path": "/l/*", "matches": "(?:[a-z]{1,60}){1,30}b" });
        let group = |n: usize| json!({ "any": vec![json!({ "path": "/a", "eq": 1 }); n] });
        for (conditions, says) in [
            (json!({ "any": vec![large.clone(); 1000] }), "the limit is 64"),
            (json!(vec![group(60); 60]), "limits.predicates"),
        ] {
            let violations = compiled(&json!({ "entry_conditions": conditions })).unwrap_err();
            assert!(violations[0].message.contains(says), "{violations:?}");
        }
        let different: Vec<Value> = (0..60)
            .map(|n| json!({ "path": "/l/*", "matches": format!("(?:[a-z]{{1,60}}){{1,30}}b{n}") }))
            .collect();
        let violations = compiled(&json!({ "entry_conditions": different })).unwrap_err();
        assert!(violations[0].message.contains("limits.pattern_bytes"), "{violations:?}");
        let automation = compiled(&json!({ "entry_conditions": large })).unwrap();
        let source = json!({ "l": vec!["a".repeat(60_000); 120] });
        let error = automation.fire(&source, &Given::default(), &Limits::default()).unwrap_err();
        assert_eq!((error.code, error.violations[0].code), (Code::InputInvalid, "condition_too_costly"));
        assert!(
            automation
                .fire(&json!({ "l": ["aab"] }), &Given::default(), &Limits::default())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn what_a_workspace_did_not_set_is_named_and_is_no_fault_of_the_source() {
        let automation = compiled(&json!({
            "entry_conditions": { "path": "/owner", "eq": "{{workspace.values.owner}}" },
            "destination_config": { "field_mapping": { "Text": "for {{workspace.values.team}}" } },
        }))
        .unwrap();
        assert_eq!(automation.given(), ["workspace.values.team", "workspace.values.owner"]);
        let limits = Limits::default();
        let given = |values: Value| Given::new("acme", "main", values.as_object().cloned().unwrap());
        let source = json!({ "owner": "7" });
        let fired = automation.fire(&source, &given(json!({ "owner": "7", "team": "A" })), &limits).unwrap();
        assert_eq!(fired.unwrap()["Text"], "for A");
        assert!(automation.fire(&source, &given(json!({ "owner": "8" })), &limits).unwrap().is_none());
        let error = automation.fire(&source, &given(json!({ "owner": "7" })), &limits).unwrap_err();
        let violation = &error.violations[0];
        assert_eq!((violation.pointer.as_str(), violation.code), ("", "missing_workspace_value"));
        assert!(violation.message.contains("workspace.values.team"), "{}", violation.message);
    }
}
