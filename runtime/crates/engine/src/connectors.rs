//! Connectors: the platform's definitions, created, read, changed and deleted. No secret is involved.

use std::sync::Arc;

use portcullis_core::connector::{Checked, Connector, MODULE_NOT_CHECKED};
use portcullis_core::definition;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, OrgId};
use portcullis_core::offload;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{AutomationRecord, ConnectorSetting, StoreError, Writes};
pub use portcullis_store::{ConnectorRecord, ConnectorRevision};
use serde_json::{Map, Value};

use crate::automations::{Destination, Samples};
pub use crate::cache::LoadedConnector;
use crate::caller::Caller;
use crate::clock;
use crate::connection;
use crate::engine::Engine;
use crate::error::Error;
use crate::modules::{self, Admitted, capability};
use crate::oauth_clients;
use crate::page::{Page, PageRequest};
use crate::resources::Resources;

mod patch;
mod pickable;
mod revisions;
mod telling;

pub(crate) use patch::merge;
pub use patch::patch;
pub use pickable::{Pickable, PickableAction, list_pickable};
pub use revisions::{list_revisions, show_revision};
use telling::{record_losses, told};

/// Connectors read at a time when a list is filtered.
const READ_AT_ONCE: usize = 100;

/// A connector as it was saved.
pub struct Saved {
    pub record: ConnectorRecord,
    /// What its author should look at.
    pub warnings: Vec<Violation>,
    /// Automations that the change breaks.
    pub impact: Vec<Impact>,
}

/// An automation that no longer fits its connector.
#[derive(Debug, Clone)]
pub struct Impact {
    pub org: OrgId,
    pub automation_id: AutomationId,
    /// The action that it calls.
    pub action_id: String,
    /// Whether the action was removed.
    pub action_gone: bool,
    /// Mapped inputs that were removed.
    pub inputs_gone: Vec<String>,
    /// What would go wrong with its sample.
    pub sample_warnings: Vec<Violation>,
}

/// The result of checking a definition.
pub struct Report {
    /// Every violation.
    pub errors: Vec<Violation>,
    /// What its author should look at.
    pub warnings: Vec<Violation>,
}

async fn check(engine: &Engine, definition: &Value) -> Result<(Connector, Vec<Violation>), Error> {
    let resources = &engine.resources;
    offload::to_worker().await;
    if let Some(detail) = Connector::too_large(definition, &resources.limits) {
        return Err(Error::new(Code::BodyTooLarge, detail));
    }
    let Checked { connector, errors, mut warnings } = Connector::parse(definition, &resources.limits);
    let Some(connector) = connector else { return Err(Error::violations(Code::ValidationFailed, errors)) };
    let found = check_module(engine, definition, &connector, &mut warnings).await?;
    if found.is_empty() {
        Ok((connector, warnings))
    } else {
        Err(Error::violations(Code::ValidationFailed, found))
    }
}

/// Checks a connector's module: it is stored, has the profile, and its examples come out.
async fn check_module(
    engine: &Engine,
    document: &Value,
    connector: &Connector,
    warnings: &mut Vec<Violation>,
) -> Result<Vec<Violation>, Error> {
    let Some(runtime) = &connector.runtime else { return Ok(Vec::new()) };
    let at = |pointer: &str, code, message: &str| Ok(vec![Violation::new(pointer, code, message)]);
    let Some(report) = modules::report_of(&engine.resources, &runtime.module).await? else {
        let message = "no module with this digest is stored; upload it first (POST /admin/module)";
        return at("/runtime/module", "module_unknown", message);
    };
    if report.profile.is_none_or(|needed| needed > runtime.profile) {
        let message = "the module imports more than this profile has; see its report";
        return at("/runtime/profile", "module_profile", message);
    }
    if runtime.profile > engine.modules.admitted() {
        let message = "this installation does not take modules of the profile std (modules.allow_std)";
        return at("/runtime/profile", "module_profile", message);
    }
    let module = engine.modules.load(runtime).await?;
    let mut unread = Violations::default();
    let Some(definition) = definition::read(document, &mut unread) else { return Ok(Vec::new()) };
    // Why: what could not be checked without the module is checked now.
    warnings.retain(|warning| warning.code != MODULE_NOT_CHECKED);
    Ok(modules::check_examples(&engine.modules.sandbox, &module, &definition, connector).await)
}

/// Ids whose path `/admin/connector/{id}` is another route's. Why refused only when something is made: a connector
/// that has such an id already can still be replaced and deleted where its path allows that.
const RESERVED: &[&str] = &["import", "validate"];
/// Deliveries to webhooks stand in ledgers under this id.
const OF_WEBHOOKS: &str = "webhook";

/// The violation of an id that no new connector can have.
fn reserved(definition: &Value) -> Option<Violation> {
    let id = definition.get("connector_id")?.as_str()?;
    let message = if RESERVED.contains(&id) {
        format!("{id:?} is reserved: /admin/connector/{id} is a route of its own; choose another id")
    } else if id == OF_WEBHOOKS {
        format!("{id:?} is reserved: deliveries to webhooks stand in ledgers under it; choose another id")
    } else {
        return None;
    };
    Some(Violation::new("/connector_id", "reserved", message))
}

async fn find(resources: &Resources, id: &str) -> Result<(ConnectorRecord, u64), Error> {
    resources.cache.record(id).await
}

/// Whether the revision that the caller expects, if any, is the current one.
pub(crate) fn check_revision(expected: Option<u64>, current: u64) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != current => {
            Err(Error::new(Code::RevisionMismatch, format!("the current revision is \"{current}\"")))
        }
        _ => Ok(()),
    }
}

/// Creates a connector from a definition.
///
/// # Errors
/// `role_not_allowed`, `validation_failed` with every violation, `body_too_large`, `already_exists`,
/// `capability_widened` unless `accepted` names what its module may do.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    definition: Value,
    accepted: Option<&str>,
) -> Result<Saved, Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let (connector, warnings) = check(engine, &definition).await?;
    if let Some(violation) = reserved(&definition) {
        return Err(Error::violations(Code::ValidationFailed, vec![violation]));
    }
    capability::check(None, &connector, accepted)?;
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
    let writes = told(resources, writes, &record, "created").await?;
    match resources.commit(writes).await {
        Ok(_) => Ok(Saved { record, warnings, impact: Vec::new() }),
        Err(StoreError::Conflict { .. }) => {
            let detail = format!("connector {id:?} exists; PUT /admin/connector/{id} replaces it");
            Err(Error::new(Code::AlreadyExists, detail).at("/connector_id"))
        }
        Err(other) => Err(other.into()),
    }
}

/// Lists connectors.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    wanted: &PageRequest,
) -> Result<Page<ConnectorRecord>, Error> {
    caller.platform()?;
    let records = &engine.resources.records;
    let found = records.list::<ConnectorRecord>(&[], wanted.after(), wanted.wanted()).await?;
    Ok(wanted.page(found.into_iter().map(|(_, record, _)| record).collect()))
}

/// Reads a connector.
///
/// # Errors
/// `role_not_allowed`, `connector_not_found`, `store_unavailable`.
pub async fn show(engine: &Engine, caller: &Caller, id: &str) -> Result<ConnectorRecord, Error> {
    caller.platform()?;
    Ok(find(&engine.resources, id).await?.0)
}

/// Checks a definition without saving it.
///
/// # Errors
/// `role_not_allowed`.
pub async fn validate(engine: &Engine, caller: &Caller, definition: &Value) -> Result<Report, Error> {
    caller.platform()?;
    offload::to_worker().await;
    let Checked { connector, mut errors, mut warnings } =
        Connector::parse(definition, &engine.resources.limits);
    errors.extend(reserved(definition));
    if let Some(connector) = &connector {
        errors.extend(check_module(engine, definition, connector, &mut warnings).await?);
    }
    Ok(Report { errors, warnings })
}

/// Replaces a connector. Calls that the new definition no longer grants end.
///
/// # Errors
/// `role_not_allowed`, `connector_not_found`, `revision_mismatch`, `validation_failed` with every violation.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    expected: Option<u64>,
    definition: Value,
    accepted: Option<&str>,
) -> Result<Saved, Error> {
    caller.platform()?;
    let (before, commit) = find(&engine.resources, id).await?;
    save(engine, before, commit, expected, definition, accepted).await
}

/// Admits a module and makes a new revision of the connector that uses it.
///
/// # Errors
/// Those of [`modules::upload`] and of [`replace`].
pub async fn replace_module(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    expected: Option<u64>,
    (bytes, signature): (Arc<[u8]>, Option<&str>),
    accepted: Option<&str>,
) -> Result<(Admitted, Saved), Error> {
    caller.platform()?;
    let (before, commit) = find(&engine.resources, id).await?;
    check_revision(expected, before.revision)?;
    let Some(mut runtime) = before.definition.get("runtime").filter(|one| one.is_object()).cloned() else {
        let message =
            "the connector has no runtime, which says what a module may do; add it with PUT or PATCH";
        return Err(Error::violation("/runtime", "runtime_missing", message));
    };
    let admitted = modules::upload(engine, caller, bytes, signature).await?;
    if let Some(members) = runtime.as_object_mut() {
        members.insert("module".to_owned(), admitted.report.digest.clone().into());
    }
    let mut definition = before.definition.clone();
    if let Some(members) = definition.as_object_mut() {
        members.insert("runtime".to_owned(), runtime);
    }
    let saved = save(engine, before, commit, expected, definition, accepted).await?;
    Ok((admitted, saved))
}

/// Replaces the record of a connector, and adds it to its revisions.
async fn commit_revision(resources: &Resources, record: &ConnectorRecord, commit: u64) -> Result<(), Error> {
    let id = record.connector_id.as_str();
    let revision = ConnectorRevision::from(record);
    let writes = Writes::new()
        .replace(&[id], record, commit)
        .put(&[id, &ConnectorRevision::part(record.revision)], &revision);
    resources.commit(told(resources, writes, record, "replaced").await?).await?;
    Ok(())
}

async fn save(
    engine: &Engine,
    before: ConnectorRecord,
    commit: u64,
    expected: Option<u64>,
    definition: Value,
    accepted: Option<&str>,
) -> Result<Saved, Error> {
    let resources = &engine.resources;
    check_revision(expected, before.revision)?;
    let (connector, warnings) = check(engine, &definition).await?;
    if connector.id != before.connector_id {
        let message = format!("must stay {:?}; a connector is never renamed", before.connector_id.as_str());
        return Err(Error::violation("/connector_id", "connector_id_changed", message));
    }
    if connector.runtime.is_some() {
        let known = Connector::parse(&before.definition, &resources.limits).connector;
        capability::check(known.as_ref(), &connector, accepted)?;
    }
    let record = ConnectorRecord {
        enabled: connector.enabled,
        revision: before.revision + 1,
        definition,
        updated_at: clock::now(),
        ..before
    };
    commit_revision(resources, &record, commit).await?;
    let impact = impact(resources, &connector).await?;
    Ok(Saved { record, warnings, impact })
}

/// Automations whose action was removed, that map to removed inputs, or whose sample makes an input that the action
/// does not take any more.
async fn impact(resources: &Resources, connector: &Connector) -> Result<Vec<Impact>, Error> {
    let (mut impact, mut samples) = (Vec::new(), Samples::new(&resources.limits));
    for automation in automations_of(resources, connector.id.as_str()).await? {
        let destination = Destination::of(&automation.definition);
        let action = connector.action(destination.action_id);
        let mapped = destination.field_mapping.into_iter().flat_map(Map::keys);
        let inputs_gone: Vec<String> = mapped
            .filter(|name| action.is_some_and(|a| !a.inputs.iter().any(|input| input.name == **name)))
            .cloned()
            .collect();
        // Why not with inputs that are gone: of these every event would be told the same.
        let sampled = action.filter(|_| inputs_gone.is_empty());
        let sample_warnings = sampled.map_or_else(Vec::new, |action| {
            samples.warnings(&automation.definition, &action.inputs, &resources.limits)
        });
        if action.is_none() || !inputs_gone.is_empty() || !sample_warnings.is_empty() {
            impact.push(Impact {
                action_id: destination.action_id.to_owned(),
                action_gone: action.is_none(),
                inputs_gone,
                sample_warnings,
                org: automation.org,
                automation_id: automation.automation_id,
            });
        }
    }
    Ok(impact)
}

async fn automations_of(resources: &Resources, connector: &str) -> Result<Vec<AutomationRecord>, Error> {
    let uses =
        |_: &str, record: &AutomationRecord| Destination::of(&record.definition).connector_id == connector;
    let found = resources.records.filter::<AutomationRecord>(&[], uses).await?;
    Ok(found.into_iter().map(|(_, record, _)| record).collect())
}

/// Keys of what workspaces saved for a connector: org, workspace, connector.
async fn connections_of(resources: &Resources, connector: &str) -> Result<Vec<Vec<String>>, Error> {
    let of = |_: &str, setting: &ConnectorSetting| setting.name.as_str() == connector;
    let found = resources.records.filter::<ConnectorSetting>(&[], of).await?;
    Ok(found.into_iter().map(|(rest, _, _)| rest.split('/').map(str::to_owned).collect()).collect())
}

/// Deletes a connector. Its running calls end.
///
/// # Errors
/// `role_not_allowed`, `connector_not_found`, `revision_mismatch`, `in_use` unless `force` is set.
pub async fn delete(
    engine: &Engine,
    caller: &Caller,
    id: &str,
    expected: Option<u64>,
    force: bool,
) -> Result<(), Error> {
    caller.platform()?;
    let resources = &engine.resources;
    let (mut record, mut commit) = find(resources, id).await?;
    check_revision(expected, record.revision)?;
    let connector_id = record.connector_id.clone();
    let id = connector_id.as_str();
    let connections = connections_of(resources, id).await?;
    let automations = automations_of(resources, id).await?;
    let clients = oauth_clients::org_clients_of(resources, id).await?;
    let is_used = !connections.is_empty() || !automations.is_empty() || !clients.is_empty();
    if is_used && !force {
        let detail = format!(
            "{} saved connections, {} automations and {} OAuth clients of orgs use it; switch it off first ({{\"enabled\": false}}), or delete with ?force=true",
            connections.len(),
            automations.len(),
            clients.len()
        );
        return Err(Error::new(Code::InUse, detail));
    }
    record_losses(resources, &connector_id, &[&connections, &keys_of(&automations), &clients]).await?;
    if record.enabled && !(connections.is_empty() && automations.is_empty()) {
        // Why: its calls end because the connector goes, not because their connections go before it.
        record.enabled = false;
        commit = resources.commit(Writes::new().replace(&[id], &record, commit)).await?;
    }
    // Why credentials before it: a connector that is still there can be deleted again; credentials of
    // one that is gone would wait for the next of that name.
    forget_uses(resources, id).await?;
    let writes =
        Writes::new().require_revision::<ConnectorRecord>(&[id], commit).delete::<ConnectorRecord>(&[id]);
    record.enabled = false;
    resources.commit(told(resources, writes, &record, "deleted").await?).await?;
    // Why again: what was saved between the look and the deletion would wait for the next connector of that name.
    // After the deletion nothing more can be: whatever is saved for a connector requires its record.
    forget_uses(resources, id).await
}

/// Deletes what was saved for a connector: connections, automations, OAuth clients.
async fn forget_uses(resources: &Resources, id: &str) -> Result<(), Error> {
    connection::delete_all(resources, &connections_of(resources, id).await?).await?;
    resources.delete_each::<AutomationRecord>(&keys_of(&automations_of(resources, id).await?)).await?;
    oauth_clients::forget_connector(resources, id).await
}

/// Keys of automations: org, automation.
fn keys_of(automations: &[AutomationRecord]) -> Vec<Vec<String>> {
    let key = |a: &AutomationRecord| vec![a.org.as_str().to_owned(), a.automation_id.as_str().to_owned()];
    automations.iter().map(key).collect()
}

/// As many connectors as a page needs, of those that are not drafts and that `admits` admits.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn visible(
    resources: &Resources,
    wanted: &PageRequest,
    admits: impl Fn(&ConnectorRecord) -> bool,
) -> Result<Vec<Arc<LoadedConnector>>, Error> {
    visible_where(resources, wanted, admits, |_| true).await
}

async fn visible_where(
    resources: &Resources,
    wanted: &PageRequest,
    admits: impl Fn(&ConnectorRecord) -> bool,
    keeps: impl Fn(&LoadedConnector) -> bool,
) -> Result<Vec<Arc<LoadedConnector>>, Error> {
    let mut entries = Vec::new();
    let mut after = wanted.after.clone();
    // Why on and on: what is left out must not end the page before the list does.
    while entries.len() < wanted.wanted() {
        let page = resources.records.list::<ConnectorRecord>(&[], after.as_deref(), READ_AT_ONCE).await?;
        let Some((last, _, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        for (id, _, _) in page.iter().filter(|(_, record, _)| admits(record)) {
            let loaded = resources.cache.connector(id).await?;
            entries.extend(loaded.filter(|loaded| loaded.is_visible() && keeps(loaded)));
        }
    }
    Ok(entries)
}
