//! Values of a workspace: what differs between the workspaces of an org where an automation is mapped once, such as the
//! id of a pipeline. They are not secret, and mappings and conditions use them as `{{workspace.values.<name>}}`.
//!
//! A run has the values of the time at which its mapping is resolved: when its automation is fired, also if it is
//! executed later.

use std::collections::BTreeSet;

use portcullis_action::given::{VALUE_NAME_BYTES_MAX, is_value_name};
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::violation::{Violation, Violations, step};
pub use portcullis_store::WorkspaceValuesRecord;
use portcullis_store::{WorkspaceRecord, Writes};
use serde_json::{Map, Value};

use crate::caller::{Caller, WORKSPACE_ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;
use crate::tenants::Tenant;

/// Reads a workspace's values; none if they were never set.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn show(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
) -> Result<Option<WorkspaceValuesRecord>, Error> {
    caller.authorise(WORKSPACE_ORG, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let parts = [tenant.org.as_str(), tenant.workspace.as_str()];
    let found = engine.resources.records.get::<WorkspaceValuesRecord>(&parts).await?;
    Ok(found.map(|(record, _)| record))
}

/// Sets a workspace's values, all of them: those that are not named are gone.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` with every violation, `store_unavailable`.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    values: Map<String, Value>,
) -> Result<WorkspaceValuesRecord, Error> {
    caller.authorise(WORKSPACE_ORG, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let violations = violations(&values, engine.limits());
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations));
    }
    let record = WorkspaceValuesRecord { values, updated_at: clock::now() };
    let parts = [tenant.org.as_str(), tenant.workspace.as_str()];
    // Why the workspace as it was found: one of the same name that is made meanwhile starts empty.
    let writes =
        Writes::new().require_revision::<WorkspaceRecord>(&parts, tenant.commit).put(&parts, &record);
    engine.resources.commit(writes).await?;
    let by = caller.token_id.as_ref().map_or("the operator", |token| token.as_str());
    let (org, workspace) = (&tenant.org, &tenant.workspace);
    tracing::info!(%org, %workspace, by, count = record.values.len(), "values of a workspace were set");
    Ok(record)
}

fn violations(values: &Map<String, Value>, limits: &Limits) -> Vec<Violation> {
    let mut violations = Violations::default();
    let (count, most) = (values.len() as u64, limits.workspace_values);
    if count > most {
        let message = format!("has {count} values, the limit is {most} (limits.workspace_values)");
        // Why alone: of too many, no single one is looked at.
        return vec![Violation::new("/values", "too_many", message)];
    }
    for (name, value) in values {
        if !is_value_name(name) {
            violations.push_with(|| {
                let message = format!(
                    "the name of a value is a letter or _, then letters, digits, _ and -, at most \
                     {VALUE_NAME_BYTES_MAX} in all"
                );
                Violation::new(format!("/values/{}", step(name)), "wrong_form", message)
            });
        }
        if !matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)) {
            violations.push_with(|| {
                let message = "must be a text, a number or a boolean";
                Violation::new(format!("/values/{}", step(name)), "wrong_type", message)
            });
        }
    }
    let bytes = serde_json::to_string(values).map_or(0, |text| text.len() as u64);
    let most = limits.workspace_values_bytes;
    if bytes > most {
        let message = format!("are {bytes} bytes, the limit is {most} (limits.workspace_values_bytes)");
        violations.push(Violation::new("/values", "too_long", message));
    }
    violations.into_vec()
}

/// What an automation may use besides the source.
#[derive(Debug, Default)]
pub(crate) struct Given {
    workspace: Value,
    org: Value,
}

impl Given {
    pub(crate) fn new(org: &str, workspace: &str, values: Map<String, Value>) -> Self {
        let text = |text: &str| Value::String(text.to_owned());
        let mut of_org = Map::new();
        of_org.insert("id".to_owned(), text(org));
        let mut of_workspace = Map::new();
        of_workspace.insert("id".to_owned(), text(workspace));
        of_workspace.insert("values".to_owned(), Value::Object(values));
        Self { workspace: Value::Object(of_workspace), org: Value::Object(of_org) }
    }

    /// By the names under which templates find it.
    pub(crate) fn documents(&self) -> [(&'static str, &Value); 2] {
        [("workspace", &self.workspace), ("org", &self.org)]
    }
}

/// What stands for something that only a workspace gives, where there is none.
pub(crate) struct StandIn {
    /// Plain, so that it may stand anywhere in a request.
    pub(crate) text: String,
    /// What is shown in its place.
    pub(crate) shown: String,
}

/// What is given in no workspace, for an automation that uses these variables of it.
pub(crate) fn stood_in(org: &str, used: &[String]) -> (Given, Vec<StandIn>) {
    let names: BTreeSet<&str> =
        used.iter().filter_map(|variable| variable.strip_prefix("workspace.values.")).collect();
    let mut stand_ins = vec![StandIn { text: "pcworkspacex".to_owned(), shown: "<workspace id>".to_owned() }];
    let mut values = Map::new();
    for (number, name) in names.into_iter().enumerate() {
        // Why a letter at the end: so that none is the beginning of another one.
        let text = format!("pcvalue{number}x");
        values.insert(name.to_owned(), Value::String(text.clone()));
        stand_ins.push(StandIn { text, shown: format!("<workspace value {name}>") });
    }
    (Given::new(org, "pcworkspacex", values), stand_ins)
}

impl StandIn {
    /// Shows these names instead of the texts that stand for them.
    pub(crate) fn show_all(stand_ins: &[Self], text: &mut String) {
        for one in stand_ins {
            if text.contains(&one.text) {
                *text = text.replace(&one.text, &one.shown);
            }
        }
    }

    /// The same for every text of a value.
    pub(crate) fn show_in(stand_ins: &[Self], value: &mut Value) {
        match value {
            Value::String(text) => Self::show_all(stand_ins, text),
            Value::Array(items) => items.iter_mut().for_each(|item| Self::show_in(stand_ins, item)),
            Value::Object(members) => members.values_mut().for_each(|item| Self::show_in(stand_ins, item)),
            _ => {}
        }
    }
}

/// What is given in a workspace, for an automation that uses these variables of it.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn given(
    resources: &Resources,
    org: &OrgId,
    workspace: &WorkspaceId,
    used: &[String],
) -> Result<Given, Error> {
    // Why not always: nearly every automation uses none of it.
    if used.is_empty() {
        return Ok(Given::default());
    }
    let parts = [org.as_str(), workspace.as_str()];
    let found = resources.records.get_shared::<WorkspaceValuesRecord>(&parts).await?;
    let values = found.map(|(record, _)| record.values.clone()).unwrap_or_default();
    Ok(Given::new(org.as_str(), workspace.as_str(), values))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(values: &Value, limits: &Limits) -> Vec<(String, &'static str)> {
        let found = violations(values.as_object().unwrap(), limits);
        found.into_iter().map(|violation| (violation.pointer, violation.code)).collect()
    }

    #[test]
    fn in_no_workspace_names_stand_for_what_it_would_give() {
        let used = ["workspace.values.b", "workspace.values.a", "workspace.id", "org.id"].map(str::to_owned);
        let (given, stand_ins) = stood_in("acme", &used);
        let [(_, workspace), (_, org)] = given.documents();
        assert_eq!(
            (org["id"].as_str(), workspace["values"].as_object().map(Map::len)),
            (Some("acme"), Some(2))
        );
        let mut shown = json!({ "a": [workspace["values"]["b"], workspace["id"], 7], "t": "x" });
        StandIn::show_in(&stand_ins, &mut shown);
        assert_eq!(shown, json!({ "a": ["<workspace value b>", "<workspace id>", 7], "t": "x" }));
    }

    #[test]
    fn values_are_plain_named_by_words_and_bounded() {
        let limits = Limits { workspace_values: 3, workspace_values_bytes: 40, ..Limits::default() };
        assert_eq!(codes(&json!({ "pipeline_id": "7", "n": 1.5, "live": true }), &limits), []);
        assert_eq!(
            codes(&json!({ "a": 1, "b": 1, "c": 1, "d": 1 }), &limits),
            [("/values".into(), "too_many")]
        );
        assert_eq!(codes(&json!({ "a": "x".repeat(32) }), &limits), []);
        assert_eq!(codes(&json!({ "a": "x".repeat(33) }), &limits), [("/values".into(), "too_long")]);
        let wrong = json!({ "a.b": 1, "list": [], "none": null });
        assert_eq!(
            codes(&wrong, &limits),
            [
                ("/values/a.b".into(), "wrong_form"),
                ("/values/list".into(), "wrong_type"),
                ("/values/none".into(), "wrong_type"),
            ]
        );
    }
}
