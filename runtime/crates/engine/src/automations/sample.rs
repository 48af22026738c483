//! Samples: an event that an automation's author expects, kept with the automation. When the automation is saved, and
//! when its connector is replaced, the sample shows what would go wrong with such an event.

use portcullis_action::budget::Budget;
use portcullis_core::fault::Code;
use portcullis_core::input::{Input, check_input};
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations};
use serde_json::{Map, Value};

use super::{AutomationDefinition, Compiled, DESTINATION};
use crate::error::Error;
use crate::workspace_values::stood_in;

/// Adds the violation of a sample that is too large.
pub(super) fn check_size(automation: &AutomationDefinition, limits: &Limits, violations: &mut Violations) {
    let Some(sample) = &automation.sample else { return };
    let text = serde_json::to_string(sample).unwrap_or_default();
    let (bytes, limit) = (text.len() as u64, limits.sample_bytes);
    if bytes > limit {
        let message = format!("is {bytes} bytes, the limit is {limit} (limits.sample_bytes)");
        violations.push(Violation::new("/sample", "too_long", message));
    }
}

/// What would go wrong with an event like the sample, as warnings: with the conditions, the mapping, and the input
/// that the mapping makes for an action with these inputs.
pub(super) fn warnings(
    compiled: &Compiled,
    inputs: &[Input],
    sample: &Map<String, Value>,
    limits: &Limits,
) -> Vec<Violation> {
    let source = Value::Object(sample.clone());
    let mut warnings = Violations::default();
    let (given, _) = stood_in("", compiled.given());
    match compiled.holds(&source, &given, limits) {
        Ok(true) => {}
        // Why none: whether they hold is for each workspace to say.
        Ok(false) if compiled.has_given_conditions() => {}
        Ok(false) => warnings.push(Violation::new(
            "/sample",
            "sample_not_fired",
            "entry_conditions do not hold for the sample: an event like it fires nothing",
        )),
        Err(error) => of_source(error).into_iter().for_each(|warning| warnings.push(warning)),
    }
    match compiled.map(&source, &given, &Budget::rendering(limits.rendered_bytes)) {
        Err(error) => of_source(error).into_iter().for_each(|warning| warnings.push(warning)),
        Ok(input) => {
            let matching = Budget::matching(limits.matching_steps);
            of_input(compiled, inputs, &input, &matching).into_iter().for_each(|w| warnings.push(w));
        }
    }
    if let Err(error) = compiled.order_key(&source, limits) {
        of_source(error).into_iter().for_each(|warning| warnings.push(warning));
    }
    warnings.into_vec()
}

/// Violations of an event as those of the sample.
fn of_source(error: Error) -> Vec<Violation> {
    let at_sample = |mut violation: Violation| {
        if let Some(rest) = violation.pointer.strip_prefix("/source") {
            violation.pointer = format!("/sample{rest}");
        }
        violation
    };
    error.violations.into_iter().map(at_sample).collect()
}

/// The input that a violation is about.
fn input_of(pointer: &str) -> String {
    let name = pointer.strip_prefix("/input/").unwrap_or_default().split('/').next().unwrap_or_default();
    name.replace("~1", "/").replace("~0", "~")
}

/// Violations of the action's input, as those of the mapping that makes it.
fn of_input(
    compiled: &Compiled,
    inputs: &[Input],
    input: &Map<String, Value>,
    matching: &Budget,
) -> Vec<Violation> {
    let Err(mut violations) = check_input(inputs, input, matching) else { return Vec::new() };
    // Why: a text stands for what a workspace gives, which says nothing about the value that it will set.
    violations.retain(|violation| !compiled.is_given(&input_of(&violation.pointer)));
    if violations.is_empty() {
        return Vec::new();
    }
    let error = compiled.explained(Error::violations(Code::InputInvalid, violations));
    let at_mapping = |violation: Violation| {
        let rest = violation.pointer.strip_prefix("/input").unwrap_or_default();
        let pointer = format!("{DESTINATION}/field_mapping{rest}");
        Violation::new(pointer, violation.code, format!("with the sample: {}", violation.message))
    };
    error.violations.into_iter().map(at_mapping).collect()
}

/// Runs the samples of several automations, within bounds for all of them together: those that a replaced connector
/// does not reach are not judged.
pub(crate) struct Samples {
    left: u64,
    /// What mappings may still make, bytes.
    bytes: u64,
    matching: Budget,
}

/// How much the mappings of all samples may make, in budgets of one.
const BUDGETS: u64 = 4;

impl Samples {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            left: limits.samples_per_change,
            bytes: limits.rendered_bytes.saturating_mul(BUDGETS),
            matching: Budget::matching(limits.matching_steps),
        }
    }

    /// What goes wrong with an automation's sample, if it has one, for an action with these inputs.
    pub(crate) fn warnings(&mut self, document: &Value, inputs: &[Input], limits: &Limits) -> Vec<Violation> {
        let Some(sample) = document.get("sample").filter(|sample| sample.is_object()) else {
            return Vec::new();
        };
        if self.left == 0 || self.bytes == 0 {
            return Vec::new();
        }
        self.left -= 1;
        let mut wrong = Violations::default();
        let compiled = Compiled::of(document, limits, &mut wrong);
        if !wrong.is_empty() {
            // Why none: it cannot be fired either, and says so itself.
            return Vec::new();
        }
        let rendering = Budget::rendering(limits.rendered_bytes);
        let (given, _) = stood_in("", compiled.given());
        let input = compiled.map(sample, &given, &rendering);
        self.bytes = self.bytes.saturating_sub(rendering.made());
        // Why none: what the mapping lacks is not of the connector's making.
        let Ok(input) = input else { return Vec::new() };
        let mut found = of_input(&compiled, inputs, &input, &self.matching);
        // Why: what all samples may cost together is no fault of this one.
        found.retain(|warning| warning.code != TOO_COSTLY);
        found
    }
}

/// The code of a text that was not matched because that would have cost too much.
const TOO_COSTLY: &str = "pattern_too_costly";

#[cfg(test)]
mod tests {
    use portcullis_core::definition::InputType;
    use serde_json::json;

    use super::*;

    fn automation() -> Value {
        json!({
            "entry_conditions": { "path": "/kind", "eq": "lead" },
            "destination_config": { "field_mapping": {
                "Email": "{{source.email}}",
                "Items": { "each": "source.lines", "as": "line", "value": "{{line.sku}}!" },
            } },
        })
    }

    fn inputs() -> Vec<Input> {
        let input =
            |name: &str, kind, required| Input { name: name.to_owned(), kind, required, ..Input::default() };
        vec![input("Email", InputType::String, true), input("Items", InputType::Array, false)]
    }

    fn told(sample: &Value) -> Vec<(String, &'static str)> {
        let mut violations = Violations::default();
        let compiled = Compiled::of(&automation(), &Limits::default(), &mut violations);
        assert!(violations.is_empty(), "{violations:?}");
        let found = warnings(&compiled, &inputs(), sample.as_object().unwrap(), &Limits::default());
        found.into_iter().map(|warning| (warning.pointer, warning.code)).collect()
    }

    #[test]
    fn a_sample_shows_what_would_go_wrong_and_where() {
        let good = json!({ "kind": "lead", "email": "a@b.c", "lines": [{ "sku": 1 }] });
        assert_eq!(told(&good), []);
        for (sample, pointer, code) in [
            (json!({ "kind": "x", "email": "a@b.c" }), "/sample", "sample_not_fired"),
            (
                json!({ "kind": "lead", "email": "a@b.c", "lines": [{ "sku": 1 }, {}] }),
                "/sample/lines/1/sku",
                "missing_source",
            ),
            (json!({ "kind": "lead" }), "/destination_config/field_mapping/Email", "missing_input"),
            (json!({ "kind": "lead", "email": 7 }), "/destination_config/field_mapping/Email", "wrong_type"),
        ] {
            assert_eq!(told(&sample), [(pointer.to_owned(), code)], "{sample}");
        }
    }

    #[test]
    fn no_more_samples_are_run_than_the_limit() {
        let limits = Limits { samples_per_change: 2, ..Limits::default() };
        let mut samples = Samples::new(&limits);
        let mut document = automation();
        assert_eq!(samples.warnings(&document, &inputs(), &limits), [], "without a sample");
        document["sample"] = json!({ "kind": "x" });
        let mut run = || samples.warnings(&document, &inputs(), &limits).len();
        assert_eq!([run(), run(), run()], [1, 1, 0]);
    }
}
