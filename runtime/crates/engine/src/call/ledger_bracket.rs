//! The bracket of one call in the outbound ledger: adds tenant and call to what the gate reports.

use std::sync::Arc;

use portcullis_action::Method;
use portcullis_core::fault::Code;
use portcullis_core::id::{
    ActionId, AutomationId, ConnectionName, ConnectorId, EntryId, OrgId, RunId, WorkspaceId,
};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{OutboundAttempt, OutboundLog, OutboundLogError};
use portcullis_store::Ledger;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::active_calls::{CancelHandle, Target};
use crate::clock;
use crate::metrics::Metrics;
use crate::nodes::Freshness;
use crate::resources::Resources;

/// Attempts to write a `complete` record before it is only logged.
const COMPLETE_ATTEMPTS: u32 = 5;

/// The call's identity; the same in each of its ledger records.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) org: OrgId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) connector_id: ConnectorId,
    /// The name of the connection; none for the default one.
    pub(crate) connection: Option<ConnectionName>,
    /// The connector's revision.
    pub(crate) revision: u64,
    pub(crate) action_id: ActionId,
    pub(crate) run_id: RunId,
    /// The automation, if one fired.
    pub(crate) automation_id: Option<AutomationId>,
}

/// The ledger for one call.
pub(crate) struct CallLedger {
    ledger: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
    freshness: Arc<Freshness>,
    of: Origin,
    /// The running call; receives each request that it starts.
    handle: Option<Arc<CancelHandle>>,
    /// Held until the last record is written.
    _open: TaskTrackerToken,
}

impl CallLedger {
    /// A ledger for one call.
    #[must_use]
    pub(crate) fn new(resources: &Resources, of: Origin, handle: Option<Arc<CancelHandle>>) -> Arc<Self> {
        let (ledger, metrics) = (Arc::clone(&resources.ledger), Arc::clone(&resources.metrics));
        let freshness = Arc::clone(&resources.freshness);
        Arc::new(Self { ledger, metrics, freshness, of, handle, _open: resources.open_ledgers.token() })
    }

    fn event(&self, entry_id: EntryId, phase: LedgerPhase, attempt: OutboundAttempt) -> LedgerEvent {
        let of = &self.of;
        LedgerEvent {
            entry_id,
            at: clock::now(),
            phase,
            org: of.org.clone(),
            workspace: of.workspace.clone(),
            connector_id: of.connector_id.clone(),
            connection: of.connection.clone(),
            revision: of.revision,
            action_id: of.action_id.clone(),
            run_id: of.run_id.clone(),
            automation_id: of.automation_id.clone(),
            method: attempt.method.to_owned(),
            origin: attempt.origin,
            path: attempt.path,
            verdict: attempt.verdict,
            code: attempt.code.map(|c| c.as_str().to_owned()),
            matched_connector: attempt.matched_connector.map(|entry| entry.as_str().to_owned()),
            matched_org: attempt.matched_org.map(|entry| entry.as_str().to_owned()),
            would_refuse: attempt.would_refuse,
            addresses: attempt.addresses,
            chosen_address: attempt.chosen_address,
            tls_version: attempt.tls_version,
            status: attempt.status,
            bytes_out: attempt.bytes_out,
            bytes_in: attempt.bytes_in,
            durations: attempt.durations,
            credential_slot: attempt.credential_slot,
            credential_version: attempt.credential_version,
            redacted: attempt.redacted,
        }
    }

    async fn append(&self, event: &LedgerEvent) -> Result<(), OutboundLogError> {
        let appended = self.ledger.append(event).await;
        // Why here: what is counted is what was written, whoever asked for it.
        self.metrics.ledger_appended(event.phase, appended.is_ok());
        appended.map(|_| ()).map_err(|error| {
            tracing::error!(%error, org = %self.of.org, "the outbound ledger cannot be written");
            OutboundLogError
        })
    }
}

impl OutboundLog for CallLedger {
    fn refused(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<(), OutboundLogError>> {
        Box::pin(async move {
            let entry = clock::fresh("out", EntryId::parse).map_err(|_| OutboundLogError)?;
            self.append(&self.event(entry, LedgerPhase::Refused, attempt)).await
        })
    }

    fn begin(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<String, OutboundLogError>> {
        Box::pin(async move {
            // Why here, too: every request that is sent passes this, whatever sends it.
            if self.freshness.is_lost() {
                if let Some(handle) = &self.handle {
                    handle.end(Code::StoreUnavailable);
                }
                return Err(OutboundLogError);
            }
            if let Some(handle) = &self.handle {
                handle.commit().await;
                handle.note_sending().await.map_err(|error| {
                    tracing::error!(%error, run_id = %self.of.run_id, "it cannot be noted that a run sends something");
                    OutboundLogError
                })?;
            }
            let entry = clock::fresh("out", EntryId::parse).map_err(|_| OutboundLogError)?;
            let method = Method::parse(attempt.method).ok_or(OutboundLogError)?;
            let target = Target { method, url: format!("{}{}", attempt.origin, attempt.path) };
            let mut event = self.event(entry.clone(), LedgerPhase::Begin, attempt);
            event.verdict = LedgerVerdict::Allow;
            self.append(&event).await?;
            if let Some(handle) = &self.handle {
                handle.set_target(target);
            }
            Ok(entry.as_str().to_owned())
        })
    }

    fn complete(self: Arc<Self>, entry: String, attempt: OutboundAttempt) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Ok(entry) = EntryId::parse(&entry) else {
                return;
            };
            let event = self.event(entry, LedgerPhase::Complete, attempt);
            let mut pause = std::time::Duration::from_millis(10);
            for _ in 0..COMPLETE_ATTEMPTS {
                if self.append(&event).await.is_ok() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            tracing::error!(entry_id = %event.entry_id, "a ledger record could not be completed");
        })
    }
}
