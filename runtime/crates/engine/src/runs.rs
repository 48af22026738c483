//! Runs: calls actions, fires automations, reads records.

use std::sync::Arc;

use portcullis_admission::Refused;
use portcullis_core::fault::Code;
use portcullis_core::id::{AutomationId, RunId};
use portcullis_core::{json, offload};
use portcullis_store::{AutomationRecord, RunRecord, WorkspaceRecord};
use serde_json::{Map, Value};

use crate::api_token;
use crate::automations::{Compiled, Destination, effort};
use crate::call::CallRequest;
pub use crate::call::Commitment;
use crate::call::pipeline::invoke;
pub use crate::call::run::{DryRequest, DryRunDocument, EndReason, Run, RunDocument, SkipReason, StoredRun};
use crate::caller::{Caller, RUN};
use crate::connection::checked_names;
use crate::engine::Engine;
use crate::error::Error;
use crate::jobs::{Acceptance, Accepted, Asynchronously, accept};
use crate::org_limits;
use crate::resources::Resources;
use crate::tenants::Tenant;
use crate::workspace_values;

/// What a call is known by when its caller gave it a key.
#[derive(Debug, Clone, Default)]
pub struct CallIdentity {
    /// The caller's key, from which the one that goes to the vendor is made.
    pub key: Option<String>,
    /// The id of its run; a new one if there is none yet.
    pub run_id: Option<RunId>,
}

/// A call of an action.
pub struct RunAction {
    /// Connector id as the caller wrote it.
    pub connector_id: String,
    /// The connection's name as the caller wrote it; the default one if absent.
    pub connection: Option<String>,
    /// Action id as the caller wrote it.
    pub action_id: String,
    pub input: Map<String, Value>,
    /// Whether to show the request instead of sending it.
    pub dry_run: bool,
    pub identity: CallIdentity,
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
    pub identity: CallIdentity,
    /// Shared with the connection that waits for the call.
    pub commitment: Commitment,
}

fn authorise(caller: &Caller, tenant: &Tenant) -> Result<(), Error> {
    caller.authorise(RUN, Some(tenant.org.as_str()), Some(tenant.workspace.as_str()))
}

/// Checks that a caller's token covers a call of an action. It is judged before an answer is repeated, too.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_granted`.
pub fn check_action(caller: &Caller, tenant: &Tenant, connector: &str, action: &str) -> Result<(), Error> {
    authorise(caller, tenant)?;
    caller.may_call(connector, action, None)
}

/// Checks that a caller's token covers the firing of an automation. It is judged before an answer is repeated, too.
///
/// # Errors
/// Those of [`Caller::authorise`], `not_granted`, also for an automation that does not exist; `store_unavailable`.
pub async fn check_automation(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
) -> Result<(), Error> {
    authorise(caller, tenant)?;
    match covers_automation(&engine.resources, caller, tenant, id).await? {
        true => Ok(()),
        false => Err(Error::plain(Code::NotGranted)),
    }
}

/// Whether a caller's token covers the firing of an automation as it is now. A limited one covers none that is gone: where
/// it led is not known.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn covers_automation(
    resources: &Resources,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
) -> Result<bool, Error> {
    if caller.is_unlimited() {
        return Ok(true);
    }
    if AutomationId::parse(id).is_err() {
        return Ok(false);
    }
    let found = resources.records.get_shared::<AutomationRecord>(&[tenant.org.as_str(), id]).await?;
    Ok(found.is_some_and(|(record, _)| {
        let to = Destination::of(&record.definition);
        caller.covers(to.connector_id, to.action_id, Some(id))
    }))
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
    let name = format!("{org}/{workspace}");
    let most = org_limits::calls_in_flight_from_memory(&engine.resources, org);
    let refused = engine.scheduler().refusal(&name, most)?;
    let caller = api_token::authenticate_from_memory(&engine.resources, token()?)?;
    caller.authorise(RUN, Some(org), Some(workspace)).ok()?;
    engine.resources.records.kept::<WorkspaceRecord>(&[org, workspace])?;
    // Why only now: who may not call there takes no place from those who may.
    if matches!(refused, Refused::Org(_)) {
        engine.scheduler().will_come_again(&name);
    }
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
    check_action(caller, tenant, &wish.connector_id, &wish.action_id)?;
    ended(invoke(engine, called(caller, tenant, wish)?).await?)
}

/// Accepts a call of an action, to be executed later.
///
/// # Errors
/// Those of [`Caller::authorise`] and of accepting a run.
pub async fn run_action_later(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: RunAction,
    how: Asynchronously,
) -> Result<Accepted, Error> {
    check_action(caller, tenant, &wish.connector_id, &wish.action_id)?;
    let with = Acceptance { not_before: how.not_before, ..Acceptance::default() };
    let call = called(caller, tenant, wish)?;
    let commitment = call.commitment.clone();
    // Why lost: it was committed only if it was being stored, and may be on disk whatever the store says.
    accept(engine, call, with).await.inspect_err(|_| commitment.lose()).and_then(accepted)
}

/// The call of an action that a caller wishes.
///
/// # Errors
/// `validation_failed` for a connection's name that is none.
fn called(caller: &Caller, tenant: &Tenant, wish: RunAction) -> Result<CallRequest, Error> {
    Ok(CallRequest {
        org: tenant.org.clone(),
        workspace: tenant.workspace.clone(),
        workspace_commit: tenant.commit,
        seen: tenant.seen,
        connector_id: wish.connector_id,
        connection: checked_names(wish.connection.as_deref(), "/connection")?,
        action_id: wish.action_id,
        run_id: wish.identity.run_id,
        input: wish.input,
        automation_id: None,
        event_id: None,
        token_id: caller.token_id.clone(),
        skip: None,
        dry_run: wish.dry_run,
        key: wish.identity.key,
        commitment: wish.commitment,
    })
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
    let Fired { call, compiled, .. } = fired(engine, caller, tenant, wish).await?;
    ended(invoke(engine, call).await.map_err(|error| compiled.explained(error))?)
}

/// Accepts the firing of an automation, whose call is executed later. Its mapping is resolved now.
///
/// # Errors
/// Those of [`Caller::authorise`], `automation_not_found`, and those of accepting a run.
pub async fn fire_automation_later(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: FireAutomation,
    how: Asynchronously,
) -> Result<Accepted, Error> {
    authorise(caller, tenant)?;
    let Fired { call, compiled, source } = fired(engine, caller, tenant, wish).await?;
    let of_source = Acceptance::of_source(&compiled, &call, source, engine.limits())?;
    let with = Acceptance { not_before: how.not_before, ..of_source };
    let commitment = call.commitment.clone();
    // Why lost: it was committed only if it was being stored, and may be on disk whatever the store says.
    let taken = accept(engine, call, with).await.inspect_err(|_| commitment.lose());
    taken.and_then(accepted).map_err(|error| compiled.explained(error))
}

/// The call that an automation makes of a source.
pub(crate) struct Fired {
    pub(crate) call: CallRequest,
    /// Explains errors of the call.
    pub(crate) compiled: Arc<Compiled>,
    /// What it was made of.
    pub(crate) source: Map<String, Value>,
}

/// Finds an automation and resolves its mapping.
///
/// # Errors
/// `automation_not_found`, `input_invalid`, `store_unavailable`.
pub(crate) async fn fired(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: FireAutomation,
) -> Result<Fired, Error> {
    let missing = || Error::plain(Code::AutomationNotFound);
    let id = AutomationId::parse(&wish.automation_id).map_err(|_| missing())?;
    let source = Value::Object(wish.source);
    let firing = Firing { caller, tenant, source: &source, commitment: &wish.commitment };
    let (mut call, compiled) = firing.call_of(engine, &id).await?;
    call.dry_run = wish.dry_run;
    call.run_id = wish.identity.run_id;
    call.key = wish.identity.key;
    let source = if let Value::Object(source) = source { source } else { Map::new() };
    Ok(Fired { call, compiled, source })
}

/// What fires an automation: whose call it is, and the document that the mapping reads.
#[derive(Clone, Copy)]
pub(crate) struct Firing<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) tenant: &'a Tenant,
    pub(crate) source: &'a Value,
    pub(crate) commitment: &'a Commitment,
}

impl Firing<'_> {
    /// The call that an automation makes of the source, and the automation, which explains the call's errors.
    ///
    /// # Errors
    /// `automation_not_found`, `input_invalid`, `store_unavailable`.
    pub(crate) async fn call_of(
        &self,
        engine: &Engine,
        id: &AutomationId,
    ) -> Result<(CallRequest, Arc<Compiled>), Error> {
        let resources = &engine.resources;
        let parts = [self.tenant.org.as_str(), id.as_str()];
        let found = resources.records.get_shared::<AutomationRecord>(&parts).await?;
        let (record, commit) = found.ok_or_else(|| Error::plain(Code::AutomationNotFound))?;
        let destination = Destination::of(&record.definition);
        self.caller.may_call(destination.connector_id, destination.action_id, Some(id.as_str()))?;
        let enough = usize::try_from(resources.limits.inline_bytes).unwrap_or(usize::MAX).saturating_add(1);
        offload::over(effort(&record.definition, self.source, enough)).await;
        let compiled = resources.automations.of(&record, commit, &resources.limits)?;
        let (org, workspace) = (&self.tenant.org, &self.tenant.workspace);
        let given = workspace_values::given(resources, org, workspace, compiled.given()).await?;
        let fired = compiled.fire(self.source, &given, &resources.limits)?;
        let skip = fired.is_none().then_some(SkipReason::ConditionFalse);
        let input = fired.unwrap_or_default();
        // Why again: templates may repeat a part of the source.
        let made = input.values().map(|value| json::size(value, enough)).fold(0, usize::saturating_add);
        offload::over(made).await;
        let call = CallRequest {
            org: self.tenant.org.clone(),
            workspace: self.tenant.workspace.clone(),
            workspace_commit: self.tenant.commit,
            seen: self.tenant.seen,
            connector_id: destination.connector_id.to_owned(),
            connection: destination.connection()?,
            action_id: destination.action_id.to_owned(),
            run_id: None,
            input,
            automation_id: Some(id.clone()),
            event_id: None,
            token_id: self.caller.token_id.clone(),
            skip,
            dry_run: false,
            key: None,
            commitment: self.commitment.clone(),
        };
        Ok((call, compiled))
    }
}

/// What was accepted; a run that was refused at once is an error, as it is without `Prefer: respond-async`.
pub(crate) fn accepted(what: Accepted) -> Result<Accepted, Error> {
    match what {
        Accepted::Ended(run) => ended(*run).map(|run| Accepted::Ended(Box::new(run))),
        queued @ Accepted::Queued(_) => Ok(queued),
    }
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
