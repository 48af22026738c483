//! Runs: calls actions, fires automations, reads records.

use portcullis_admission::Refused;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, RunId};
use portcullis_core::{json, offload};
use portcullis_store::{AutomationRecord, RunRecord, WorkspaceRecord};
use serde_json::{Map, Value};

use crate::api_token;
use crate::automations::{Destination, effort};
use crate::call::CallRequest;
pub use crate::call::Commitment;
use crate::call::pipeline::invoke;
pub use crate::call::run::{DryRunDocument, Run, RunDocument, SkipReason, StoredRun};
use crate::caller::{Caller, RUN, RUN_READERS};
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// A call of an action.
pub struct RunAction {
    /// Connector id as the caller wrote it.
    pub connector_id: String,
    /// Action id as the caller wrote it.
    pub action_id: String,
    pub input: Map<String, Value>,
    /// Whether to show the request instead of sending it.
    pub dry_run: bool,
    /// Shared with the connection that waits for the call.
    pub commitment: Commitment,
}

/// The firing of an automation.
pub struct FireAutomation {
    /// Automation id as the caller wrote it.
    pub automation_id: String,
    /// The document that the mapping reads.
    pub source: Map<String, Value>,
    /// Whether to show the request instead of sending it.
    pub dry_run: bool,
    /// Shared with the connection that waits for the call.
    pub commitment: Commitment,
}

fn authorise(caller: &Caller, tenant: &Tenant) -> Result<(), Error> {
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))
}

/// Why admission would refuse a call, decided from memory only, for a caller who may learn it; `None` if
/// that is not enough to decide. Under overload it saves the cost of a full call.
#[must_use]
pub fn refused_from_memory<'t>(
    engine: &Engine,
    org: &str,
    workspace: &str,
    token: impl FnOnce() -> Option<&'t str>,
) -> Option<Refused> {
    let refused = engine.scheduler().refusal(&format!("{org}/{workspace}"))?;
    let caller = api_token::authenticate_from_memory(&engine.resources, token()?)?;
    caller.authorise(RUN, Some(org), Some(workspace)).ok()?;
    engine.resources.records.kept::<WorkspaceRecord>(&[org, workspace])?;
    Some(refused)
}

/// Calls an action.
///
/// # Errors
/// If nothing ran: those of [`Caller::authorise`], `connector_not_found`, `action_not_found`, `input_invalid`,
/// `credential_needs_attention`. If it was refused or failed: its code, with the run.
pub async fn run_action(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: RunAction,
) -> Result<Run, Error> {
    authorise(caller, tenant)?;
    let call = CallRequest {
        org: tenant.org.clone(),
        workspace: tenant.workspace.clone(),
        workspace_commit: tenant.commit,
        seen: tenant.seen,
        connector_id: wish.connector_id,
        action_id: wish.action_id,
        input: wish.input,
        automation_id: None,
        token_id: caller.token_id.clone(),
        skip: None,
        dry_run: wish.dry_run,
        key: None,
        commitment: wish.commitment,
    };
    ended(invoke(engine, call).await?)
}

/// Fires an automation: its mapping is resolved to concrete values before anything else sees them.
///
/// # Errors
/// As for [`run_action`], and `automation_not_found`.
pub async fn fire_automation(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: FireAutomation,
) -> Result<Run, Error> {
    authorise(caller, tenant)?;
    let missing = || Error::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(&wish.automation_id).map_err(|_| missing())?;
    let parts = [tenant.org.as_str(), id.as_str()];
    let found = engine.resources.records.get_shared::<AutomationRecord>(&parts).await?;
    let (record, commit) = found.ok_or_else(missing)?;
    let resources = &engine.resources;
    let source = Value::Object(wish.source);
    let enough = usize::try_from(resources.limits.inline_bytes).unwrap_or(usize::MAX).saturating_add(1);
    offload::over(effort(&record.definition, &source, enough)).await;
    let compiled = resources.automations.of(&record, commit, &resources.limits)?;
    let fired = compiled.fire(&source, &resources.limits)?;
    let skip = fired.is_none().then_some(SkipReason::ConditionFalse);
    let input = fired.unwrap_or_default();
    // Why again: templates may repeat a part of the source.
    offload::over(input.values().map(|value| json::size(value, enough)).fold(0, usize::saturating_add)).await;
    let destination = Destination::of(&record.definition);
    let call = CallRequest {
        org: tenant.org.clone(),
        workspace: tenant.workspace.clone(),
        workspace_commit: tenant.commit,
        seen: tenant.seen,
        connector_id: destination.connector_id.to_owned(),
        action_id: destination.action_id.to_owned(),
        input,
        automation_id: Some(id),
        token_id: caller.token_id.clone(),
        skip,
        dry_run: wish.dry_run,
        key: None,
        commitment: wish.commitment,
    };
    ended(invoke(engine, call).await.map_err(|error| compiled.explained(error))?)
}

/// A dry run shows its request whatever its result; any other run that did not succeed is an error.
fn ended(run: Run) -> Result<Run, Error> {
    if run.progress.dry_run.is_some() { Ok(run) } else { run.into_result() }
}

/// A record as the engine wrote it.
pub(crate) fn stored(record: &RunRecord) -> Result<StoredRun, Error> {
    let mut run: StoredRun = serde_json::from_str(record.body.get()).map_err(|error| {
        let id = &record.run_id;
        tracing::error!(run_id = %id, column = error.column(), "a run's record cannot be read");
        Error::new(Code::Internal, "the run's record cannot be read")
    })?;
    run.created_at.clone_from(&record.created_at);
    Ok(run)
}

/// Reads a run's record.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_found`, `store_unavailable`.
pub async fn show(engine: &Engine, caller: &Caller, tenant: &Tenant, id: &str) -> Result<StoredRun, Error> {
    caller.authorise(RUN_READERS, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))?;
    let missing = || Error::new(Code::NotFound, "there is no such run in this workspace");
    let id = RunId::parse(id).map_err(|_| missing())?;
    let found = engine.runs.get(&tenant.org, &tenant.workspace, &id).await?;
    stored(&found.ok_or_else(missing)?)
}
