//! The bracket of one call in the outbound ledger: who asks, around what the gate reports.

use std::sync::Arc;

use portcullis_core::id::{ActionId, AutomationId, ConnectorId, EntryId, OrgId, RunId, WorkspaceId};
use portcullis_core::ledger::{LedgerEvent, LedgerPhase, LedgerVerdict};
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{Attempt, AttemptLog, AttemptLogError};
use portcullis_store::Ledger;

use crate::clock;

/// Tries of a `complete` record before it is given up to the log.
const COMPLETE_TRIES: u32 = 5;

/// Who a call is for; the same in each of its ledger records.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Org.
    pub org: OrgId,
    /// Workspace.
    pub workspace: WorkspaceId,
    /// Connector.
    pub connector_id: ConnectorId,
    /// Its revision.
    pub revision: u64,
    /// Action.
    pub action_id: ActionId,
    /// Run.
    pub run_id: RunId,
    /// Automation, if one fired.
    pub automation_id: Option<AutomationId>,
}

/// The ledger as one call sees it.
pub struct CallLedger {
    ledger: Arc<Ledger>,
    asker: Asker,
}

impl CallLedger {
    /// A ledger for one call.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, asker: Asker) -> Arc<Self> {
        Arc::new(Self { ledger, asker })
    }

    fn event(&self, entry_id: EntryId, phase: LedgerPhase, attempt: Attempt) -> LedgerEvent {
        let asker = &self.asker;
        LedgerEvent {
            entry_id,
            at: clock::now(),
            phase,
            org: asker.org.clone(),
            workspace: asker.workspace.clone(),
            connector_id: asker.connector_id.clone(),
            revision: asker.revision,
            action_id: asker.action_id.clone(),
            run_id: asker.run_id.clone(),
            automation_id: asker.automation_id.clone(),
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

    async fn append(&self, event: &LedgerEvent) -> Result<(), AttemptLogError> {
        self.ledger.append(event).await.map(|_| ()).map_err(|error| {
            tracing::error!(%error, org = %self.asker.org, "the outbound ledger cannot be written");
            AttemptLogError
        })
    }
}

impl AttemptLog for CallLedger {
    fn refused(&self, attempt: Attempt) -> BoxFuture<'_, Result<(), AttemptLogError>> {
        Box::pin(async move {
            let entry = clock::fresh("out", EntryId::parse).map_err(|_| AttemptLogError)?;
            self.append(&self.event(entry, LedgerPhase::Refused, attempt)).await
        })
    }

    fn begin(&self, attempt: Attempt) -> BoxFuture<'_, Result<String, AttemptLogError>> {
        Box::pin(async move {
            let entry = clock::fresh("out", EntryId::parse).map_err(|_| AttemptLogError)?;
            let mut event = self.event(entry.clone(), LedgerPhase::Begin, attempt);
            event.verdict = LedgerVerdict::Allow;
            self.append(&event).await?;
            Ok(entry.as_str().to_owned())
        })
    }

    fn complete(self: Arc<Self>, entry: String, attempt: Attempt) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Ok(entry) = EntryId::parse(&entry) else {
                return;
            };
            let event = self.event(entry, LedgerPhase::Complete, attempt);
            let mut pause = std::time::Duration::from_millis(10);
            for _ in 0..COMPLETE_TRIES {
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
