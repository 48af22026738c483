//! Automations: an org's event bindings with their field mapping.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, ConnectionName, OrgId};
use portcullis_core::json;
use portcullis_core::limits::Limits;
use portcullis_core::tables::WrittenTables;
use portcullis_core::violation::{Violation, Violations, step};
use portcullis_store::{AutomationRecord, ConnectorRecord, OrgRecord, StoreError, Writes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cache::LoadedConnector;
use crate::call::prepare::no_action;
use crate::caller::{Caller, ORG};
use crate::clock;
use crate::connection::checked_names;
use crate::connectors::check_revision;
use crate::engine::Engine;
use crate::error::Error;
use crate::events;
use crate::resources::Resources;
use crate::schedules::{self, ScheduleChange};
pub use crate::schedules::{LastFiring, Missed, Schedule, ScheduleState, ScheduleWorkspaces};

mod compiled;
mod destination;
mod listing;
mod order;
mod sample;
mod trigger;

pub(crate) use compiled::{Compiled, CompiledAutomations};
pub(crate) use destination::Destination;
pub(crate) use sample::Samples;

pub use listing::list;
use trigger::{check_trigger, is_of_schedule, schedule_change};

/// Most characters of an unknown name in a message.
const NAME_CHARS_MAX: usize = 80;
/// Attempts to create an automation beside changes of its connector.
const ATTEMPTS_MAX: u32 = 5;
/// Pointer to the destination in an automation.
const DESTINATION: &str = "/destination_config";
/// Pointer to the name of its connection.
const CONNECTION: &str = "/destination_config/connection";

/// An automation as an org writes it, and as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutomationDefinition {
    /// The entity whose events fire it. Needed unless it has a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 120))]
    pub entity_name: Option<String>,
    /// The event that fires it. Needed unless it has a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 120))]
    pub event_name: Option<String>,
    /// Kind of destination.
    #[serde(default)]
    pub event_type: EventType,
    /// The phase of an operation in which it fires.
    #[serde(default)]
    pub event_stage: EventStage,
    /// The operation that fires it.
    #[serde(default)]
    pub event_optype: EventOptype,
    /// When it fires by itself, besides its event or instead of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A predicate on the source, `{path, eq}`, `{path, in}`, `{path, exists}`, `{all}`, `{any}`, `{not}` and others,
    /// or a list of predicates that must all hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_conditions: Option<Value>,
    /// What the durable runs of an event's key are ordered by, such as `{{source.id}}`: in each workspace those for which
    /// it makes the same text are executed one after the other, as they were accepted. A run for which it makes null or
    /// an empty text waits for no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 8192))]
    pub order_by: Option<String>,
    /// Tables for the filter `lookup`: name, then what stands for each value. A text, number or boolean.
    #[serde(default, skip_serializing_if = "WrittenTables::is_empty")]
    pub tables: WrittenTables,
    /// An event as its author expects it: what would go wrong with it is told when the automation is saved, and when
    /// its connector is replaced. At most 64 KiB; it is kept as it is, so no place for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Map<String, Value>>,
    /// The action that it calls.
    pub destination_config: DestinationConfig,
}

const fn yes() -> bool {
    true
}

/// The action that an automation calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationConfig {
    /// The connector.
    pub connector_id: String,
    /// Which of each workspace's connections to it is used; the default one if absent. A workspace that has none of this
    /// name is skipped, as one that has not configured the connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectionName")]
    pub connection: Option<String>,
    /// The action.
    pub action_id: String,
    /// A value or a template such as `{{source.email}}` for each input of the action.
    pub field_mapping: Map<String, Value>,
}

/// Kind of an automation's destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// An action of a connector.
    #[default]
    #[serde(rename = "external.connector")]
    ExternalConnector,
}

/// The phase of an operation in which an automation fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStage {
    /// Before the operation.
    Before,
    /// After the operation.
    #[default]
    After,
}

/// The operation that fires an automation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventOptype {
    /// An entity was created.
    #[default]
    Create,
    /// An entity was changed.
    Update,
    /// An entity was deleted.
    Delete,
}

/// A stored automation.
#[derive(Debug, Clone)]
pub struct Automation {
    pub id: AutomationId,
    /// Counts up from 1.
    pub revision: u64,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
    pub definition: AutomationDefinition,
    /// Where its schedule is, if it has one.
    pub schedule_state: Option<ScheduleState>,
    /// What its author should look at; only of one that was saved just now.
    pub warnings: Vec<Violation>,
}

impl Automation {
    /// One that was saved just now.
    async fn saved(
        resources: &Resources,
        record: AutomationRecord,
        mut warnings: Vec<Violation>,
    ) -> Result<Self, Error> {
        warnings.extend(events::crowded(resources, &record.org, &record.definition).await);
        Ok(Self { warnings, ..Self::read(resources, record).await? })
    }

    /// A stored one, with where its schedule is.
    async fn read(resources: &Resources, record: AutomationRecord) -> Result<Self, Error> {
        let org = record.org.clone();
        let mut automation = Self::of(record)?;
        if automation.definition.schedule.is_some() {
            automation.schedule_state = schedules::state(resources, &org, &automation.id).await?;
        }
        Ok(automation)
    }

    fn of(record: AutomationRecord) -> Result<Self, Error> {
        let definition = serde_json::from_value(record.definition).map_err(|error| {
            let id = &record.automation_id;
            tracing::error!(automation_id = %id, line = error.line(), "a stored automation cannot be read");
            Error::new(Code::Internal, "the stored automation cannot be read; replace it")
        })?;
        Ok(Self {
            id: record.automation_id,
            revision: record.revision,
            created_at: record.created_at,
            updated_at: record.updated_at,
            definition,
            schedule_state: None,
            warnings: Vec::new(),
        })
    }
}

/// About how many bytes firing an automation reads, the source counted up to `max`: the automation, and the source once
/// for each step of each condition that searches it.
pub(crate) fn effort(document: &Value, source: &Value, max: usize) -> usize {
    let searches = document.get("entry_conditions").map_or(0, searches);
    let searched = if searches > 0 { json::size(source, max).saturating_mul(searches) } else { 0 };
    json::size(document, max).saturating_add(searched)
}

/// Steps for each byte that is looked at by a pattern with a counted repetition: it may be compiled to 256 KiB.
const REPETITION: usize = 4096;

/// Steps for each byte of the source, of conditions that look at more than one value or into a text.
fn searches(conditions: &Value) -> usize {
    match conditions {
        Value::Array(all) => all.iter().map(searches).sum(),
        Value::Object(members) => {
            let path = members.get("path").and_then(Value::as_str).unwrap_or_default();
            let here =
                path.contains('*') || members.contains_key("matches") || members.contains_key("contains");
            let inner = ["all", "any", "not"].iter().filter_map(|name| members.get(*name));
            let weight = members
                .get("matches")
                .and_then(Value::as_str)
                .map_or(1, |pattern| if pattern.contains('{') { REPETITION } else { pattern.len().max(1) });
            usize::from(here) * weight + inner.map(searches).sum::<usize>()
        }
        _ => 0,
    }
}

async fn find(resources: &Resources, org: &OrgId, id: &str) -> Result<(AutomationRecord, u64), Error> {
    let missing = || Error::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(id).map_err(|_| missing())?;
    resources.records.get::<AutomationRecord>(&[org.as_str(), id.as_str()]).await?.ok_or_else(missing)
}

/// Checks what the schema cannot express: sizes, conditions, templates, and that the mapping fits the action.
///
/// # Errors
/// `validation_failed` with every violation.
pub(crate) async fn check(
    resources: &Resources,
    org: &OrgId,
    automation: &AutomationDefinition,
) -> Result<Checked, Error> {
    let document = serde_json::to_value(automation).map_err(|_| Error::plain(Code::Internal))?;
    let (bytes, limit) = (document.to_string().len() as u64, resources.limits.automation_bytes);
    if bytes > limit {
        let message = format!("is {bytes} bytes, the limit is {limit} (limits.automation_bytes)");
        return Err(Error::violation("", "too_long", message));
    }
    let mut violations = Violations::default();
    check_trigger(automation, &mut violations);
    if let Some(schedule) = &automation.schedule {
        schedules::check(resources, org, schedule, &mut violations).await?;
    }
    sample::check_size(automation, &resources.limits, &mut violations);
    let compiled = Compiled::of(&document, &resources.limits, &mut violations);
    let found = check_destination(resources, &automation.destination_config, &mut violations).await?;
    match found {
        Some(loaded) if violations.is_empty() => Ok(Checked { document, compiled, connector: loaded }),
        _ => Err(Error::violations(Code::ValidationFailed, violations.into_vec())),
    }
}

/// An automation that can be saved.
pub(crate) struct Checked {
    pub(crate) document: Value,
    pub(crate) compiled: Compiled,
    /// The connector that it was checked against.
    connector: Arc<LoadedConnector>,
}

impl Checked {
    /// What its author should look at.
    fn warnings(&self, automation: &AutomationDefinition, limits: &Limits) -> Vec<Violation> {
        let mut warnings = self.compiled.warnings();
        let action = self.connector.connector.action(&automation.destination_config.action_id);
        if let (Some(sample), Some(action)) = (&automation.sample, action) {
            warnings.extend(sample::warnings(&self.compiled, &action.inputs, sample, limits));
        }
        warnings
    }
}

/// Commits an automation, if its connector is still the one that it was checked against.
async fn commit(
    resources: &Resources,
    automation: &AutomationDefinition,
    connector_commit: u64,
    writes: Writes,
) -> Result<(), StoreError> {
    let connector = automation.destination_config.connector_id.as_str();
    resources.commit(writes.require_revision::<ConnectorRecord>(&[connector], connector_commit)).await?;
    resources.schedules_changed.notify_one();
    Ok(())
}

async fn check_destination(
    resources: &Resources,
    destination: &DestinationConfig,
    violations: &mut Violations,
) -> Result<Option<Arc<LoadedConnector>>, Error> {
    let DestinationConfig { connector_id, connection, action_id, field_mapping: mapping } = destination;
    if let Err(error) = checked_names(connection.as_deref(), CONNECTION) {
        error.violations.into_iter().for_each(|violation| violations.push(violation));
    }
    let loaded = match resources.cache.visible_connector(connector_id).await {
        Ok(loaded) => loaded,
        Err(Error { code: Code::ConnectorNotFound, detail, .. }) => {
            let pointer = format!("{DESTINATION}/connector_id");
            violations.push(Violation::new(pointer, "connector_not_found", detail));
            return Ok(None);
        }
        Err(other) => return Err(other),
    };
    let Some(action) = loaded.connector.action(action_id) else {
        let pointer = format!("{DESTINATION}/action_id");
        let message = no_action(&loaded.connector, action_id).detail;
        violations.push(Violation::new(pointer, "action_not_found", message));
        return Ok(None);
    };
    for name in mapping.keys().filter(|n| !action.inputs.iter().any(|i| i.name == **n)) {
        let hint = violations.hint(name, action.inputs.iter().map(|i| i.name.as_str()));
        violations.push_with(|| {
            let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
            let message = format!("the action has no input {shown:?}{hint}");
            Violation::new(format!("{DESTINATION}/field_mapping/{}", step(name)), "unknown_input", message)
        });
    }
    let needed = action.inputs.iter().filter(|i| i.required && i.default.is_none());
    for input in needed.filter(|i| !mapping.contains_key(&i.name)) {
        let message = format!("the action requires {:?}", input.name);
        let pointer = format!("{DESTINATION}/field_mapping/{}", step(&input.name));
        violations.push(Violation::new(pointer, "missing_input", message));
    }
    Ok(Some(loaded))
}

/// Creates an automation.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` with every violation.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    automation: AutomationDefinition,
) -> Result<Automation, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let now = clock::now();
    let mut record = AutomationRecord {
        automation_id: clock::fresh("auto", AutomationId::parse)?,
        org: org.clone(),
        definition: Value::Null,
        revision: 1,
        created_at: now.clone(),
        updated_at: now,
    };
    let id = record.automation_id.clone();
    let parts = [org.as_str(), id.as_str()];
    let mut attempts = 0;
    loop {
        let checked = check(resources, org, &automation).await?;
        let (connector, warnings) =
            (checked.connector.commit, checked.warnings(&automation, &resources.limits));
        record.definition = checked.document;
        let schedule = schedule_change(resources, org, &id, &automation).await?;
        let writes = Writes::new().require_present::<OrgRecord>(&[org.as_str()]).create(&parts, &record);
        attempts += 1;
        match commit(resources, &automation, connector, schedule.add_to(writes)).await {
            Ok(()) => return Automation::saved(resources, record, warnings).await,
            // The connector was replaced or deleted meanwhile: it is looked at again.
            Err(StoreError::Conflict { .. }) if attempts < ATTEMPTS_MAX => {
                // Why here: of another process's change this one may not have been told yet.
                resources.cache.forget_connector(&automation.destination_config.connector_id);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads an automation.
///
/// # Errors
/// Those of [`Caller::authorise`], `automation_not_found`.
pub async fn show(engine: &Engine, caller: &Caller, org: &OrgId, id: &str) -> Result<Automation, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    Automation::read(&engine.resources, find(&engine.resources, org, id).await?.0).await
}

/// Replaces an automation.
///
/// # Errors
/// Those of [`create`], `automation_not_found`, `revision_mismatch`.
pub async fn replace(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    id: &str,
    expected: Option<u64>,
    automation: AutomationDefinition,
) -> Result<Automation, Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let (before, before_commit) = find(resources, org, id).await?;
    check_revision(expected, before.revision)?;
    let checked = check(resources, org, &automation).await?;
    let (connector, warnings) = (checked.connector.commit, checked.warnings(&automation, &resources.limits));
    let record = AutomationRecord {
        definition: checked.document,
        revision: before.revision + 1,
        updated_at: clock::now(),
        ..before
    };
    let parts = [org.as_str(), record.automation_id.as_str()];
    let mut attempts = 0;
    loop {
        let schedule = schedule_change(resources, org, &record.automation_id, &automation).await?;
        let writes = schedule.add_to(Writes::new().replace(&parts, &record, before_commit));
        attempts += 1;
        match commit(resources, &automation, connector, writes).await {
            Err(error) if attempts < ATTEMPTS_MAX && is_of_schedule(&error) => {}
            done => break done?,
        }
    }
    Automation::saved(resources, record, warnings).await
}

/// Deletes an automation.
///
/// # Errors
/// Those of [`Caller::authorise`], `automation_not_found`, `revision_mismatch`.
pub async fn delete(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    id: &str,
    expected: Option<u64>,
) -> Result<(), Error> {
    caller.authorise(ORG, Some(org.as_str()), None)?;
    let resources = &engine.resources;
    let (record, commit) = find(resources, org, id).await?;
    check_revision(expected, record.revision)?;
    let parts = [org.as_str(), record.automation_id.as_str()];
    let mut attempts = 0;
    loop {
        let (id, now_ms) = (&record.automation_id, resources.clock.now_ms());
        let schedule = ScheduleChange::of(&resources.records, org, id, None, false, now_ms).await?;
        let writes = Writes::new()
            .require_revision::<AutomationRecord>(&parts, commit)
            .delete::<AutomationRecord>(&parts);
        attempts += 1;
        match resources.commit(schedule.add_to(writes)).await {
            Err(error) if attempts < ATTEMPTS_MAX && is_of_schedule(&error) => {}
            done => return Ok(done.map(drop)?),
        }
    }
}
