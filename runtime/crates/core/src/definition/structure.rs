//! The definition's JSON Schema, and the structural check that runs it.
//!
//! The valid parts of a definition are read even when others are not, so that the rules that follow can report
//! in the same answer. Called by `connector`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Definition;
use crate::structure::{Structure, Unknown, close, flatten_constants, flatten_optional, read_sound};
use crate::violation::{Violation, Violations};

/// The JSON Schema (2020-12) of a definition.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Definition).to_value();
    close(&mut schema, Unknown::RefusedButAnnotations);
    flatten_optional(&mut schema);
    flatten_constants(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Portcullis connector definition, version 1"));
    }
    schema
}

static STRUCTURE: LazyLock<Option<Structure>> =
    LazyLock::new(|| Structure::new(schema()).map(Structure::with_lengths_out_of_range));

/// Checks the structure of a document and reads the valid parts.
///
/// Returns the definition with invalid parts left at their defaults, so that the rules that follow
/// can report their breaches in the same answer. It is complete only if `problems` stayed empty. `None` if
/// so much is wrong that further rules would say nothing useful.
pub fn read(document: &Value, problems: &mut Violations) -> Option<Definition> {
    let Some(structure) = STRUCTURE.as_ref() else {
        problems.push(Violation::new("", "schema_unavailable", "the definition schema could not be built"));
        return None;
    };
    let sound = structure.sound_part(document, problems)?;
    Some(read_sound(sound).unwrap_or_else(|violation| {
        if problems.is_empty() {
            problems.push(violation);
        }
        Definition::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(document: &Value) -> Vec<(String, &'static str)> {
        let mut problems = Violations::default();
        read(document, &mut problems);
        let mut found: Vec<_> = problems.into_vec().into_iter().map(|p| (p.pointer, p.code)).collect();
        found.sort();
        found
    }

    fn sound() -> Value {
        json!({
            "connector_id": "a", "display_name": "A", "auth_type": "none",
            "actions": [{ "action_id": "x", "http_method": "GET", "url_template": "https://a.example.com/" }],
            "allowed_domains": ["a.example.com"],
        })
    }

    #[test]
    fn a_sound_document_has_no_problems_and_annotations_are_kept() {
        assert_eq!(problems(&sound()), []);
        let mut document = sound();
        document["x_team"] = json!("crm");
        document["actions"][0]["x_note"] = json!({ "any": 1 });
        assert_eq!(problems(&document), []);
    }

    #[test]
    fn every_structural_problem_is_reported_at_once_with_its_pointer() {
        let mut document = sound();
        document["allowed_domain"] = json!([]);
        document["enabled"] = json!("yes");
        document["actions"][0]["http_method"] = json!("get");
        document["actions"][0]["retries"] = json!(1);
        document.as_object_mut().unwrap().remove("display_name");
        assert_eq!(
            problems(&document),
            [
                ("/actions/0/http_method".to_owned(), "not_in_list"),
                ("/actions/0/retries".to_owned(), "unknown_field"),
                ("/allowed_domain".to_owned(), "unknown_field"),
                ("/display_name".to_owned(), "missing_field"),
                ("/enabled".to_owned(), "wrong_type"),
            ]
        );
    }

    #[test]
    fn a_typo_is_answered_with_the_field_that_was_meant() {
        let mut document = sound();
        document["allowed_domain"] = json!([]);
        let mut problems = Violations::default();
        read(&document, &mut problems);
        let problems = problems.into_vec();
        assert!(problems[0].message.contains("did you mean \"allowed_domains\""), "{:?}", problems[0]);
    }

    #[test]
    fn unsound_parts_do_not_hide_the_rest() {
        let mut document = sound();
        document["enabled"] = json!(1);
        let mut problems = Violations::default();
        let definition = read(&document, &mut problems).unwrap();
        assert_eq!(definition.allowed_domains, ["a.example.com"]);
        assert!(definition.enabled, "the default stands in");
    }

    #[test]
    fn what_is_no_object_is_one_problem() {
        assert_eq!(problems(&json!([])), [(String::new(), "wrong_type")]);
    }
}
