//! Calls that the org's rules refuse: found before a token, a value or a budget is asked for, and recorded in the ledger.

use std::sync::Arc;

use portcullis_action::Method;
use portcullis_core::connector::Action;
use portcullis_core::fault::Code;
use portcullis_core::id::{ActionId, AutomationId, RunId};
use portcullis_core::org_rules::Asked;
use portcullis_core::verdict::Decision;
use portcullis_egress::{OutboundAttempt, OutboundLog as _};

use super::ledger_bracket::{CallLedger, Origin};
use super::prepare::{Named, name};
use super::request::CallRequest;
use super::run::{Progress, RunEnd};
use crate::connection::{ConnectionKey, LoadedConnection};
use crate::error::Error;
use crate::resources::Resources;

/// What a call of an action asks of the rules.
pub(crate) fn asked_of(action: &Action) -> Asked<'_> {
    Asked::Action { action: action.id.as_str(), effect: action.effect, is_module: action.is_module }
}

/// A call that is refused, with what its record says.
pub(crate) struct Refused {
    pub(crate) code: Code,
    decisions: Vec<Decision>,
    method: Method,
    /// Where it would have gone, `https://host[:port]`; empty if that is not known yet.
    origin: String,
    key: ConnectionKey,
    revision: u64,
    action_id: ActionId,
}

impl Refused {
    /// The refusal of a request of this connection.
    ///
    /// # Errors
    /// `internal`; only for a connection that the rules do not refuse.
    pub(crate) fn of(connection: &LoadedConnection, named: &Named) -> Result<Self, Error> {
        let action = named.action_of(connection.connector())?;
        let scope = connection.scope(action.method, &action.url).ok();
        Ok(Self {
            code: connection.refusal().ok_or_else(|| Error::plain(Code::Internal))?,
            decisions: connection.rules.current().org_rules.decisions(),
            method: action.method,
            origin: scope.and_then(|scope| scope.fixed_origin()).unwrap_or_default(),
            key: connection.key.clone(),
            revision: connection.loaded.revision,
            action_id: action.id.clone(),
        })
    }

    /// Ends a call with it; unless it is a dry run, the ledger says so first.
    pub(crate) async fn end(
        self,
        resources: &Resources,
        call: &CallRequest,
        run: &RunId,
        progress: &mut Progress,
    ) -> RunEnd {
        let code = self.code;
        progress.decisions.clone_from(&self.decisions);
        if !call.dry_run && self.record(resources, run, call.automation_id.clone()).await.is_err() {
            return RunEnd::plain(Code::LedgerUnavailable);
        }
        RunEnd::plain(code)
    }

    /// Writes its record.
    ///
    /// # Errors
    /// `ledger_unavailable`.
    pub(crate) async fn record(
        self,
        resources: &Resources,
        run: &RunId,
        automation_id: Option<AutomationId>,
    ) -> Result<(), Error> {
        let attempt = OutboundAttempt::refused(self.method.as_str(), self.origin, self.code);
        let of = Origin {
            org: self.key.org,
            workspace: self.key.workspace,
            connector_id: self.key.connector,
            connection: self.key.name,
            revision: self.revision,
            action_id: self.action_id,
            run_id: run.clone(),
            automation_id,
        };
        let recorded = CallLedger::new(resources, of, None).refused(attempt).await;
        recorded.map_err(|_| Error::plain(Code::LedgerUnavailable))
    }
}

/// Whether the org's rules refuse a call, as far as that is known before it is prepared: such a call takes none of the
/// org's budgets.
///
/// # Errors
/// `store_unavailable`. A call that names nothing is not refused here.
pub(crate) async fn is_refused(resources: &Resources, call: &CallRequest) -> Result<bool, Error> {
    let policy = resources.cache.policy(call.org.as_str()).await?;
    if policy.rules.are_open() {
        return Ok(false);
    }
    let named = match name(resources, call).await {
        Ok(named) if named.loaded.connector.enabled => named,
        Ok(_) => return Ok(false),
        Err(error) if error.is_ours() => return Err(error),
        Err(_) => return Ok(false),
    };
    let action = named.action()?;
    let asked = asked_of(action);
    let connector = Arc::clone(&named.loaded);
    Ok(policy.rules.judge(connector.connector.id.as_str(), asked).refusal().is_some())
}
