//! Tests with what is given besides the document: `{"path": "/owner", "eq": "{{workspace.values.owner}}"}` compares with
//! it, `{"path": "{{workspace.values.region}}", "eq": "eu"}` looks at it.
//!
//! A value that is not there to compare with equals nothing; one that is not there to be looked at is as a path that the
//! document does not have.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Compile, FORMS, Node, Test, test, weigh};
use crate::budget::{Budget, Exceeded};
use crate::given::{self, Given};
use crate::path::Path;
use crate::template::{Template, Variable};

/// A test with what is given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GivenTest {
    subject: Subject,
    wanted: Wanted,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq)]
enum Subject {
    At(Path),
    Of(Variable),
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Fixed(Test),
    Made { name: String, operand: Operand },
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Fixed(Value),
    Text(Template),
    List(Vec<Self>),
}

/// Reads a test; `None` for one that uses nothing that is given.
pub(super) fn read(map: &Map<String, Value>, pattern: Compile<'_>) -> Result<Option<GivenTest>, String> {
    let path = map.get("path").and_then(Value::as_str).ok_or(FORMS)?;
    let (name, value) = map.iter().find(|(name, _)| *name != "path").ok_or(FORMS)?;
    let operand = Operand::read(value)?;
    let subject = match given::template(path)? {
        Some(template) => {
            let variable = template.as_single_variable().cloned();
            Subject::Of(variable.ok_or("path must be one variable, such as {{workspace.values.x}}")?)
        }
        None if operand.is_fixed() => return Ok(None),
        None => Subject::At(Path::parse(path).ok_or("path must be a JSON pointer such as /status")?),
    };
    let wanted = if operand.is_fixed() {
        let mut at_root = map.clone();
        at_root.insert("path".to_owned(), Value::String(String::new()));
        match test(&at_root, pattern)? {
            Node::At(_, test) => Wanted::Fixed(test),
            _ => return Err(FORMS.to_owned()),
        }
    } else {
        let takes_template =
            matches!(name.as_str(), "eq" | "ne" | "in" | "contains" | "gt" | "gte" | "lt" | "lte");
        if !takes_template {
            return Err(format!("{name} takes no template"));
        }
        if name == "in" && !matches!(operand, Operand::List(_)) {
            return Err("in must be a list".to_owned());
        }
        Wanted::Made { name: name.clone(), operand }
    };
    Ok(Some(GivenTest { subject, wanted }))
}

impl GivenTest {
    pub(super) fn holds(
        &self,
        document: &Value,
        given: Given<'_>,
        budget: &Budget,
    ) -> Result<bool, Exceeded> {
        let made;
        let test = match &self.wanted {
            Wanted::Fixed(test) => test,
            Wanted::Made { name, operand } => {
                let value = operand.value(given);
                if let Some(value) = &value {
                    weigh(value, budget)?;
                }
                match value.and_then(|value| made_test(name, value)) {
                    Some(test) => made = test,
                    None => return Ok(name == "ne"),
                }
                &made
            }
        };
        // Leads nowhere in a document that is no object.
        let (root, nowhere) = (Path::parse(""), Path::parse("/-"));
        let (document, path) = match &self.subject {
            Subject::At(path) => (document, Some(path)),
            Subject::Of(variable) => match given::find(variable, given) {
                Some(value) => (value, root.as_ref()),
                None => (&Value::Null, nowhere.as_ref()),
            },
        };
        path.map_or(Ok(false), |path| test.holds(path, document, budget))
    }

    /// The variables that it uses.
    pub(super) fn variables(&self, found: &mut Vec<String>) {
        if let Subject::Of(variable) = &self.subject {
            found.push(variable.to_string());
        }
        if let Wanted::Made { operand, .. } = &self.wanted {
            operand.variables(found);
        }
    }
}

impl Operand {
    fn read(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => match given::template(text)? {
                Some(template) => Self::Text(template),
                None => Self::Fixed(value.clone()),
            },
            Value::Array(items) => Self::List(items.iter().map(Self::read).collect::<Result<_, String>>()?),
            other => Self::Fixed(other.clone()),
        })
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Text(_) => false,
            Self::List(items) => items.iter().all(Self::is_fixed),
        }
    }

    /// The value; entries of a list that have none are left out.
    fn value(&self, given: Given<'_>) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Text(template) => given::value_of(template, given),
            Self::List(items) => Some(items.iter().filter_map(|item| item.value(given)).collect()),
        }
    }

    fn variables(&self, found: &mut Vec<String>) {
        match self {
            Self::Fixed(_) => {}
            Self::Text(template) => found.extend(template.variables().map(ToString::to_string)),
            Self::List(items) => items.iter().for_each(|item| item.variables(found)),
        }
    }
}

/// The test of that name; `None` if nothing can be compared with the value in that way.
fn made_test(name: &str, value: Value) -> Option<Test> {
    let compare = |accepted, value: &Value| number(value).map(|limit| Test::Compare(accepted, limit));
    match name {
        "eq" => Some(Test::Eq(value)),
        "ne" => Some(Test::Ne(value)),
        "contains" => Some(Test::Contains(value)),
        "in" => match value {
            Value::Array(items) => Some(Test::In(items)),
            _ => None,
        },
        "gt" => compare(&[Ordering::Greater], &value),
        "gte" => compare(&[Ordering::Greater, Ordering::Equal], &value),
        "lt" => compare(&[Ordering::Less], &value),
        "lte" => compare(&[Ordering::Less, Ordering::Equal], &value),
        _ => None,
    }
}

/// A number, or a text that is one.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Predicate;
    use super::*;

    fn holds(condition: &Value, document: &Value, workspace: &Value) -> bool {
        let predicate = Predicate::parse_given(condition).unwrap();
        let org = json!({ "id": "acme" });
        let given = [("workspace", workspace), ("org", &org)];
        predicate.holds_given(document, &given, &Budget::matching(1_000_000)).unwrap()
    }

    #[test]
    fn a_value_is_compared_with_what_the_workspace_set() {
        let workspace = json!({ "id": "main", "values": { "owner": "7", "most": 10, "region": "eu" } });
        let document = json!({ "owner": "7", "amount": 12, "tags": ["eu", "x"], "org": "acme" });
        for (condition, expected) in [
            (json!({ "path": "/owner", "eq": "{{workspace.values.owner}}" }), true),
            (json!({ "path": "/amount", "gt": "{{workspace.values.most}}" }), true),
            (json!({ "path": "/amount", "lte": "{{workspace.values.owner}}" }), false),
            (json!({ "path": "/tags", "contains": "{{workspace.values.region}}" }), true),
            (json!({ "path": "/owner", "in": ["1", "{{workspace.values.owner}}"] }), true),
            (json!({ "path": "/org", "ne": "{{org.id}}" }), false),
            (json!({ "path": "{{workspace.values.region}}", "eq": "eu" }), true),
            (json!({ "path": "{{workspace.values.region}}", "matches": "e." }), true),
            (json!({ "path": "{{workspace.values.region}}", "exists": false }), false),
            (json!({ "not": { "path": "{{workspace.id}}", "in": ["main"] } }), false),
        ] {
            assert_eq!(holds(&condition, &document, &workspace), expected, "{condition}");
        }
    }

    #[test]
    fn what_the_workspace_did_not_set_equals_nothing() {
        let (document, none) = (json!({ "owner": "7", "n": null }), json!({ "id": "main", "values": {} }));
        for (condition, expected) in [
            (json!({ "path": "/owner", "eq": "{{workspace.values.owner}}" }), false),
            (json!({ "path": "/n", "eq": "{{workspace.values.owner}}" }), false),
            (json!({ "path": "/owner", "ne": "{{workspace.values.owner}}" }), true),
            (json!({ "path": "/owner", "in": ["{{workspace.values.owner}}"] }), false),
            (json!({ "path": "/owner", "gt": "{{workspace.values.owner}}" }), false),
            (json!({ "path": "/owner", "eq": "a{{workspace.values.owner}}" }), false),
            (json!({ "path": "{{workspace.values.owner}}", "exists": false }), true),
            (json!({ "path": "{{workspace.values.owner}}", "eq": null }), false),
            (json!({ "path": "{{workspace.values.owner}}", "ne": "x" }), true),
        ] {
            assert_eq!(holds(&condition, &document, &none), expected, "{condition}");
        }
    }

    #[test]
    fn a_template_where_none_can_stand_is_refused_and_other_braces_are_text() {
        for bad in [
            json!({ "path": "/a", "matches": "{{workspace.values.x}}" }),
            json!({ "path": "/a", "in": "{{workspace.values.x}}" }),
            json!({ "path": "/a/{{workspace.id}}", "eq": 1 }),
            json!({ "path": "/a", "eq": "{{workspace.x}}" }),
        ] {
            assert!(Predicate::parse_given(&bad).is_err(), "{bad}");
        }
        let text = json!({ "path": "/a", "eq": "{{source.x}}" });
        assert!(holds(&text, &json!({ "a": "{{source.x}}" }), &json!({})), "as it was before");
        let of_definition = json!({ "path": "/a", "eq": "{{workspace.id}}" });
        let predicate = Predicate::parse(&of_definition).unwrap();
        let document = json!({ "a": "{{workspace.id}}" });
        assert!(predicate.holds(&document, &Budget::matching(100)).unwrap(), "no template elsewhere");
    }
}
