//! Patches of a connector's definition, and the kill switch, which is one of them.

use serde_json::{Map, Value};

use super::{ConnectorRecord, Saved, check_revision, commit_revision, find, save};
use crate::caller::Caller;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

/// Applies a JSON merge patch (RFC 7396) to a connector's definition. `{"enabled": false}` is the kill switch: it has
/// no warnings and no impact, because nothing is checked.
///
/// # Errors
/// As for [`super::replace`].
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    expected: Option<u64>,
    patch: &Value,
    accepted: Option<&str>,
) -> Result<Saved, Error> {
    caller.platform()?;
    let (before, commit) = find(&engine.resources, id).await?;
    if is_kill_switch(patch) {
        return switch_off(&engine.resources, before, commit, expected).await;
    }
    let mut definition = before.definition.clone();
    merge(&mut definition, patch);
    save(engine, before, commit, expected, definition, accepted).await
}

fn is_kill_switch(patch: &Value) -> bool {
    patch.as_object().is_some_and(|members| members.len() == 1)
        && patch.get("enabled").is_some_and(|enabled| *enabled == Value::Bool(false))
}

/// Switches a connector off. Why without the checks of [`save`]: they may take long, the definition passed them when
/// it was saved, and one that the rules of a later version refuse must be switched off all the more.
async fn switch_off(
    resources: &Resources,
    mut record: ConnectorRecord,
    commit: u64,
    expected: Option<u64>,
) -> Result<Saved, Error> {
    check_revision(expected, record.revision)?;
    if let Some(members) = record.definition.as_object_mut() {
        members.insert("enabled".to_owned(), Value::Bool(false));
    }
    record.enabled = false;
    record.revision += 1;
    record.updated_at = clock::now();
    commit_revision(resources, &record, commit).await?;
    Ok(Saved { record, warnings: Vec::new(), impact: Vec::new() })
}

/// Applies a JSON merge patch (RFC 7396) to a document.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            map.shift_remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patch_is_rfc_7396() {
        for (target, patch, expected) in [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b", "b": "c" }), json!({ "a": null }), json!({ "b": "c" })),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (
                json!({ "a": { "b": "c" } }),
                json!({ "a": { "b": "d", "c": null } }),
                json!({ "a": { "b": "d" } }),
            ),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} {patch}");
        }
    }
}
