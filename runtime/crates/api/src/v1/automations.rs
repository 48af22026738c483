//! `/org/{org}/automation`: event bindings with their field mapping.

use portcullis_core::id::AutomationId;
use portcullis_core::tables::WrittenTables;
use portcullis_core::violation::Violation;
use portcullis_engine::Error;
use portcullis_engine::automations::{
    self, Automation, AutomationDefinition, DestinationConfig, EventOptype, EventStage, EventType, Schedule,
    ScheduleState,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::answer::{Created, CreatedVersioned, Json, List, NoContent, Versioned};
use crate::request::{Context, IfMatch, NoParameters, PageParameters, Typed};

/// A stored automation.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Automation")]
pub(crate) struct AutomationDocument {
    automation_id: AutomationId,
    /// Counts up from 1.
    revision: u64,
    /// When it was created, RFC 3339.
    created_at: String,
    /// When it was last changed, RFC 3339.
    updated_at: String,
    /// The entity whose events fire it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    entity_name: Option<String>,
    /// The event that fires it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    event_name: Option<String>,
    /// Kind of destination.
    event_type: EventType,
    /// The phase of an operation in which it fires.
    event_stage: EventStage,
    /// The operation that fires it.
    event_optype: EventOptype,
    /// When it fires by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Schedule")]
    schedule: Option<Schedule>,
    /// Where its schedule is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ScheduleState")]
    schedule_state: Option<ScheduleState>,
    /// Whether it is enabled.
    enabled: bool,
    /// A predicate on the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    entry_conditions: Option<Value>,
    /// What its durable runs are ordered by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    order_by: Option<String>,
    /// Tables for the filter `lookup`.
    #[serde(skip_serializing_if = "WrittenTables::is_empty")]
    tables: WrittenTables,
    /// An event as its author expects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    sample: Option<Map<String, Value>>,
    /// The action that it calls.
    destination_config: DestinationConfig,
    /// What its author should look at; in the answer to saving it, if there is anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Violation>,
}

impl From<Automation> for AutomationDocument {
    fn from(automation: Automation) -> Self {
        let Automation { id, revision, created_at, updated_at, definition, schedule_state, warnings } =
            automation;
        Self {
            automation_id: id,
            revision,
            created_at,
            updated_at,
            entity_name: definition.entity_name,
            event_name: definition.event_name,
            event_type: definition.event_type,
            event_stage: definition.event_stage,
            event_optype: definition.event_optype,
            schedule: definition.schedule,
            schedule_state,
            enabled: definition.enabled,
            entry_conditions: definition.entry_conditions,
            order_by: definition.order_by,
            tables: definition.tables,
            sample: definition.sample,
            destination_config: definition.destination_config,
            warnings,
        }
    }
}

impl From<Automation> for Versioned<AutomationDocument> {
    fn from(automation: Automation) -> Self {
        Self { revision: automation.revision, body: automation.into() }
    }
}

pub(crate) async fn create(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<AutomationDefinition>,
) -> Result<CreatedVersioned<AutomationDocument>, Error> {
    let org = context.org().await?;
    let made = automations::create(context.engine(), context.caller()?, &org, wish).await?;
    let location = format!("/org/{org}/automation/{}", made.id);
    Ok(CreatedVersioned(Created { location, body: made.into() }))
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<AutomationDocument>>, Error> {
    let org = context.org().await?;
    let found = automations::list(context.engine(), context.caller()?, &org, &page.wanted()).await?;
    Ok(List::of(found, AutomationDocument::from))
}

pub(crate) async fn show(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Versioned<AutomationDocument>, Error> {
    let org = context.org().await?;
    let found = automations::show(context.engine(), context.caller()?, &org, context.path("id")).await?;
    Ok(found.into())
}

pub(crate) async fn replace(
    context: Context,
    expected: IfMatch,
    Typed(wish): Typed<AutomationDefinition>,
) -> Result<Versioned<AutomationDocument>, Error> {
    let (org, id, expected) = (context.org().await?, context.path("id"), expected.revision()?);
    let saved = automations::replace(context.engine(), context.caller()?, &org, id, expected, wish).await?;
    Ok(saved.into())
}

pub(crate) async fn delete(context: Context, expected: IfMatch, (): ()) -> Result<NoContent, Error> {
    let (org, id, expected) = (context.org().await?, context.path("id"), expected.revision()?);
    automations::delete(context.engine(), context.caller()?, &org, id, expected).await?;
    Ok(NoContent)
}
