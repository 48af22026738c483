//! `/admin/connector`: the platform's definitions; and `/org/{org}/connector`, those that an org may use.

use portcullis_core::connector::{Action, Connector};
use portcullis_core::definition::OutputFieldDef;
use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, ConnectorId, OrgId};
use portcullis_core::input::{Input, type_name};
use portcullis_core::violation::Violation;
use portcullis_engine::Error;
use portcullis_engine::connectors::{self, ConnectorRecord, ConnectorRevision, Impact, Pickable, Saved};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Created, CreatedVersioned, Json, List, NoContent, Versioned};
use crate::request::{
    AnyDocument, Context, DefinitionBody, MergePatch, NoParameters, PageParameters, Parameters, revision,
};

/// A stored connector.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConnectorDocument {
    connector_id: ConnectorId,
    /// Counts up from 1.
    revision: u64,
    /// Whether it can be called.
    enabled: bool,
    /// When it was first uploaded, RFC 3339.
    created_at: String,
    /// When it was last changed, RFC 3339.
    updated_at: String,
    /// The definition as it was uploaded.
    #[schemars(schema_with = "definition")]
    definition: Value,
}

/// A connector that was saved.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SavedConnector {
    #[serde(flatten)]
    document: ConnectorDocument,
    /// What the author of the definition should look at.
    warnings: Vec<Violation>,
    /// Automations that the change breaks; absent for a new connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<Vec<BrokenAutomation>>,
}

fn definition(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::Schema::new_ref("#/components/schemas/Definition".to_owned())
}

/// An automation that no longer fits its connector.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BrokenAutomation {
    org: OrgId,
    automation_id: AutomationId,
    /// The action that it calls.
    action_id: String,
    /// Whether the action was removed.
    action_gone: bool,
    /// Mapped inputs that were removed.
    inputs_gone: Vec<String>,
    /// What would go wrong with an event like the automation's sample.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sample_warnings: Vec<Violation>,
}

/// How a connector is created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accept {
    /// The digest of the difference that a person accepts, as `capability_widened` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    accept: Option<String>,
}

impl Parameters for Accept {}

/// How a connector is changed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeConnector {
    /// The digest of the difference that a person accepts, as `capability_widened` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    accept: Option<String>,
    /// The `ETag` of the record as it was read: the change is refused if the record has changed since. `*` means any.
    #[serde(rename = "If-Match", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    if_match: Option<String>,
}

impl Parameters for ChangeConnector {}

/// The result of checking a definition.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Report {
    /// Whether it could be uploaded.
    valid: bool,
    /// Every violation.
    errors: Vec<Violation>,
    /// What its author should look at.
    warnings: Vec<Violation>,
}

/// A revision in the list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RevisionEntry {
    /// Counts up from 1.
    revision: u64,
    /// Whether it could be called.
    enabled: bool,
    /// When it was created, RFC 3339.
    updated_at: String,
}

/// A connector that an org may use.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PickableConnector {
    connector_id: ConnectorId,
    /// Name for people.
    display_name: String,
    /// What the third party is.
    description: Option<String>,
    /// Link to its documentation.
    docs_url: Option<String>,
    /// Whether it should not be used for anything new.
    deprecated: bool,
    /// Version of the definition, for people.
    version: Option<String>,
    /// Revision of the definition.
    revision: u64,
    /// Whether the org's rules allow anything of it.
    allowed: bool,
    /// Why they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Code")]
    code: Option<Code>,
    /// Its actions.
    actions: Vec<PickableAction>,
}

/// An action that an org may use.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PickableAction {
    action_id: ActionId,
    /// Name for people.
    name: Option<String>,
    /// What it does.
    description: Option<String>,
    /// Link to its documentation.
    docs_url: Option<String>,
    /// Whether it should not be used for anything new.
    deprecated: bool,
    /// What it does to the third party's data: `read`, `write` or another effect of the definition.
    effect: String,
    /// Whether the org's rules allow it.
    allowed: bool,
    /// Why they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Code")]
    code: Option<Code>,
    /// HTTP method of its request.
    http_method: String,
    /// Its inputs.
    inputs: Vec<ActionInput>,
    /// Its outputs.
    outputs: Vec<ActionOutput>,
    /// Scopes that its credential must have.
    requires_scopes: Vec<String>,
}

/// An input of an action.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActionInput {
    name: String,
    label: Option<String>,
    r#type: String,
    required: bool,
    /// The value used when none is given.
    default: Value,
    /// The accepted values; null if any value is accepted.
    r#enum: Option<Vec<Value>>,
    help: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<String>,
    example: Value,
}

/// An output of an action.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActionOutput {
    name: String,
    label: Option<String>,
    r#type: String,
    /// JSON pointer into the action's output.
    path: Option<String>,
}

/// How a connector is deleted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteConnector {
    /// Delete it with everything that uses it.
    #[serde(default)]
    force: bool,
    /// The `ETag` of the record as it was read. `*` means any.
    #[serde(rename = "If-Match", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-in" = "header"))]
    if_match: Option<String>,
}

impl Parameters for DeleteConnector {}

impl From<ConnectorRecord> for ConnectorDocument {
    fn from(record: ConnectorRecord) -> Self {
        let ConnectorRecord { connector_id, enabled, revision, definition, created_at, updated_at } = record;
        Self { connector_id, revision, enabled, created_at, updated_at, definition }
    }
}

impl From<ConnectorRevision> for ConnectorDocument {
    fn from(record: ConnectorRevision) -> Self {
        let ConnectorRevision { connector_id, enabled, revision, definition, created_at, updated_at } =
            record;
        Self { connector_id, revision, enabled, created_at, updated_at, definition }
    }
}

impl SavedConnector {
    fn of(saved: Saved, impact: Option<Vec<BrokenAutomation>>) -> Self {
        Self { document: saved.record.into(), warnings: saved.warnings, impact }
    }

    fn created(saved: Saved) -> CreatedVersioned<Self> {
        let location = format!("/admin/connector/{}", saved.record.connector_id);
        CreatedVersioned(Created { location, body: Self::of(saved, None) })
    }

    pub(crate) fn changed(mut saved: Saved) -> Versioned<Self> {
        let impact = std::mem::take(&mut saved.impact).into_iter().map(BrokenAutomation::from).collect();
        Versioned { revision: saved.record.revision, body: Self::of(saved, Some(impact)) }
    }
}

impl From<Impact> for BrokenAutomation {
    fn from(impact: Impact) -> Self {
        let Impact { org, automation_id, action_id, action_gone, inputs_gone, sample_warnings } = impact;
        Self { org, automation_id, action_id, action_gone, inputs_gone, sample_warnings }
    }
}

impl PickableConnector {
    fn of(pickable: &Pickable) -> Self {
        let loaded = &pickable.loaded;
        let connector: &Connector = &loaded.connector;
        let actions = pickable
            .actions
            .iter()
            .filter_map(|one| Some(PickableAction::of(connector.actions.get(one.index)?, one.refusal)));
        Self {
            allowed: pickable.refusal.is_none(),
            code: pickable.refusal,
            connector_id: connector.id.clone(),
            display_name: connector.display_name.clone(),
            description: connector.description.clone(),
            docs_url: connector.docs_url.clone(),
            deprecated: connector.deprecated,
            version: connector.version.clone(),
            revision: loaded.revision,
            actions: actions.collect(),
        }
    }
}

impl PickableAction {
    fn of(action: &Action, refusal: Option<Code>) -> Self {
        Self {
            allowed: refusal.is_none(),
            code: refusal,
            action_id: action.id.clone(),
            name: action.name.clone(),
            description: action.description.clone(),
            docs_url: action.docs_url.clone(),
            deprecated: action.deprecated,
            effect: action.effect.as_str().to_owned(),
            http_method: action.method.as_str().to_owned(),
            inputs: action.inputs.iter().map(ActionInput::of).collect(),
            outputs: action.outputs.iter().map(ActionOutput::of).collect(),
            requires_scopes: action.requires_scopes.clone(),
        }
    }
}

impl ActionInput {
    fn of(input: &Input) -> Self {
        Self {
            name: input.name.clone(),
            label: input.label.clone(),
            r#type: type_name(input.kind).to_owned(),
            required: input.required,
            default: input.default.clone().unwrap_or_default(),
            r#enum: input.accepted.clone(),
            help: input.help.clone(),
            min: input.min,
            max: input.max,
            min_length: input.min_length.map(u64::from),
            max_length: input.max_length.map(u64::from),
            pattern: input.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
            example: input.example.clone().unwrap_or_default(),
        }
    }
}

impl ActionOutput {
    fn of(output: &OutputFieldDef) -> Self {
        Self {
            name: output.name.clone(),
            label: output.label.clone(),
            r#type: type_name(output.r#type).to_owned(),
            path: output.path.clone(),
        }
    }
}

pub(crate) async fn create(
    context: Context,
    how: Accept,
    DefinitionBody(definition): DefinitionBody,
) -> Result<CreatedVersioned<SavedConnector>, Error> {
    let accepted = how.accept.as_deref();
    let saved = connectors::create(context.engine(), context.caller()?, definition, accepted).await?;
    Ok(SavedConnector::created(saved))
}

pub(crate) async fn install(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<CreatedVersioned<SavedConnector>, Error> {
    let saved =
        portcullis_engine::catalog::install(context.engine(), context.caller()?, context.path("id")).await?;
    Ok(SavedConnector::created(saved))
}

pub(crate) async fn list(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<ConnectorDocument>>, Error> {
    let found = connectors::list(context.engine(), context.caller()?, &page.wanted()).await?;
    Ok(List::of(found, ConnectorDocument::from))
}

pub(crate) async fn show(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Versioned<ConnectorDocument>, Error> {
    let record = connectors::show(context.engine(), context.caller()?, context.path("id")).await?;
    Ok(Versioned { revision: record.revision, body: record.into() })
}

pub(crate) async fn validate(
    context: Context,
    _: NoParameters,
    AnyDocument(definition): AnyDocument,
) -> Result<Json<Report>, Error> {
    let report = connectors::validate(context.engine(), context.caller()?, &definition).await?;
    let valid = report.errors.is_empty();
    Ok(Json(Report { valid, errors: report.errors, warnings: report.warnings }))
}

pub(crate) async fn replace(
    context: Context,
    how: ChangeConnector,
    DefinitionBody(definition): DefinitionBody,
) -> Result<Versioned<SavedConnector>, Error> {
    let (id, expected) = (context.path("id"), revision(how.if_match.as_deref())?);
    let (engine, caller, accepted) = (context.engine(), context.caller()?, how.accept.as_deref());
    let saved = connectors::replace(engine, caller, id, expected, definition, accepted).await?;
    Ok(SavedConnector::changed(saved))
}

pub(crate) async fn patch(
    context: Context,
    how: ChangeConnector,
    MergePatch(patch): MergePatch,
) -> Result<Versioned<SavedConnector>, Error> {
    let (id, expected) = (context.path("id"), revision(how.if_match.as_deref())?);
    let (engine, caller, accepted) = (context.engine(), context.caller()?, how.accept.as_deref());
    let saved = connectors::patch(engine, caller, id, expected, &patch, accepted).await?;
    Ok(SavedConnector::changed(saved))
}

pub(crate) async fn delete(context: Context, how: DeleteConnector, (): ()) -> Result<NoContent, Error> {
    let (id, expected) = (context.path("id"), revision(how.if_match.as_deref())?);
    connectors::delete(context.engine(), context.caller()?, id, expected, how.force).await?;
    Ok(NoContent)
}

pub(crate) async fn list_revisions(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<RevisionEntry>>, Error> {
    let id = context.path("id");
    let found = connectors::list_revisions(context.engine(), context.caller()?, id, &page.wanted()).await?;
    Ok(List::of(found, |entry| RevisionEntry {
        revision: entry.revision,
        enabled: entry.enabled,
        updated_at: entry.updated_at,
    }))
}

pub(crate) async fn show_revision(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Versioned<ConnectorDocument>, Error> {
    let (id, number) = (context.path("id"), context.path("n"));
    let record = connectors::show_revision(context.engine(), context.caller()?, id, number).await?;
    Ok(Versioned { revision: record.revision, body: record.into() })
}

pub(crate) async fn list_pickable(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<PickableConnector>>, Error> {
    let org = context.org().await?;
    let found = connectors::list_pickable(context.engine(), context.caller()?, &org, &page.wanted()).await?;
    Ok(List::of(found, |pickable| PickableConnector::of(&pickable)))
}
