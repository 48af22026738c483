//! `/admin/connector`: the platform's tier. Definitions go in and come out; no secret is near.

use axum::body::Body;
use http::Response;
use portcullis_core::connector::{Checked, Connector};
use portcullis_core::fault::Code;
use portcullis_core::id::ConnectorId;
use portcullis_core::violation::Violation;
use portcullis_egress::PoolScope;
use portcullis_store::{
    AutomationRecord, ConnectorRecord, ConnectorRevision, ConnectorSetting, CredentialState,
    DiscoveredConfig, StoreError, TokenState, Writes,
};
use serde_json::{Value, json};

use super::context::{Ctx, created, list, no_content, ok, tagged, with};
use crate::app::App;
use crate::automation::Destination;
use crate::clock;
use crate::problem::Problem;
use crate::scan;

fn document(record: &ConnectorRecord) -> Value {
    json!({
        "connector_id": record.connector_id,
        "revision": record.revision,
        "enabled": record.enabled,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "definition": record.definition,
    })
}

fn check(app: &App, definition: &Value) -> Result<(Connector, Vec<Violation>), Problem> {
    let bytes = definition.to_string().len() as u64;
    if bytes > app.limits.definition_bytes {
        let limit = app.limits.definition_bytes;
        let detail =
            format!("the definition is {bytes} bytes, the limit is {limit} (limits.definition_bytes)");
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let Checked { connector, errors, warnings } = Connector::parse(definition, &app.limits);
    match connector {
        Some(connector) => Ok((connector, warnings)),
        None => Err(Problem::breaches(Code::ValidationFailed, errors)),
    }
}

async fn find(ctx: &Ctx) -> Result<(ConnectorRecord, u64), Problem> {
    let missing = || Problem::plain(Code::ConnectorNotFound);
    let id = ConnectorId::parse(ctx.param("id")).map_err(|_| missing())?;
    ctx.app.records.get::<ConnectorRecord>(&[id.as_str()]).await?.ok_or_else(missing)
}

/// Creates a connector.
pub(super) async fn create(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let definition = ctx.json()?;
    create_from(&ctx, definition).await
}

/// Creates a connector of this definition.
pub(super) async fn create_from(ctx: &Ctx, definition: Value) -> Result<Response<Body>, Problem> {
    let (connector, warnings) = check(&ctx.app, &definition)?;
    let now = clock::now();
    let record = ConnectorRecord {
        connector_id: connector.id.clone(),
        enabled: connector.enabled,
        revision: 1,
        definition,
        created_at: now.clone(),
        updated_at: now,
    };
    let id = record.connector_id.as_str();
    let revision = ConnectorRevision::from(&record);
    let writes = Writes::new().create(&[id], &record).put(&[id, &ConnectorRevision::part(1)], &revision);
    match ctx.app.records.commit(writes).await {
        Ok(_) => {}
        Err(StoreError::Conflict { .. }) => {
            let detail = format!("connector {id:?} exists; PUT /admin/connector/{id} replaces it");
            return Err(Problem::new(Code::AlreadyExists, detail).at("/connector_id"));
        }
        Err(other) => return Err(other.into()),
    }
    ctx.app.directory.forget();
    let answer = with(document(&record), "warnings", json!(warnings));
    Ok(tagged(created(&format!("/admin/connector/{id}"), &answer), 1))
}

/// Lists connectors.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (limit, after) = ctx.page()?;
    let found = ctx.app.records.list::<ConnectorRecord>(&[], after, limit + 1).await?;
    Ok(list(found.iter().map(|(_, record, _)| document(record)).collect(), limit))
}

/// Reads a connector.
pub(super) async fn show(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (record, _) = find(&ctx).await?;
    Ok(tagged(ok(&document(&record)), record.revision))
}

/// Checks a definition without saving it.
pub(super) async fn validate(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let checked = Connector::parse(&ctx.json()?, &ctx.app.limits);
    let report =
        json!({ "valid": checked.errors.is_empty(), "errors": checked.errors, "warnings": checked.warnings });
    Ok(ok(&report))
}

/// Replaces a connector.
pub(super) async fn replace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let definition = ctx.json()?;
    save(&ctx, definition).await
}

/// Applies a JSON merge patch (RFC 7396) to a connector.
pub(super) async fn patch(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let patch = ctx.json()?;
    let (record, _) = find(&ctx).await?;
    let mut definition = record.definition;
    merge(&mut definition, &patch);
    save(&ctx, definition).await
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
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

async fn save(ctx: &Ctx, definition: Value) -> Result<Response<Body>, Problem> {
    let (before, commit) = find(ctx).await?;
    ctx.if_match(before.revision)?;
    let (connector, warnings) = check(&ctx.app, &definition)?;
    if connector.id != before.connector_id {
        let message = format!("must stay {:?}; a connector is never renamed", before.connector_id.as_str());
        let breach = Violation::new("/connector_id", "connector_id_changed", message);
        return Err(Problem::breaches(Code::ValidationFailed, vec![breach]));
    }
    let record = ConnectorRecord {
        enabled: connector.enabled,
        revision: before.revision + 1,
        definition,
        updated_at: clock::now(),
        ..before
    };
    let id = record.connector_id.as_str();
    let revision = ConnectorRevision::from(&record);
    let writes = Writes::new()
        .replace(&[id], &record, commit)
        .put(&[id, &ConnectorRevision::part(record.revision)], &revision);
    ctx.app.records.commit(writes).await?;
    changed(&ctx.app, id);
    if !record.enabled {
        end_calls(&ctx.app, id);
    }
    let answer = with(document(&record), "warnings", json!(warnings));
    let answer = with(answer, "impact", json!(impact(&ctx.app, &connector).await?));
    Ok(tagged(ok(&answer), record.revision))
}

/// What was known of the connector is forgotten, and its idle connections are closed.
fn changed(app: &App, id: &str) {
    app.directory.forget();
    app.gate.drop_connections(|scope: &PoolScope| scope.connector == id);
}

/// The kill switch ends running calls too.
fn end_calls(app: &App, id: &str) {
    app.running.end_where(|call| (call.connector == id).then_some(Code::ConnectorDisabled));
}

/// Automations whose action is gone, or that map to inputs that are gone.
async fn impact(app: &App, connector: &Connector) -> Result<Vec<Value>, Problem> {
    let mut impact = Vec::new();
    for automation in automations_of(app, connector.id.as_str()).await? {
        let Destination { action_id, field_mapping: mapped, .. } = Destination::of(&automation.definition);
        let action = connector.action(action_id);
        let gone: Vec<&String> = mapped
            .into_iter()
            .flat_map(serde_json::Map::keys)
            .filter(|name| action.is_some_and(|a| !a.inputs.iter().any(|i| i.name == **name)))
            .collect();
        if action.is_none() || !gone.is_empty() {
            impact.push(json!({
                "org": automation.org, "automation_id": automation.automation_id,
                "action_id": action_id, "action_gone": action.is_none(), "inputs_gone": gone,
            }));
        }
    }
    Ok(impact)
}

async fn automations_of(app: &App, connector_id: &str) -> Result<Vec<AutomationRecord>, Problem> {
    let uses = |_: &str, r: &AutomationRecord| Destination::of(&r.definition).connector_id == connector_id;
    let found = scan::filter::<AutomationRecord>(&app.records, &[], uses).await?;
    Ok(found.into_iter().map(|(_, record, _)| record).collect())
}

/// Keys of what workspaces saved for a connector: org, workspace, connector.
async fn settings_of(app: &App, connector_id: &str) -> Result<Vec<Vec<String>>, Problem> {
    let of = |_: &str, setting: &ConnectorSetting| setting.name.as_str() == connector_id;
    let found = scan::filter::<ConnectorSetting>(&app.records, &[], of).await?;
    Ok(found.into_iter().map(|(rest, _, _)| rest.split('/').map(str::to_owned).collect()).collect())
}

/// Deletes a connector.
pub(super) async fn remove(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (record, commit) = find(&ctx).await?;
    ctx.if_match(record.revision)?;
    let id = record.connector_id.as_str();
    let settings = settings_of(&ctx.app, id).await?;
    let automations = automations_of(&ctx.app, id).await?;
    let force = ctx.query("force") == Some("true");
    let used = !settings.is_empty() || !automations.is_empty();
    if used && !force {
        let detail = format!(
            "{} saved connections and {} automations use it; switch it off first ({{\"enabled\": false}}), or delete with ?force=true",
            settings.len(),
            automations.len()
        );
        return Err(Problem::new(Code::InUse, detail));
    }
    let automations: Vec<Vec<String>> = automations
        .iter()
        .map(|a| vec![a.org.as_str().to_owned(), a.automation_id.as_str().to_owned()])
        .collect();
    // Why credentials first: a connector that is still there can be deleted again; credentials of
    // one that is gone would wait for the next of that name.
    scan::delete::<ConnectorSetting>(&ctx.app.records, &settings).await?;
    scan::delete::<CredentialState>(&ctx.app.records, &settings).await?;
    scan::delete::<TokenState>(&ctx.app.records, &settings).await?;
    scan::delete::<DiscoveredConfig>(&ctx.app.records, &settings).await?;
    scan::delete::<AutomationRecord>(&ctx.app.records, &automations).await?;
    let writes =
        Writes::new().require_revision::<ConnectorRecord>(&[id], commit).delete::<ConnectorRecord>(&[id]);
    ctx.app.records.commit(writes).await?;
    changed(&ctx.app, id);
    end_calls(&ctx.app, id);
    Ok(no_content())
}

/// Lists a connector's revisions, oldest first.
pub(super) async fn revisions(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (record, _) = find(&ctx).await?;
    let (limit, after) = ctx.page()?;
    let after = match after.map(str::parse::<u64>) {
        None => None,
        Some(Ok(n)) => Some(ConnectorRevision::part(n)),
        Some(Err(_)) => {
            return Err(Problem::new(Code::BadRequest, "starting_after must be a revision number"));
        }
    };
    let parts = [record.connector_id.as_str()];
    let found = ctx.app.records.list::<ConnectorRevision>(&parts, after.as_deref(), limit + 1).await?;
    let entries = found
        .iter()
        .map(|(_, r, _)| json!({ "revision": r.revision, "enabled": r.enabled, "updated_at": r.updated_at }))
        .collect();
    Ok(list(entries, limit))
}

/// Reads one revision.
pub(super) async fn revision(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (record, _) = find(&ctx).await?;
    let missing = || Problem::new(Code::NotFound, "the connector has no such revision");
    let number: u64 = ctx.param("n").parse().map_err(|_| missing())?;
    let parts = [record.connector_id.as_str(), &ConnectorRevision::part(number)];
    let (found, _) = ctx.app.records.get::<ConnectorRevision>(&parts).await?.ok_or_else(missing)?;
    let answer = json!({
        "connector_id": found.connector_id, "revision": found.revision, "enabled": found.enabled,
        "created_at": found.created_at, "updated_at": found.updated_at, "definition": found.definition,
    });
    Ok(tagged(ok(&answer), found.revision))
}

#[cfg(test)]
mod tests {
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
